// Activation functions on rows, gated (act(gate) * up) or plain, and conversion to what the next
// linear map consumes: bf16, f32, or e4m3 with one scale a row. Memory-bound.
#pragma once
#include "spate/kernels/cuda/held_row.cuh"

namespace spate::cuda {

enum class RowActivation : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kQuickGelu };

struct ActivationParams {
  const void* x = nullptr;          // [rows, 2 * n]: gates, then ups; not gated: [rows, n]
  RowType x_type = RowType::kBF16;  // or kF32
  std::int64_t x_stride = 0;        // elements
  bool gated = true;
  RowActivation activation = RowActivation::kSilu;
  const float* bias = nullptr;  // of x's columns; null: none

  void* out = nullptr;  // [rows, n]
  RowType out_type = RowType::kBF16;
  std::int64_t out_stride = 0;  // elements
  float* scales = nullptr;      // kE4M3: [rows], out * scale is the value

  std::int64_t rows = 0;
  int n = 0;  // kE4M3: up to kLongestHeldRow
  bool dependent_launch = false;
};

// x / (1 + e^-y). The error of e^-y is 2^-23 (1 + |y|), small wherever the result is not.
__device__ __forceinline__ float times_sigmoid(float x, float y) {
  return __fdividef(x, 1.f + exp2_approx(-kLog2E * y));
}

__device__ __forceinline__ float activated(RowActivation activation, float x) {
  switch (activation) {
    case RowActivation::kSilu:
      return times_sigmoid(x, x);
    case RowActivation::kGelu:
      return 0.5f * x * erfcf(-0.70710678f * x);
    case RowActivation::kGeluTanh:  // 0.5 (1 + tanh(y)) is the sigmoid of 2 y
      return times_sigmoid(x, 1.59576912f * (x + 0.044715f * x * x * x));
    case RowActivation::kRelu:
      return x < 0.f ? 0.f : x;
    default:
      return times_sigmoid(x, 1.702f * x);
  }
}

template <bool kVector, class T>
__device__ __forceinline__ void load_biased(const ActivationParams& p, const T* row, int column,
                                            int end, float (&v)[kChunk]) {
  load_chunk<kVector>(row, column, end, v);
  if (p.bias == nullptr) return;
  float bias[kChunk];
  load_chunk<kVector>(p.bias, column, end, bias);
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] += bias[e];
}

// Values at .. at + 7 of the result.
template <class T, bool kVector>
__device__ __forceinline__ void activate_chunk(const ActivationParams& p, const T* row, int at,
                                               float (&v)[kChunk]) {
  float up[kChunk];
  load_biased<kVector>(p, row, at, p.n, v);
  if (p.gated) load_biased<kVector>(p, row, p.n + at, 2 * p.n, up);
#pragma unroll
  for (int e = 0; e < kChunk; e++) {
    if (at + e >= p.n) continue;  // stays zero
    v[e] = activated(p.activation, v[e]);
    if (p.gated) v[e] *= up[e];
  }
}

template <class T, bool kVector>
__global__ void __launch_bounds__(256)
    activation_kernel(const __grid_constant__ ActivationParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t r = blockIdx.x;
  const int at = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kChunk;
  if (at >= p.n) return;
  float v[kChunk];
  activate_chunk<T, kVector>(p, static_cast<const T*>(p.x) + r * p.x_stride, at, v);
  auto* to = static_cast<std::uint8_t*>(p.out) + r * p.out_stride * row_type_bytes(p.out_type);
  store_chunk<kVector>(to, p.out_type, at, p.n, v);
}

// With a scale a row: one block a row.
template <class T, bool kVector>
__global__ void __launch_bounds__(1024)
    activation_quantize_kernel(const __grid_constant__ ActivationParams p) {
  __shared__ float shared[32];
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t r = blockIdx.x;
  const T* from = static_cast<const T*>(p.x) + r * p.x_stride;
  HeldRow<4> row;
  row.clear();
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int at = HeldRow<4>::at(i);
    if (at < p.n) activate_chunk<T, kVector>(p, from, at, row.v[i]);
  }
  auto* to = static_cast<std::uint8_t*>(p.out) + r * p.out_stride;
  row.template store<kVector>(to, p.out_type, p.n, p.scales + r, shared);
}

template <class T>
cudaError_t launch_activation_of(const ActivationParams& p, cudaStream_t stream) {
  const bool vector =
      p.n % kChunk == 0 && is_aligned(p.x, p.x_stride * static_cast<std::int64_t>(sizeof(T))) &&
      is_aligned(p.out, p.out_stride * row_type_bytes(p.out_type)) && is_aligned(p.bias, 0);
  const std::int64_t chunks = (p.n + kChunk - 1) / kChunk;
  LaunchShape shape{dim3(static_cast<unsigned>(p.rows)), 0, p.dependent_launch};
  if (p.out_type != RowType::kE4M3) {
    shape.threads = row_threads(chunks, 1, 256);
    shape.grid.y = row_blocks(chunks, shape.threads);
    return vector ? launch_rows(activation_kernel<T, true>, p, shape, stream)
                  : launch_rows(activation_kernel<T, false>, p, shape, stream);
  }
  if (p.n > kLongestHeldRow || p.scales == nullptr) return cudaErrorInvalidValue;
  shape.threads = row_threads(chunks, chunks <= 2048 ? 2 : 4, 1024);
  return vector ? launch_rows(activation_quantize_kernel<T, true>, p, shape, stream)
                : launch_rows(activation_quantize_kernel<T, false>, p, shape, stream);
}

inline cudaError_t launch_activation(const ActivationParams& p, cudaStream_t stream) {
  if (p.n < 0) return cudaErrorInvalidValue;
  if (p.rows == 0 || p.n == 0) return cudaSuccess;
  if (p.x_type == RowType::kF32) return launch_activation_of<float>(p, stream);
  if (p.x_type == RowType::kBF16) return launch_activation_of<__nv_bfloat16>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace spate::cuda
