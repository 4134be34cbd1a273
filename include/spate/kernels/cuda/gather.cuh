// Copies f32 rows that a list on the device names: the rows whose logits are wanted.
#pragma once
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

struct GatherParams {
  const float* x = nullptr;  // [.., n]
  std::int64_t x_stride = 0;
  const std::int32_t* rows_of_x = nullptr;  // [rows], none negative
  float* out = nullptr;                     // [rows, n]
  std::int64_t out_stride = 0;
  std::int64_t rows = 0;
  int n = 0;
  bool dependent_launch = false;
};

template <bool kVector>
__global__ void __launch_bounds__(256) gather_kernel(const __grid_constant__ GatherParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t row = blockIdx.x;
  const int at = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kChunk;
  if (at >= p.n) return;
  float v[kChunk];
  load_chunk<kVector>(p.x + p.rows_of_x[row] * p.x_stride, at, p.n, v);
  store_chunk<kVector>(p.out + row * p.out_stride, RowType::kF32, at, p.n, v);
}

inline cudaError_t launch_gather(const GatherParams& p, cudaStream_t stream) {
  if (p.rows == 0 || p.n == 0) return cudaSuccess;
  const bool vector =
      p.n % kChunk == 0 && is_aligned(p.x, p.x_stride * 4) && is_aligned(p.out, p.out_stride * 4);
  const std::int64_t chunks = (p.n + kChunk - 1) / kChunk;
  const int threads = row_threads(chunks, 1, 256);
  const LaunchShape shape{dim3(static_cast<unsigned>(p.rows), row_blocks(chunks, threads)), threads,
                          p.dependent_launch};
  return vector ? launch_rows(gather_kernel<true>, p, shape, stream)
                : launch_rows(gather_kernel<false>, p, shape, stream);
}

}  // namespace spate::cuda
