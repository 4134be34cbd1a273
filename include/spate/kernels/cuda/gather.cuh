// Copies rows that a list on the device names: those whose logits are wanted.
#pragma once
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

// Sizes in bytes, multiples of 4.
struct GatherParams {
  const void* x = nullptr;  // [.., n_bytes]
  std::int64_t x_stride = 0;
  const std::int32_t* rows_of_x = nullptr;  // [rows], none negative
  void* out = nullptr;                      // [rows, n_bytes]
  std::int64_t out_stride = 0;
  std::int64_t rows = 0;
  std::int64_t n_bytes = 0;
  bool dependent_launch = false;
};

// Unit: what a thread copies.
template <class Unit>
__global__ void __launch_bounds__(256) gather_kernel(const __grid_constant__ GatherParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t row = blockIdx.x;
  const std::int64_t at = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) *
                          static_cast<std::int64_t>(sizeof(Unit));
  if (at >= p.n_bytes) return;
  const auto* from = static_cast<const std::uint8_t*>(p.x) + p.rows_of_x[row] * p.x_stride + at;
  auto* to = static_cast<std::uint8_t*>(p.out) + row * p.out_stride + at;
  *reinterpret_cast<Unit*>(to) = *reinterpret_cast<const Unit*>(from);
}

inline cudaError_t launch_gather(const GatherParams& p, cudaStream_t stream) {
  if (p.rows == 0 || p.n_bytes == 0) return cudaSuccess;
  if ((p.n_bytes | p.x_stride | p.out_stride) % 4 != 0) return cudaErrorInvalidValue;
  const bool vector =
      p.n_bytes % 16 == 0 && is_aligned(p.x, p.x_stride) && is_aligned(p.out, p.out_stride);
  const std::int64_t units = p.n_bytes / (vector ? 16 : 4);
  const int threads = row_threads(units, 1, 256);
  const LaunchShape shape{dim3(static_cast<unsigned>(p.rows), row_blocks(units, threads)), threads,
                          p.dependent_launch};
  return vector ? launch_kernel(gather_kernel<uint4>, p, shape, stream)
                : launch_kernel(gather_kernel<std::uint32_t>, p, shape, stream);
}

}  // namespace spate::cuda
