// Finds the element of a row with which a count or a mass is reached, counted in the order of ranks
// (the greater logit first, of equals the lower id), without sorting: histograms over ever smaller
// ranges of ranks, and at the end one warp that orders at most 32. Masses are summed as integers
// (2^-44 of the largest weight), so the result does not depend on the order of additions. The
// elements lie with one block, or are spread over the cluster.
#pragma once
#include "spate/kernels/cuda/sample_row.cuh"

namespace spate::cuda {

inline constexpr int kBins = 1024, kThreadBins = kBins / kSampleThreads;

struct SelectShared {
  std::uint32_t count[kBins];
  std::uint32_t mass_low[kBins], mass_high[kBins];
  std::uint64_t gathered_rank[32], gathered_mass[32];
  std::uint64_t scan[kSampleWarps];
  std::uint64_t of_warps[kRowWarps];
  std::uint32_t gathered;
  // The bin in which the goal is reached (-1: in none), and what lies before it.
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

// Finds the bin with which the goal is reached.
__device__ __forceinline__ void find_bin(SelectShared& s, const CutGoal& goal,
                                         std::uint64_t above_count, std::uint64_t above_mass) {
  const int first = static_cast<int>(threadIdx.x) * kThreadBins;
  const auto mass_of = [&](int bin) {
    return std::uint64_t{s.mass_high[bin]} << 32 | s.mass_low[bin];
  };
  std::uint64_t own_count = 0, own_mass = 0, total;
  for (int i = 0; i < kThreadBins; i++) {
    own_count += s.count[first + i];
    own_mass += mass_of(first + i);
  }
  if (threadIdx.x == 0) s.bin = -1;
  std::uint64_t count = above_count + block_scan(own_count, s.scan, &total) - own_count;
  std::uint64_t mass = above_mass + block_scan(own_mass, s.scan, &total) - own_mass;
  for (int bin = first; bin < first + kThreadBins; bin++) {
    const std::uint64_t next_count = count + s.count[bin], next_mass = mass + mass_of(bin);
    if (goal.reached(next_count, next_mass) && !goal.reached(count, mass)) {
      s.bin = bin;
      s.bin_count = s.count[bin];
      s.before_count = count;
      s.before_mass = mass;
    }
    count = next_count, mass = next_mass;
  }
  __syncthreads();
}

// Adds the bins of the cluster's other blocks to those of block 0.
__device__ __forceinline__ void collect_bins(SelectShared& s) {
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kSampleThreads) {
    std::uint32_t count = s.count[bin];
    std::uint64_t mass = std::uint64_t{s.mass_high[bin]} << 32 | s.mass_low[bin];
    for (std::uint32_t block = 1; block < kSampleBlocks; block++) {
      const std::uint32_t more = load_cluster_u32(smem_address(&s.count[bin]), block);
      if (more == 0) continue;
      count += more;
      mass += load_cluster_u32(smem_address(&s.mass_low[bin]), block);
      mass += std::uint64_t{load_cluster_u32(smem_address(&s.mass_high[bin]), block)} << 32;
    }
    s.count[bin] = count;
    s.mass_low[bin] = static_cast<std::uint32_t>(mass);
    s.mass_high[bin] = static_cast<std::uint32_t>(mass >> 32);
  }
  __syncthreads();
}

// Block 0 tells the others what it has found.
__device__ __forceinline__ void publish_bin(SelectShared& s) {
  if (threadIdx.x == 0 || threadIdx.x >= kSampleBlocks) return;
  const std::uint32_t block = threadIdx.x;
  store_cluster(smem_address(&s.bin), block, static_cast<std::uint32_t>(s.bin));
  store_cluster(smem_address(&s.bin_count), block, s.bin_count);
  store_cluster(smem_address(&s.before_count), block, s.before_count);
  store_cluster(smem_address(&s.before_mass), block, s.before_mass);
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

// Counts the elements with ranks in [lo, hi] in bins of 2^shift ranks, from hi down, and finds the
// bin with which the goal is reached.
template <class Source>
__device__ __forceinline__ void narrow(SelectShared& s, const Source& source, const CutGoal& goal,
                                       std::uint64_t lo, std::uint64_t hi, int shift) {
  const std::uint64_t above_count = s.before_count, above_mass = s.before_mass;
  __syncthreads();
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kSampleThreads) {
    s.count[bin] = s.mass_low[bin] = s.mass_high[bin] = 0;
  }
  __syncthreads();
  source.each([&](std::uint64_t rank, float w) {
    if (rank < lo || rank > hi) return;
    add_to_bin(s, static_cast<int>((hi - rank) >> shift), fixed_mass(w));
  });
  if constexpr (Source::kCluster) {
    cluster_sync();
    if (cluster_rank() == 0) {
      collect_bins(s);
      find_bin(s, goal, above_count, above_mass);
      publish_bin(s);
    }
    cluster_sync();
  } else {
    __syncthreads();
    find_bin(s, goal, above_count, above_mass);
  }
}

// Brings the elements with ranks in [lo, hi], at most 32, to block 0, which finds the one with
// which the goal is reached.
template <class Source>
__device__ __forceinline__ void finish_cut(SelectShared& s, const Source& source,
                                           const CutGoal& goal, std::uint64_t lo,
                                           std::uint64_t hi) {
  const std::uint32_t leader = Source::kCluster ? 0 : cluster_rank();
  if (threadIdx.x == 0) s.gathered = 0;
  Source::sync();
  source.each([&](std::uint64_t rank, float w) {
    if (rank < lo || rank > hi) return;
    const std::uint32_t at = add_cluster(smem_address(&s.gathered), leader, 1);
    store_cluster(smem_address(&s.gathered_rank[at]), leader, rank);
    store_cluster(smem_address(&s.gathered_mass[at]), leader, fixed_mass(w));
  });
  Source::sync();
  if (cluster_rank() == leader && sample_warp() == 0) {
    find_among(s, goal);
    __syncwarp();
    if (Source::kCluster && sample_lane() > 0 && sample_lane() < kSampleBlocks) {
      store_cluster(smem_address(&s.cut), static_cast<std::uint32_t>(sample_lane()), s.cut);
    }
  }
  Source::sync();
}

// The rank of the element with which the goal is reached among those of `source` with ranks in
// [least, most]; 0 where it is not reached. source.each(f) calls f(rank, weight) for every element
// once; -inf are left out. With Source::kCluster the elements are spread over the cluster, whose
// blocks all come here; else they lie with this block.
template <class Source>
__device__ __forceinline__ std::uint64_t find_cut(SelectShared& s, const Source& source,
                                                  std::uint64_t least, std::uint64_t most,
                                                  const CutGoal& goal) {
  if (goal.reached(0, 0)) return most;
  std::uint64_t lo = least, hi = most;
  __syncthreads();
  if (threadIdx.x == 0) s.before_count = s.before_mass = 0;
  __syncthreads();
  do {
    const int width = 64 - __clzll(static_cast<long long>(hi - lo));
    const int shift = width > 10 ? width - 10 : 0;
    narrow(s, source, goal, lo, hi, shift);
    if (s.bin < 0) return 0;
    const std::uint64_t first = hi - (static_cast<std::uint64_t>(s.bin) << shift);
    const std::uint64_t size = (std::uint64_t{1} << shift) - 1;
    lo = first - lo > size ? first - size : lo;
    hi = first;
  } while (s.bin_count > 32);
  finish_cut(s, source, goal, lo, hi);
  return s.cut;
}

}  // namespace spate::cuda
