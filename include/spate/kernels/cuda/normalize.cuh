// RMSNorm and LayerNorm of rows, or none, and conversion to what a linear map consumes: bf16, f16,
// f32, or e4m3 with one scale a row. One block a row, which stays in registers: memory-bound, every
// value is read once. Bits of a row depend on k alone.
#pragma once
#include "spate/kernels/cuda/held_row.cuh"

namespace spate::cuda {

enum class RowNorm : std::uint8_t { kNone, kRms, kLayer };

struct NormalizeParams {
  const void* x = nullptr;         // [rows, k]
  RowType x_type = RowType::kF32;  // or kBF16
  std::int64_t x_stride = 0;       // elements

  RowNorm norm = RowNorm::kNone;
  const float* weight = nullptr;  // [k]; null: ones
  const float* bias = nullptr;    // [k]; null: none
  float eps = 0;

  void* out = nullptr;  // [rows, k]; may be x if the types are the same
  RowType out_type = RowType::kBF16;
  bool dealt = false;           // in the order of dealt_rows.cuh: kBF16, k a multiple of 32, not x
  std::int64_t out_stride = 0;  // elements
  float* scales = nullptr;      // kE4M3: [rows], out * scale is the value

  std::int64_t rows = 0;
  int k = 0;  // up to kLongestHeldRow
  bool dependent_launch = false;
};

// Zeros from the n-th value of a chunk on.
__device__ __forceinline__ void clear_after(float (&v)[kChunk], int n) {
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] = e < n ? v[e] : 0.f;
}

// Parameters at .. at + 7; `absent` where there are none.
template <bool kVector>
__device__ __forceinline__ void load_parameters(const float* from, float absent, int at, int n,
                                                float (&v)[kChunk]) {
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] = absent;
  if (from != nullptr && at < n) load_chunk<kVector>(from, at, n, v);
}

// `early_weight`: of a row with one chunk a thread.
template <int kChunks, bool kVector>
__device__ __forceinline__ void scale_and_shift(const NormalizeParams& p, float mean, float inverse,
                                                const float (&early_weight)[kChunk],
                                                HeldRow<kChunks>& row) {
#pragma unroll
  for (int i = 0; i < kChunks; i++) {
    const int at = HeldRow<kChunks>::at(i);
    if (at >= p.k) continue;
#pragma unroll
    for (int e = 0; e < kChunk; e++) row.v[i][e] = (row.v[i][e] - mean) * inverse;
    float parameters[kChunk];
    if (kChunks > 1) load_parameters<kVector>(p.weight, 1.f, at, p.k, parameters);
#pragma unroll
    for (int e = 0; e < kChunk; e++) row.v[i][e] *= kChunks > 1 ? parameters[e] : early_weight[e];
    if (p.bias != nullptr) {
      load_chunk<kVector>(p.bias, at, p.k, parameters);
#pragma unroll
      for (int e = 0; e < kChunk; e++) row.v[i][e] += parameters[e];
    }
    if constexpr (!kVector) clear_after(row.v[i], p.k - at);
  }
}

template <int kChunks>
__device__ __forceinline__ float held_sum(HeldRow<kChunks>& row, int n, float shift, bool squared) {
  float sum = 0;
  row.each(n, [&](float x) { sum += squared ? (x - shift) * (x - shift) : x; });
  return sum;
}

template <class T, int kChunks, bool kVector>
__global__ void __launch_bounds__(kChunks == 4 ? 768 : 1024)
    normalize_kernel(const __grid_constant__ NormalizeParams p) {
  __shared__ float shared[32];
  grid_launch_dependents();
  float early_weight[kChunk];  // comes while the kernel before still runs
  if constexpr (kChunks == 1) {
    load_parameters<kVector>(p.weight, 1.f, HeldRow<1>::at(0), p.k, early_weight);
  }
  grid_dependency_wait();
  const std::int64_t r = blockIdx.x;
  const T* from = static_cast<const T*>(p.x) + r * p.x_stride;
  HeldRow<kChunks> row;
  row.clear();
  row.template load<kVector>(from, p.k);
  if (p.norm != RowNorm::kNone) {
    const auto n = static_cast<float>(p.k);
    float mean = 0;
    if (p.norm == RowNorm::kLayer) {
      mean = block_reduce<Sum>(held_sum(row, p.k, 0.f, false), shared) / n;
    }
    const float squares = block_reduce<Sum>(held_sum(row, p.k, mean, true), shared);
    scale_and_shift<kChunks, kVector>(p, mean, rsqrtf(squares / n + p.eps), early_weight, row);
  }
  auto* to = static_cast<std::uint8_t*>(p.out) + r * p.out_stride * row_type_bytes(p.out_type);
  if (kVector && p.dealt) return row.deal(to, p.k);
  row.template store<kVector>(to, p.out_type, p.k, p.scales + r, shared);
}

template <class T>
cudaError_t launch_normalize_of(const NormalizeParams& p, cudaStream_t stream) {
  const bool vector = p.k % kChunk == 0 &&
                      is_aligned(p.x, p.x_stride * static_cast<std::int64_t>(sizeof(T))) &&
                      is_aligned(p.out, p.out_stride * row_type_bytes(p.out_type)) &&
                      is_aligned(p.weight, 0) && is_aligned(p.bias, 0);
  if (p.dealt && !(vector && p.k % kDealtGroup == 0 && p.out_type == RowType::kBF16)) {
    return cudaErrorInvalidValue;
  }
  const std::int64_t chunks = (p.k + kChunk - 1) / kChunk;
  LaunchShape shape{dim3(static_cast<unsigned>(p.rows)), 0, p.dependent_launch};
  if (vector && chunks <= 1024) {
    shape.threads = row_threads(chunks, 1, 1024);
    return launch_kernel(normalize_kernel<T, 1, true>, p, shape, stream);
  }
  shape.threads = row_threads(chunks, chunks <= 1536 ? 2 : 4, 768);
  if (vector) return launch_kernel(normalize_kernel<T, 4, true>, p, shape, stream);
  return launch_kernel(normalize_kernel<T, 4, false>, p, shape, stream);
}

inline cudaError_t launch_normalize(const NormalizeParams& p, cudaStream_t stream) {
  if (p.k < 0 || p.k > kLongestHeldRow) return cudaErrorInvalidValue;
  if (p.out_type == RowType::kE4M3 && p.scales == nullptr) return cudaErrorInvalidValue;
  if (p.rows == 0 || p.k == 0) return cudaSuccess;
  if (p.x_type == RowType::kF32) return launch_normalize_of<float>(p, stream);
  if (p.x_type == RowType::kBF16) return launch_normalize_of<__nv_bfloat16>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace spate::cuda
