// A row of logits as a cluster of eight blocks sees it: in units of 512 tokens, each the work of
// one warp. Who does what depends on nothing but the vocabulary, so neither do the sums. Passes
// over the row, and sums over a block and over the cluster.
#pragma once
#include "spate/kernels/cuda/cluster.cuh"
#include "spate/kernels/cuda/sample_rules.cuh"

namespace spate::cuda {

inline constexpr int kSampleThreads = 256, kSampleWarps = kSampleThreads / 32;
inline constexpr int kSampleBlocks = 8;  // of a cluster, which has a row
inline constexpr int kRowWarps = kSampleBlocks * kSampleWarps;
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

__device__ __forceinline__ void load_unit(const LogitRow& row, int unit, UnitLogits& u) {
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
}
__device__ __forceinline__ void edit_unit(const LogitRow& row, const RowRules& rules, int unit,
                                          UnitLogits& u) {
  if (rules.marks == nullptr) return;
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
    const int at = UnitLogits::id(unit, j, 0);
    if (at >= row.vocab) continue;
    TokenMark mark[4] = {};
    if (row.vector) {
      const ushort4 m = *reinterpret_cast<const ushort4*>(rules.marks + at);
      mark[0] = m.x, mark[1] = m.y, mark[2] = m.z, mark[3] = m.w;
    } else {
      for (int e = 0; e < 4; e++) mark[e] = at + e < row.vocab ? rules.marks[at + e] : TokenMark{0};
    }
    if ((mark[0] | mark[1] | mark[2] | mark[3]) == 0) continue;
#pragma unroll
    for (int e = 0; e < 4; e++) u.x[j][e] = edited_logit(rules, mark[e], u.x[j][e]);
  }
}

__device__ __forceinline__ int sample_warp() { return static_cast<int>(threadIdx.x) / 32; }
__device__ __forceinline__ int sample_lane() { return static_cast<int>(threadIdx.x) % 32; }

__device__ __forceinline__ int row_warp() {
  return static_cast<int>(cluster_rank()) * kSampleWarps + sample_warp();
}

// f(unit, logits) for the units of this warp; the next one is under way meanwhile.
template <class F>
__device__ __forceinline__ void each_unit(const LogitRow& row, const RowRules& rules, F f) {
  UnitLogits next;
  if (row_warp() < row.units()) load_unit(row, row_warp(), next);
  for (int unit = row_warp(); unit < row.units(); unit += kRowWarps) {
    UnitLogits u = next;
    if (unit + kRowWarps < row.units()) load_unit(row, unit + kRowWarps, next);
    edit_unit(row, rules, unit, u);
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
// Inclusive over the block's threads; `total` for all. `shared` [kSampleWarps].
template <class T>
__device__ __forceinline__ T block_scan(T x, T* shared, T* total) {
  x = warp_scan(x);
  __syncthreads();
  if (sample_lane() == 31) shared[sample_warp()] = x;
  __syncthreads();
  T before = 0, all = 0;
#pragma unroll
  for (int i = 0; i < kSampleWarps; i++) {
    if (i == sample_warp()) before = all;
    all += shared[i];
  }
  *total = all;
  return before + x;
}

__device__ __forceinline__ std::uint64_t warp_most(std::uint64_t x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const std::uint64_t y = __shfl_xor_sync(~0u, x, step);
    x = x > y ? x : y;
  }
  return x;
}
// The largest over the cluster. `of_warps` [kRowWarps].
__device__ __forceinline__ std::uint64_t cluster_most(std::uint64_t x, std::uint64_t* of_warps) {
  x = warp_most(x);
  if (sample_lane() < kSampleBlocks) {
    store_cluster(smem_address(of_warps + row_warp()), static_cast<std::uint32_t>(sample_lane()),
                  x);
  }
  cluster_sync();
  x = 0;
#pragma unroll
  for (int i = 0; i < kRowWarps; i += 32) {
    const std::uint64_t y = of_warps[i + sample_lane()];
    x = x > y ? x : y;
  }
  return warp_most(x);
}
// The sum over the cluster. `of_warps` [kRowWarps].
__device__ __forceinline__ std::uint64_t cluster_sum(std::uint64_t x, std::uint64_t* of_warps) {
  x = warp_sum(x);
  if (sample_lane() < kSampleBlocks) {
    store_cluster(smem_address(of_warps + row_warp()), static_cast<std::uint32_t>(sample_lane()),
                  x);
  }
  cluster_sync();
  std::uint64_t sum = 0;
#pragma unroll
  for (int i = 0; i < kRowWarps; i += 32) sum += of_warps[i + sample_lane()];
  sum = warp_sum(sum);
  cluster_sync();  // before anybody writes there again
  return sum;
}

}  // namespace spate::cuda
