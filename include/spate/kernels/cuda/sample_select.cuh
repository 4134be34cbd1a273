// Finds the element of a row with which a count or a mass is reached, counted in the order of ranks
// (the greater logit first, of equals the lower id), without sorting: histograms over ever smaller
// ranges of ranks, and at the end one warp that orders at most 32. Masses are summed as integers
// (2^-44 of the largest weight), so the result does not depend on the order of additions.
#pragma once
#include "spate/kernels/cuda/sample_row.cuh"

namespace spate::cuda {

inline constexpr int kBins = kSampleThreads;

struct SelectShared {
  std::uint32_t count[kBins];
  std::uint32_t mass_low[kBins], mass_high[kBins];
  std::uint64_t gathered_rank[32], gathered_mass[32];
  std::uint64_t scan[33];
  std::uint32_t gathered;
  // The bin in which the goal is reached, and what lies before it.
  std::int32_t bin;
  std::uint32_t bin_count;
  std::uint64_t before_count, before_mass, cut;
};

// A weight, at most 1, as an integer.
__device__ __forceinline__ std::uint64_t fixed_mass(float w) {
  const std::uint32_t bits = __float_as_uint(w);
  const int exponent = static_cast<int>(bits >> 23);
  if (exponent < 64) return 0;
  return std::uint64_t{(bits & 0x7fffffu) | 0x800000u} << 21 >> (127 - exponent);
}

// Count or mass with which the cut falls.
struct CutGoal {
  bool by_count;
  std::uint64_t target;
  __device__ __forceinline__ bool reached(std::uint64_t count, std::uint64_t mass) const {
    return (by_count ? count : mass) >= target;
  }
};

__device__ __forceinline__ void add_to_bin(SelectShared& s, int bin, std::uint64_t mass) {
  atomicAdd(&s.count[bin], 1u);
  const auto low = static_cast<std::uint32_t>(mass);
  auto high = static_cast<std::uint32_t>(mass >> 32);
  if (atomicAdd(&s.mass_low[bin], low) > ~low) ++high;  // carry
  if (high != 0) atomicAdd(&s.mass_high[bin], high);
}

// Finds the bin with which the goal is reached; false where none is.
__device__ __forceinline__ bool find_bin(SelectShared& s, const CutGoal& goal,
                                         std::uint64_t above_count, std::uint64_t above_mass) {
  const int bin = static_cast<int>(threadIdx.x);
  const std::uint64_t own_count = s.count[bin],
                      own_mass = std::uint64_t{s.mass_high[bin]} << 32 | s.mass_low[bin];
  std::uint64_t total_count, total_mass;
  const std::uint64_t count = above_count + block_scan(own_count, s.scan, &total_count);
  const std::uint64_t mass = above_mass + block_scan(own_mass, s.scan, &total_mass);
  if (goal.reached(count, mass) && !goal.reached(count - own_count, mass - own_mass)) {
    s.bin = bin;
    s.bin_count = s.count[bin];
    s.before_count = count - own_count;
    s.before_mass = mass - own_mass;
  }
  __syncthreads();
  return goal.reached(above_count + total_count, above_mass + total_mass);
}

// Of at most 32 elements, one a lane, in any order.
__device__ __forceinline__ void find_among(SelectShared& s, const CutGoal& goal) {
  const int lane = sample_lane(), n = static_cast<int>(s.gathered);
  const std::uint64_t rank = lane < n ? s.gathered_rank[lane] : 0;
  const std::uint64_t mass = lane < n ? s.gathered_mass[lane] : 0;
  std::uint64_t count_before = s.before_count, mass_before = s.before_mass;
  for (int i = 0; i < n; i++) {
    const bool before = s.gathered_rank[i] > rank;
    count_before += before ? 1 : 0;
    mass_before += before ? s.gathered_mass[i] : 0;
  }
  if (lane < n && !goal.reached(count_before, mass_before) &&
      goal.reached(count_before + 1, mass_before + mass)) {
    s.cut = rank;
  }
}

// The rank of the element with which the goal is reached among those of `source` with rank >=
// `least`; 0 where it is not reached. source.each(f) calls f(rank, weight) for every element once,
// over the block; -inf are left out.
template <class Source>
__device__ __forceinline__ std::uint64_t find_cut(SelectShared& s, const Source& source,
                                                  std::uint64_t least, std::uint64_t most,
                                                  const CutGoal& goal) {
  std::uint64_t above_count = 0, above_mass = 0, lo = least, hi = most;
  if (goal.reached(0, 0)) return most;
  while (true) {
    const int width = 64 - __clzll(static_cast<long long>(hi - lo));
    const int shift = width > 10 ? width - 10 : 0;
    __syncthreads();
    s.count[threadIdx.x] = s.mass_low[threadIdx.x] = s.mass_high[threadIdx.x] = 0;
    __syncthreads();
    source.each([&](std::uint64_t rank, float w) {
      if (rank < lo || rank > hi) return;
      add_to_bin(s, static_cast<int>((hi - rank) >> shift), fixed_mass(w));
    });
    __syncthreads();
    if (!find_bin(s, goal, above_count, above_mass)) return 0;
    above_count = s.before_count, above_mass = s.before_mass;
    const std::uint64_t first = hi - (static_cast<std::uint64_t>(s.bin) << shift);
    const std::uint64_t size = (std::uint64_t{1} << shift) - 1;
    lo = first - lo > size ? first - size : lo;
    hi = first;
    if (s.bin_count <= 32) break;
  }
  if (threadIdx.x == 0) s.gathered = 0;
  __syncthreads();
  source.each([&](std::uint64_t rank, float w) {
    if (rank < lo || rank > hi) return;
    const std::uint32_t at = atomicAdd(&s.gathered, 1u);
    s.gathered_rank[at] = rank;
    s.gathered_mass[at] = fixed_mass(w);
  });
  __syncthreads();
  if (sample_warp() == 0) find_among(s, goal);
  __syncthreads();
  return s.cut;
}

}  // namespace spate::cuda
