// Merging of attention results over disjoint sets of keys (Flash-Decoding, cascade attention): each
// state is an output and its natural log-sum-exp; empty states (-inf) count for nothing, and
// merging only empty ones gives zeros and -inf. Memory-bound: reads every state once.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/mma.cuh"
#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

struct MergeParams {
  const void* states = nullptr;  // T [n_states][rows][head_dim]
  const float* lse = nullptr;    // [n_states][rows]
  std::int64_t rows = 0;         // tokens x heads
  int head_dim = 0;              // a multiple of 8
  int n_states = 0;
  void* out = nullptr;       // T [rows][head_dim]; may be the first state
  float* out_lse = nullptr;  // [rows]; may be the first state's; or null
};

// One thread makes eight elements of a row, visiting the states in order.
template <class T>
__global__ void merge_kernel(const __grid_constant__ MergeParams p) {
  const int vectors = p.head_dim / 8;
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t row = index / vectors;
  if (row >= p.rows) return;
  float top = -kInfinity;
  for (int i = 0; i < p.n_states; i++) top = fmaxf(top, p.lse[i * p.rows + row]);
  float sum = 0, acc[8] = {};
  for (int i = 0; i < p.n_states; i++) {
    const float lse = p.lse[i * p.rows + row];
    if (lse == -kInfinity) continue;
    const float f = exp2_approx((lse - top) * kLog2E);
    const std::int64_t at = (i * p.rows + row) * vectors + index % vectors;
    const uint4 x = reinterpret_cast<const uint4*>(p.states)[at];
    const std::uint32_t words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int e = 0; e < 4; e++) {
      acc[2 * e] += f * Element<T>::low(words[e]);
      acc[2 * e + 1] += f * Element<T>::high(words[e]);
    }
    sum += f;
  }
  const float inv = sum > 0 ? 1.f / sum : 0;
  std::uint32_t y[4];
#pragma unroll
  for (int e = 0; e < 4; e++) y[e] = Element<T>::pack(acc[2 * e] * inv, acc[2 * e + 1] * inv);
  __syncthreads();  // rows may be merged in place: all log-sum-exps of a row are read by now
  reinterpret_cast<uint4*>(p.out)[index] = make_uint4(y[0], y[1], y[2], y[3]);
  if (index % vectors == 0 && p.out_lse != nullptr) {
    p.out_lse[row] = sum == 0 ? -kInfinity : top + __log2f(sum) * kLn2;
  }
}

template <class T>
cudaError_t launch_merge(const MergeParams& p, cudaStream_t stream) {
  if (p.head_dim <= 0 || p.head_dim % 8 != 0 || p.n_states < 1) return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  // A block holds whole rows, so that merging in place reads a row before anything of it is
  // written.
  const int vectors = p.head_dim / 8;
  const int threads = 256 / vectors * vectors;
  const std::int64_t blocks = (p.rows * vectors + threads - 1) / threads;
  merge_kernel<T><<<static_cast<unsigned>(blocks), threads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace spate::cuda
