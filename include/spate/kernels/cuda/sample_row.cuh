// A block's view of one row of logits, in units of 512 tokens, each the work of one warp whatever
// else happens: the sum of a unit is a function of the row alone. Passes over the row and sums over
// the block.
#pragma once
#include "spate/kernels/cuda/sample_rules.cuh"

namespace spate::cuda {

inline constexpr int kSampleThreads = 1024, kSampleWarps = kSampleThreads / 32;
inline constexpr int kUnit = 512, kLaneVectors = kUnit / 128;  // float4s of a lane
inline constexpr int kMostUnits = 512;
inline constexpr int kMostVocab = kUnit * kMostUnits;

struct LogitRow {
  const float* logits;
  int vocab;
  bool vector;  // whole, aligned float4s
  __device__ __forceinline__ int units() const { return (vocab + kUnit - 1) / kUnit; }
};

// The lane's share of a unit, edited: tokens unit * 512 + j * 128 + lane * 4 + e.
// -inf beyond the vocabulary.
struct UnitLogits {
  float x[kLaneVectors][4];
  __device__ __forceinline__ static int id(int unit, int j, int e) {
    return unit * kUnit + j * 128 + static_cast<int>(threadIdx.x) % 32 * 4 + e;
  }
};

__device__ __forceinline__ void load_unit(const LogitRow& row, const RowRules& rules, int unit,
                                          UnitLogits& u) {
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
    const int at = UnitLogits::id(unit, j, 0);
    if (row.vector && at < row.vocab) {
      const float4 v = *reinterpret_cast<const float4*>(row.logits + at);
      u.x[j][0] = v.x, u.x[j][1] = v.y, u.x[j][2] = v.z, u.x[j][3] = v.w;
    } else {
#pragma unroll
      for (int e = 0; e < 4; e++) u.x[j][e] = at + e < row.vocab ? row.logits[at + e] : -kInfinity;
    }
  }
  if (rules.marks == nullptr) return;
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
    const int at = UnitLogits::id(unit, j, 0);
    for (int e = 0; e < 4; e++) {
      if (at + e < row.vocab) u.x[j][e] = edited_logit(rules, rules.marks[at + e], u.x[j][e]);
    }
  }
}

__device__ __forceinline__ int sample_warp() { return static_cast<int>(threadIdx.x) / 32; }
__device__ __forceinline__ int sample_lane() { return static_cast<int>(threadIdx.x) % 32; }

// f(unit, logits) for the units of this warp.
template <class F>
__device__ __forceinline__ void each_unit(const LogitRow& row, const RowRules& rules, F f) {
  for (int unit = sample_warp(); unit < row.units(); unit += kSampleWarps) {
    UnitLogits u;
    load_unit(row, rules, unit, u);
    f(unit, u);
  }
}

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}
// Inclusive, in the order of lanes.
template <class T>
__device__ __forceinline__ T warp_scan(T x) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const T y = __shfl_up_sync(~0u, x, step);
    if (sample_lane() >= step) x += y;
  }
  return x;
}
// Inclusive over the block's threads; `total` for all. `shared` [33].
template <class T>
__device__ __forceinline__ T block_scan(T x, T* shared, T* total) {
  x = warp_scan(x);
  __syncthreads();
  if (sample_lane() == 31) shared[sample_warp()] = x;
  __syncthreads();
  if (sample_warp() == 0) shared[sample_lane()] = warp_scan(shared[sample_lane()]);
  __syncthreads();
  *total = shared[kSampleWarps - 1];
  return sample_warp() == 0 ? x : x + shared[sample_warp() - 1];
}
__device__ __forceinline__ std::uint64_t block_most(std::uint64_t x, std::uint64_t* shared) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const std::uint64_t y = __shfl_xor_sync(~0u, x, step);
    x = x > y ? x : y;
  }
  __syncthreads();
  if (sample_lane() == 0) shared[sample_warp()] = x;
  __syncthreads();
  x = shared[sample_lane()];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const std::uint64_t y = __shfl_xor_sync(~0u, x, step);
    x = x > y ? x : y;
  }
  return x;
}

}  // namespace spate::cuda
