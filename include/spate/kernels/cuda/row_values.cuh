// How the kernels on rows read and write values: eight at a time (16 bytes of bf16), in one access
// where alignment allows, else one by one; sums and maxima over a block in a fixed order;
// launching. Rows of the batch are independent: what a row becomes depends on its own values alone.
#pragma once
#include <cstddef>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "spate/kernels/cuda/launch.cuh"
#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

// kI8 is a type of the cache alone, with a scale for each row (kv_quantize.cuh).
enum class RowType : std::uint8_t { kF32, kBF16, kF16, kE4M3, kI8 };

__host__ __device__ constexpr int row_type_bytes(RowType type) {
  return type == RowType::kF32 ? 4 : type == RowType::kE4M3 || type == RowType::kI8 ? 1 : 2;
}

inline constexpr int kChunk = 8;  // values that a thread reads and writes together
inline constexpr float kLargestE4M3 = 448.f;

// ---- reading

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }

__device__ __forceinline__ void load_vector(const float* from, float (&v)[kChunk]) {
  const float4 a = reinterpret_cast<const float4*>(from)[0];
  const float4 b = reinterpret_cast<const float4*>(from)[1];
  v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
  v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ __forceinline__ void load_vector(const __nv_bfloat16* from, float (&v)[kChunk]) {
  const uint4 x = *reinterpret_cast<const uint4*>(from);
  const std::uint32_t words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void load_vector(const __half* from, float (&v)[kChunk]) {
  const uint4 x = *reinterpret_cast<const uint4*>(from);
  const __half2* pairs = reinterpret_cast<const __half2*>(&x);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 y = __half22float2(pairs[i]);
    v[2 * i] = y.x, v[2 * i + 1] = y.y;
  }
}

// Values at .. at + 7 of a row of n; zeros beyond its end. kVector: n is a multiple of 8 and the
// row aligned to 16 bytes.
template <bool kVector, class T>
__device__ __forceinline__ void load_chunk(const T* row, int at, int n, float (&v)[kChunk]) {
  if constexpr (kVector) {
    load_vector(row + at, v);
  } else {
#pragma unroll
    for (int e = 0; e < kChunk; e++) v[e] = at + e < n ? widen(row[at + e]) : 0.f;
  }
}

// ---- writing

__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 x = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&x);
}
__device__ __forceinline__ std::uint32_t pack_f16(float low, float high) {
  const __half2 x = __floats2half2_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&x);
}
__device__ __forceinline__ std::uint32_t pack_e4m3(const float* v) {
  const std::uint32_t low =
      __nv_cvt_float2_to_fp8x2(make_float2(v[0], v[1]), __NV_SATFINITE, __NV_E4M3);
  const std::uint32_t high =
      __nv_cvt_float2_to_fp8x2(make_float2(v[2], v[3]), __NV_SATFINITE, __NV_E4M3);
  return low | high << 16;
}

__device__ __forceinline__ void store_vector(void* to, RowType type, const float (&v)[kChunk]) {
  if (type == RowType::kBF16) {
    *static_cast<uint4*>(to) = make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]),
                                          pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
  } else if (type == RowType::kF32) {
    static_cast<float4*>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
    static_cast<float4*>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
  } else if (type == RowType::kE4M3) {
    *static_cast<uint2*>(to) = make_uint2(pack_e4m3(v), pack_e4m3(v + 4));
  } else {
    *static_cast<uint4*>(to) = make_uint4(pack_f16(v[0], v[1]), pack_f16(v[2], v[3]),
                                          pack_f16(v[4], v[5]), pack_f16(v[6], v[7]));
  }
}
__device__ __forceinline__ void store_value(void* to, RowType type, float x) {
  if (type == RowType::kBF16) {
    *static_cast<__nv_bfloat16*>(to) = __float2bfloat16_rn(x);
  } else if (type == RowType::kF32) {
    *static_cast<float*>(to) = x;
  } else if (type == RowType::kE4M3) {
    *static_cast<std::uint8_t*>(to) = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
  } else {
    *static_cast<__half*>(to) = __float2half_rn(x);
  }
}
template <bool kVector>
__device__ __forceinline__ void store_chunk(void* row, RowType type, int at, int n,
                                            const float (&v)[kChunk]) {
  auto* bytes = static_cast<std::uint8_t*>(row);
  const int width = row_type_bytes(type);
  if constexpr (kVector) {
    store_vector(bytes + std::int64_t{at} * width, type, v);
  } else {
#pragma unroll
    for (int e = 0; e < kChunk; e++) {
      if (at + e < n) store_value(bytes + std::int64_t{at + e} * width, type, v[e]);
    }
  }
}

// ---- over a block

struct Sum {
  static __device__ __forceinline__ float of(float a, float b) { return a + b; }
};
struct Max {  // skips NaN
  static __device__ __forceinline__ float of(float a, float b) { return fmaxf(a, b); }
};

// Of one value a thread, for all threads of a block of whole warps; 0 is the operation's identity
// (maxima are of magnitudes). The order depends on the size of the block alone.
template <class Op>
__device__ __forceinline__ float block_reduce(float x, float* shared /* [32] */) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x = Op::of(x, __shfl_xor_sync(~0u, x, step));
  __syncthreads();  // the reduction before may still be read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = threadIdx.x % 32 < blockDim.x / 32 ? shared[threadIdx.x % 32] : 0.f;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x = Op::of(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

// The scale of a row whose largest magnitude is `peak`, and what its values are multiplied with.
// Too small to invert counts as zero; infinity makes the row NaN.
struct RowScale {
  float scale, inverse;
};
__device__ __forceinline__ RowScale e4m3_scale(float peak) {
  if (!(peak >= 1e-30f)) return {0.f, 0.f};
  return {peak / kLargestE4M3, kLargestE4M3 / peak};
}

// ---- launching

inline bool is_aligned(const void* p, std::int64_t stride_bytes) {
  return (reinterpret_cast<std::uintptr_t>(p) | static_cast<std::uintptr_t>(stride_bytes)) % 16 ==
         0;
}

inline unsigned row_blocks(std::int64_t n, std::int64_t per_block) {
  return static_cast<unsigned>((n + per_block - 1) / per_block);
}
// Blocks that share a row, so that few rows keep all multiprocessors busy.
inline int blocks_of_row(std::int64_t rows) {
  return rows <= 33 ? 8 : rows <= 66 ? 4 : rows <= 132 ? 2 : 1;
}
// Threads of a block that holds a whole row of `chunks` chunks, each thread up to `each` of them.
inline int row_threads(std::int64_t chunks, int each, int most) {
  const std::int64_t threads = ((chunks + each - 1) / each + 31) / 32 * 32;
  return static_cast<int>(threads < 32 ? 32 : threads < most ? threads : most);
}

}  // namespace spate::cuda
