// A row in the registers of a block: read once, changed, converted and written. For kernels whose
// result needs the whole row first (a norm, a scale).
#pragma once
#include "spate/kernels/cuda/dealt_rows.cuh"
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

inline constexpr int kLongestHeldRow = 24576;  // 768 threads, 4 chunks each

// The chunks of a row that one thread holds: threadIdx.x, threadIdx.x + blockDim.x, ...
template <int kChunks>
struct HeldRow {
  float v[kChunks][kChunk];

  static __device__ __forceinline__ int at(int chunk) {
    return (static_cast<int>(threadIdx.x) + chunk * static_cast<int>(blockDim.x)) * kChunk;
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
#pragma unroll
      for (int e = 0; e < kChunk; e++) v[i][e] = 0.f;
    }
  }
  template <bool kVector, class T>
  __device__ __forceinline__ void load(const T* row, int n) {
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
      if (at(i) < n) load_chunk<kVector>(row, at(i), n, v[i]);
    }
  }
  // f(value) for every held value before n.
  template <class F>
  __device__ __forceinline__ void each(int n, F f) {
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
#pragma unroll
      for (int e = 0; e < kChunk; e++) {
        if (at(i) + e < n) f(v[i][e]);
      }
    }
  }
  __device__ __forceinline__ float peak() const {
    float peak = 0;
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
#pragma unroll
      for (int e = 0; e < kChunk; e++) peak = fmaxf(peak, fabsf(v[i][e]));
    }
    return peak;
  }
  // Converts and writes the row; with e4m3 also its scale. Values beyond n are zero.
  template <bool kVector>
  __device__ __forceinline__ void store(void* row, RowType type, int n, float* scale,
                                        float* shared) {
    if (type == RowType::kE4M3) {
      const RowScale s = e4m3_scale(block_reduce<Max>(peak(), shared));
      if (threadIdx.x == 0) *scale = s.scale;
#pragma unroll
      for (int i = 0; i < kChunks; i++) {
#pragma unroll
        for (int e = 0; e < kChunk; e++) v[i][e] *= s.inverse;
      }
    }
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
      if (at(i) < n) store_chunk<kVector>(row, type, at(i), n, v[i]);
    }
  }
  // As bf16 in the order of the widening product.
  __device__ __forceinline__ void deal(void* row, int n) const {
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
      if (at(i) < n) store_dealt(row, at(i), v[i]);
    }
  }
};

}  // namespace spate::cuda
