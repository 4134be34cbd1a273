// Copies the first tokens of cache blocks to other blocks, in every layer (copy-on-write of a
// shared block). Whole groups of eight tokens (kv_image.h) are copied: what lies behind the last
// token in the new block is nobody's yet.
#pragma once
#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

struct KvCopy {
  std::int32_t from, to;  // blocks
  std::int32_t tokens;
};

struct KvCopyParams {
  void* cache = nullptr;          // 16-byte aligned
  std::int64_t block_stride = 0;  // bytes, as the following
  std::int64_t layer_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t half_bytes = 0;  // of a head's K (or V) in a block
  std::int64_t row_bytes = 0;   // of one token's K (or V): kv_row_bytes
  int layers = 1, kv_heads = 1;

  const KvCopy* copies = nullptr;          // [max_copies]
  const std::int32_t* n_copies = nullptr;  // [1]
  int max_copies = 0;
  bool dependent_launch = false;
};

static __global__ void __launch_bounds__(256)
    kv_copy_kernel(const __grid_constant__ KvCopyParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  if (static_cast<int>(blockIdx.x) >= *p.n_copies) return;
  const KvCopy copy = p.copies[blockIdx.x];
  const int half = static_cast<int>(blockIdx.y) % 2,
            head = static_cast<int>(blockIdx.y) / 2 % p.kv_heads,
            layer = static_cast<int>(blockIdx.y) / 2 / p.kv_heads;
  auto* base = static_cast<std::uint8_t*>(p.cache) + layer * p.layer_stride + head * p.head_stride +
               half * p.half_bytes;
  const auto* from = reinterpret_cast<const uint4*>(base + copy.from * p.block_stride);
  auto* to = reinterpret_cast<uint4*>(base + copy.to * p.block_stride);
  const std::int64_t n = (copy.tokens + 7) / 8 * 8 * p.row_bytes / 16;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
}

inline cudaError_t launch_kv_copy(const KvCopyParams& p, cudaStream_t stream) {
  const LaunchShape shape{
      dim3(static_cast<unsigned>(p.max_copies), static_cast<unsigned>(p.layers * p.kv_heads * 2)),
      256, p.dependent_launch};
  return launch_kernel(kv_copy_kernel, p, shape, stream);
}

}  // namespace spate::cuda
