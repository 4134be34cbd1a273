// Weights into the formats that the matrix products read, and back to bf16. Sources are rows of a
// checkpoint, or noise for models without one. Memory-bound; run once, while a model is loaded
// (dequantizing: before products of many rows). The kernels own nothing.
#pragma once
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "spate/kernels/cuda/gemm_quant_layout.cuh"

namespace spate::cuda {

// ---- sources: operator()(row, column) is a float; rows count from the first one given

template <class T>
struct RowSource {
  const T* data;  // [rows, k]
  std::int64_t k;
  __device__ __forceinline__ float operator()(std::int64_t row, std::int64_t column) const {
    return static_cast<float>(data[row * k + column]);
  }
};

// Normal noise by Box and Muller (1958) from a hash of seed, row and column.
struct NoiseSource {
  std::uint64_t seed;
  float deviation;
  std::int64_t first_row;

  static __device__ __forceinline__ std::uint64_t mixed(std::uint64_t x) {  // Stafford's mix 13
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
  __device__ __forceinline__ float operator()(std::int64_t row, std::int64_t column) const {
    const std::uint64_t place =
        static_cast<std::uint64_t>(row + first_row) << 32 | static_cast<std::uint32_t>(column);
    const std::uint64_t h = mixed(mixed(seed + 0x9E3779B97F4A7C15ull) ^ place);
    const float u = (static_cast<float>(h >> 40) + 0.5F) * 0x1p-24F;
    const float v = static_cast<float>(h & 0xFFFFFF) * 0x1p-23F;
    return deviation * sqrtf(-2.F * __logf(u)) * cospif(v);
  }
};

// ---- float formats and e4m3, row-major

template <class T, class Source>
__global__ void convert_kernel(T* out, Source source, std::int64_t rows, std::int64_t k) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * k;
       i += step) {
    out[i] = static_cast<T>(source(i / k, i % k));
  }
}

__device__ __forceinline__ float block_max(float x) {
  __shared__ float warps[32];
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, offset));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) x = fmaxf(x, warps[w]);
  return x;
}

// One block a row. A row of zeros has scale 1.
template <class Source>
__global__ void convert_fp8_kernel(__nv_fp8_e4m3* out, float* scales, Source source,
                                   std::int64_t k) {
  const std::int64_t row = blockIdx.x;
  float peak = 0;
  for (std::int64_t i = threadIdx.x; i < k; i += blockDim.x) {
    peak = fmaxf(peak, fabsf(source(row, i)));
  }
  peak = block_max(peak);
  const float scale = peak > 0 ? __fdiv_rn(peak, 448.F) : 1.F;
  if (threadIdx.x == 0) scales[row] = scale;
  for (std::int64_t i = threadIdx.x; i < k; i += blockDim.x) {
    out[row * k + i] = __nv_fp8_e4m3(__fdiv_rn(source(row, i), scale));
  }
}

// ---- q8 and q4. The arithmetic is that of kernels/cpu/quantize.h, operation by operation, so that
// a model has the same weights on both devices.

__device__ __forceinline__ float quant_stored_scale(float scale) {
  const float bounded = scale != scale ? scale : fminf(65504.F, fmaxf(-65504.F, scale));
  return __half2float(__float2half_rn(bounded));
}
__device__ __forceinline__ float quant_inverse(float x) {
  return fabsf(x) > 0 ? __fdiv_rn(1.F, x) : 0.F;
}
// The integer as a float; NaN becomes the lowest.
template <int kBits>
__device__ __forceinline__ float quantized(float x, float inverse) {
  using L = QuantLayout<kBits>;
  return rintf(fminf(fmaxf(__fmul_rn(x, inverse), L::kLow), L::kHigh));
}
// Largest magnitude; NaN when a value is not finite.
__device__ __forceinline__ float quant_peak(const float (&x)[kQuantGroup]) {
  float peak = 0, zero_or_nan = 0;
#pragma unroll
  for (int i = 0; i < kQuantGroup; ++i) {
    peak = fmaxf(fabsf(x[i]), peak);
    zero_or_nan = __fmaf_rn(x[i], 0.F, zero_or_nan);
  }
  return __fadd_rn(peak, zero_or_nan);
}

template <int kBits>
__device__ __forceinline__ float quant_scale(const float (&x)[kQuantGroup]);

template <>
__device__ __forceinline__ float quant_scale<8>(const float (&x)[kQuantGroup]) {
  return quant_stored_scale(__fmul_rn(quant_peak(x), 1.F / 127.F));
}

// The best of a few grids, fitted by least squares: see kernels/cpu/quantize.h.
template <>
__device__ __forceinline__ float quant_scale<4>(const float (&x)[kQuantGroup]) {
  constexpr float kGrid[] = {-8.F, -9.F, -8.5F, -7.5F, -7.F};
  float peak = 0;
#pragma unroll
  for (int i = 0; i < kQuantGroup; ++i) peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
  const float inverse_peak = quant_inverse(peak);
  float best_gain = -1.F, best_scale = 0;
#pragma unroll
  for (const float grid : kGrid) {
    const float inverse = __fmul_rn(inverse_peak, grid);
    float xq = 0, qq = 0;
#pragma unroll
    for (int i = 0; i < kQuantGroup; ++i) {
      const float q = quantized<4>(x[i], inverse);
      xq = __fmaf_rn(x[i], q, xq);
      qq = __fmaf_rn(q, q, qq);
    }
    const float scale = __fmul_rn(xq, quant_inverse(qq)), gain = __fmul_rn(xq, scale);
    best_scale = gain > best_gain ? scale : best_scale;
    best_gain = fmaxf(gain, best_gain);
  }
  const float damage = __fsub_rn(quant_peak(x), fabsf(peak));  // 0, or NaN
  return quant_stored_scale(__fadd_rn(best_scale, damage));
}

// One thread a group.
template <int kBits, class Source>
__global__ void quantize_kernel(std::uint8_t* out, Source source, std::int64_t first_row,
                                std::int64_t rows, std::int64_t k) {
  using L = QuantLayout<kBits>;
  const std::int64_t groups = L::blocks_per_row(k) * (kQuantBlock / kQuantGroup);
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= rows * groups) return;
  const std::int64_t source_row = index / groups, group = index % groups;
  float x[kQuantGroup];
#pragma unroll
  for (int i = 0; i < kQuantGroup; ++i) {
    const std::int64_t column = group * kQuantGroup + i;
    x[i] = column < k ? source(source_row, column) : 0.F;
  }
  const float scale = quant_scale<kBits>(x), inverse = quant_inverse(scale);
  const std::int64_t row = first_row + source_row;
  std::uint8_t* block = out + L::block_at(row, group, k);
  const int in_row = static_cast<int>(row % kQuantRows), in_block = static_cast<int>(group % 8);
  *reinterpret_cast<__half*>(block + L::scale_at(in_row, in_block)) = __float2half_rn(scale);
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    std::uint32_t words[2] = {0, 0};
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const int q = static_cast<int>(quantized<kBits>(x[t * 8 + e], inverse)) + L::kOffset;
      const int bit = kBits == 8 ? e * 8 : q4_nibble(e) * 4;
      words[bit / 32] |= static_cast<std::uint32_t>(q) << (bit % 32);
    }
    auto* at = reinterpret_cast<std::uint32_t*>(block + L::values_at(in_row, in_block, t));
    at[0] = words[0];
    if constexpr (kBits == 8) at[1] = words[1];
  }
}

// ---- back to bf16

// One thread makes eight neighbours.
template <int kBits>
__global__ void dequantize_kernel(__nv_bfloat16* out, const std::uint8_t* in,
                                  std::int64_t first_row, std::int64_t rows, std::int64_t k) {
  using L = QuantLayout<kBits>;
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= rows * (k / 8)) return;
  const std::int64_t out_row = index / (k / 8), column = index % (k / 8) * 8;
  const std::int64_t row = first_row + out_row, group = column / kQuantGroup;
  const std::uint8_t* block = in + L::block_at(row, group, k);
  const int in_row = static_cast<int>(row % kQuantRows), in_block = static_cast<int>(group % 8);
  const float scale =
      __half2float(*reinterpret_cast<const __half*>(block + L::scale_at(in_row, in_block)));
  const auto* at = reinterpret_cast<const std::uint32_t*>(
      block + L::values_at(in_row, in_block, static_cast<int>(column % kQuantGroup) / 8));
  const std::uint32_t words[2] = {at[0], kBits == 8 ? at[1] : 0};
  alignas(16) __nv_bfloat16 y[8];
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    const int bit = kBits == 8 ? e * 8 : q4_nibble(e) * 4;
    const int stored = static_cast<int>(words[bit / 32] >> (bit % 32) & ((1u << kBits) - 1));
    y[e] = __float2bfloat16(static_cast<float>(stored - L::kOffset) * scale);
  }
  *reinterpret_cast<uint4*>(out + out_row * k + column) = *reinterpret_cast<const uint4*>(y);
}

template <class T>  // __nv_fp8_e4m3 with scales, __half without
__global__ void to_bf16_kernel(__nv_bfloat16* out, const T* in, const float* scales,
                               std::int64_t rows, std::int64_t k) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * k;
       i += step) {
    const float scale = scales == nullptr ? 1.F : scales[i / k];
    out[i] = __float2bfloat16(static_cast<float>(in[i]) * scale);
  }
}

}  // namespace spate::cuda
