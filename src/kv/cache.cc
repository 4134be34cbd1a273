#include "kv/cache.h"

#include <cstring>

#include "core/check.h"
#include "ops/cpu/kv_cache.h"

namespace spate {
namespace {

std::int64_t head_bytes(const KvGeometry& geometry, DType dtype) {
  return ops::cpu::kv_layout(dtype, geometry.head_dim).head_bytes();
}

}  // namespace

std::int64_t KvCache::block_bytes(const KvGeometry& geometry, DType dtype) {
  return geometry.layers * geometry.kv_heads * head_bytes(geometry, dtype);
}

Result<KvCache> KvCache::reserve(const KvGeometry& geometry, DType dtype, std::int64_t n_blocks) {
  Result<Buffer> storage = Buffer::reserve_host(block_bytes(geometry, dtype) * n_blocks);
  if (!storage) return storage.error();
  return KvCache(geometry, dtype, n_blocks, std::move(*storage));
}

KvCache::KvCache(const KvGeometry& geometry, DType dtype, std::int64_t n_blocks, Buffer storage)
    : geometry_(geometry),
      dtype_(dtype),
      n_blocks_(n_blocks),
      head_bytes_(head_bytes(geometry, dtype)),
      storage_(std::move(storage)) {}

KvLayer KvCache::layer(std::int64_t index) const {
  SPATE_CHECK_OP(index, <, geometry_.layers);
  return {.base = storage_.data() + index * geometry_.kv_heads * head_bytes_,
          .block_stride = block_bytes(geometry_, dtype_),
          .head_bytes = head_bytes_,
          .dtype = dtype_,
          .kv_heads = geometry_.kv_heads,
          .head_dim = geometry_.head_dim};
}

void KvCache::copy_block(std::int64_t from, std::int64_t to) {
  const std::int64_t n = block_bytes(geometry_, dtype_);
  std::memcpy(storage_.data() + to * n, storage_.data() + from * n, static_cast<std::size_t>(n));
}

}  // namespace spate
