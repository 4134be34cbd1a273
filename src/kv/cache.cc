#include "kv/cache.h"

#include <cstring>

#include "core/check.h"
#include "device/gpu.h"
#include "ops/cpu/kv_cache.h"
#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/step_tables.h"

namespace spate {
namespace {

std::int64_t head_bytes(DeviceKind kind, const KvGeometry& geometry, DType dtype) {
  if (kind == DeviceKind::kCuda) {
    return cuda::kv_block_bytes(cuda::kStepBlockTokens, static_cast<int>(geometry.head_dim),
                                static_cast<int>(size_of(dtype)), dtype == DType::kI8);
  }
  return ops::cpu::kv_layout(dtype, geometry.head_dim).head_bytes();
}

}  // namespace

std::int64_t KvCache::block_tokens(DeviceKind kind) {
  return kind == DeviceKind::kCuda ? cuda::kStepBlockTokens : kKvBlockTokens;
}

std::int64_t KvCache::block_bytes(DeviceKind kind, const KvGeometry& geometry, DType dtype) {
  return geometry.layers * geometry.kv_heads * head_bytes(kind, geometry, dtype);
}

Result<KvCache> KvCache::reserve(Device& device, const KvGeometry& geometry, DType dtype,
                                 std::int64_t n_blocks) {
  const std::int64_t n_bytes = block_bytes(device.kind(), geometry, dtype) * n_blocks;
  Result<Buffer> storage =
      device.is_cuda() ? Buffer::reserve_gpu(n_bytes) : Buffer::reserve_host(n_bytes);
  if (!storage) return storage.error();
  return KvCache(device, geometry, dtype, n_blocks, std::move(*storage));
}

KvCache::KvCache(Device& device, const KvGeometry& geometry, DType dtype, std::int64_t n_blocks,
                 Buffer storage)
    : gpu_(device.gpu()),
      geometry_(geometry),
      dtype_(dtype),
      n_blocks_(n_blocks),
      head_bytes_(head_bytes(device.kind(), geometry, dtype)),
      block_bytes_(block_bytes(device.kind(), geometry, dtype)),
      storage_(std::move(storage)) {}

KvLayer KvCache::layer(std::int64_t index) const {
  SPATE_CHECK_OP(index, <, geometry_.layers);
  return {.base = storage_.data() + index * geometry_.kv_heads * head_bytes_,
          .block_stride = block_bytes_,
          .head_bytes = head_bytes_,
          .dtype = dtype_,
          .kv_heads = geometry_.kv_heads,
          .head_dim = geometry_.head_dim};
}

void KvCache::copy_block(std::int64_t from, std::int64_t to) {
  const std::int64_t n = block_bytes_;
  std::byte* target = storage_.data() + to * n;
  const std::byte* source = storage_.data() + from * n;
  if (gpu_ != nullptr) return gpu_->copy(target, source, n);
  std::memcpy(target, source, static_cast<std::size_t>(n));
}

}  // namespace spate
