// KvCache: the storage of keys and values. One reservation, cut into blocks; a block holds 64
// tokens (on a GPU 128) of every layer, so that touching one block touches one run of memory. Who
// holds which block is the allocator's business (kv/allocator.h).
#pragma once

#include <cstdint>

#include "device/buffer.h"
#include "device/device.h"
#include "ops/kv_view.h"
#include "spate/result.h"

namespace spate {

/// What a model asks of a cache.
struct KvGeometry {
  std::int64_t layers = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
};

class KvCache {
 public:
  /// Tokens of a block on a device of that kind.
  static std::int64_t block_tokens(DeviceKind kind);
  /// Bytes of one block of all layers.
  static std::int64_t block_bytes(DeviceKind kind, const KvGeometry& geometry, DType dtype);
  /// Reserves `n_blocks` blocks. Host memory is touched on first use.
  static Result<KvCache> reserve(Device& device, const KvGeometry& geometry, DType dtype,
                                 std::int64_t n_blocks);

  KvLayer layer(std::int64_t index) const;
  const KvGeometry& geometry() const { return geometry_; }
  DType dtype() const { return dtype_; }
  std::int64_t n_blocks() const { return n_blocks_; }

  /// Copies a whole block (copy-on-write after a fork).
  void copy_block(std::int64_t from, std::int64_t to);

 private:
  KvCache(Device& device, const KvGeometry& geometry, DType dtype, std::int64_t n_blocks,
          Buffer storage);

  Gpu* gpu_ = nullptr;
  KvGeometry geometry_{};
  DType dtype_ = DType::kBF16;
  std::int64_t n_blocks_ = 0;
  std::int64_t head_bytes_ = 0;
  std::int64_t block_bytes_ = 0;
  Buffer storage_;
};

}  // namespace spate
