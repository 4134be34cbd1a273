// Which tokens of a row may be drawn, and their masses by unit: top_k and top_p as a cut in the
// order of ranks, min_p as a least weight. The state of a cluster that samples a row is here too.
#pragma once
#include "spate/kernels/cuda/sample_select.cuh"

namespace spate::cuda {

inline constexpr int kMostListed = 4096;

// Of each block of a cluster. What only block 0's holds is marked so.
struct SampleShared {
  SelectShared select;
  RowRules rules;
  double unit_mass[kMostUnits];          // block 0: of the tokens that may be drawn
  std::uint32_t unit_first[kMostUnits];  // block 0: the unit's run in the list
  std::uint32_t unit_count[kMostUnits];
  std::uint64_t list[kMostListed];  // block 0: ranks
  std::uint64_t of_warps[kRowWarps];
  float least_of_warps[kRowWarps];
  double scan[kSampleWarps];
  std::uint64_t list_cut, row_mass;  // what block 0 has found
  double passed;
  std::uint32_t listed;
  std::int32_t unit, last_unit, token;
};

__device__ __forceinline__ bool leads() { return cluster_rank() == 0; }

// What may be drawn: tokens of rank >= cut and weight >= min_weight.
struct Draw {
  Weigher weight;
  float min_weight = 0;
  float cut_logit = -kInfinity;  // the cut's
  int cut_id = 0x7fffffff;
  __device__ __forceinline__ void cut(std::uint64_t rank) {
    if (rank <= 1) return;
    cut_logit = rank_logit(rank);
    cut_id = rank_id(rank);
  }
  // The weight of a token, 0 if it may not be drawn.
  __device__ __forceinline__ float kept(float x, int id) const {
    const float w = weight(x);
    const bool above = (x > cut_logit) | ((x == cut_logit) & (id <= cut_id));
    return above & (w >= min_weight) ? w : 0.f;
  }
};

// All tokens of the row, by the cluster.
struct RowSource {
  static constexpr bool kCluster = true;
  const LogitRow& row;
  const RowRules& rules;
  const Draw& draw;
  static __device__ __forceinline__ void sync() { cluster_sync(); }
  static __device__ __forceinline__ std::uint64_t sum(std::uint64_t x, SelectShared& s) {
    return cluster_sum(x, s.of_warps);
  }
  template <class F>
  __device__ __forceinline__ void each(F f) const {
    each_unit(row, rules, [&](int unit, const UnitLogits& u) {
#pragma unroll
      for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const float x = u.x[j][e];
          if (x > -kInfinity) f(logit_rank(x, UnitLogits::id(unit, j, e)), draw.weight(x));
        }
      }
    });
  }
};
// The leading tokens of the row, by block 0.
struct ListSource {
  static constexpr bool kCluster = false;
  const std::uint64_t* list;
  std::uint32_t n;
  const Draw& draw;
  static __device__ __forceinline__ void sync() { __syncthreads(); }
  static __device__ __forceinline__ std::uint64_t sum(std::uint64_t x, SelectShared& s) {
    std::uint64_t total;
    block_scan(x, s.scan, &total);
    return total;
  }
  template <class F>
  __device__ __forceinline__ void each(F f) const {
    for (std::uint32_t i = threadIdx.x; i < n; i += kSampleThreads) {
      f(list[i], draw.weight(rank_logit(list[i])));
    }
  }
};

// ---- passes over the row

struct RowLargest {
  std::uint64_t best;  // of its logit with id 0; kNotFiniteRank where one is NaN or +inf
  float least_listed;  // some thousand tokens are at least as large; finite
  float of_thread;     // what this thread has seen
};

// About the value that seven in eight of the warps that have seen finite logits reach: built bit by
// bit, to seven bits of mantissa.
__device__ __forceinline__ float low_octile(const float* of_warps) {
  static_assert(kRowWarps == 64);
  const auto key = [&](int i) {
    return static_cast<std::uint32_t>(logit_rank(of_warps[i + sample_lane()], 0) >> 32);
  };
  const std::uint32_t a = key(0), b = key(32);
  const auto reaching = [&](std::uint32_t bound) {
    return __popc(__ballot_sync(~0u, a >= bound)) + __popc(__ballot_sync(~0u, b >= bound));
  };
  const int finite = reaching(static_cast<std::uint32_t>(kMinusInfinityRank >> 32) + 1);
  const int wanted = finite - finite / 8;
  std::uint32_t value = 0;
  for (std::uint32_t bit = 1u << 31; bit >= 1u << 16; bit >>= 1) {
    if (reaching(value | bit) >= wanted) value |= bit;
  }
  return rank_logit(std::uint64_t{value} << 32);
}

// A warp's eight groups of lanes each have a largest logit; the smallest of these is their warp's
// bound. Of 64 warps' bounds the eighth has on average four tokens of a group above it, 2100 of the
// row, if they are spread evenly; and it does not follow strange parts of the vocabulary.
__device__ __forceinline__ RowLargest find_largest(SampleShared& s, const LogitRow& row,
                                                   const RowRules& rules) {
  float most = -kInfinity;
  bool bad = false;
  each_unit(row, rules, [&](int, const UnitLogits& u) {
#pragma unroll
    for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        bad |= !(u.x[j][e] < kInfinity);
        most = fmaxf(most, u.x[j][e]);
      }
    }
  });
  float least = most;
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    least = fmaxf(least, __shfl_xor_sync(~0u, least, step));
  }
#pragma unroll
  for (int step = 4; step < 32; step *= 2) {
    least = fminf(least, __shfl_xor_sync(~0u, least, step));
  }
  if (sample_lane() < kSampleBlocks) {
    store_cluster(smem_address(s.least_of_warps + row_warp()),
                  static_cast<std::uint32_t>(sample_lane()), least);
  }
  const std::uint64_t best = cluster_most(bad ? kNotFiniteRank : logit_rank(most, 0), s.of_warps);
  return {best, fmaxf(low_octile(s.least_of_warps), -3.4028235e38f), most};
}

// The lowest id of the largest logit.
__device__ __forceinline__ int find_argmax(SampleShared& s, const LogitRow& row,
                                           const RowRules& rules, const RowLargest& largest) {
  const float max = rank_logit(largest.best);
  cluster_sync();  // the warps' places are used again
  std::uint64_t best = 0;
  if (__any_sync(~0u, largest.of_thread == max)) {
    each_unit(row, rules, [&](int unit, const UnitLogits& u) {
      for (int j = 0; j < kLaneVectors; j++) {
        for (int e = 0; e < 4; e++) {
          const std::uint64_t rank = logit_rank(u.x[j][e], UnitLogits::id(unit, j, e));
          if (u.x[j][e] == max && rank > best) best = rank;
        }
      }
    });
  }
  return rank_id(cluster_most(best, s.of_warps));
}

// Appends the unit's tokens that are at least `least` to block 0's list.
__device__ __forceinline__ void list_unit(SampleShared& s, int unit, const UnitLogits& u,
                                          float least) {
  std::uint32_t n = 0;
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) n += u.x[j][e] >= least ? 1 : 0;
  }
  const std::uint32_t end = warp_scan(n), total = __shfl_sync(~0u, end, 31);
  std::uint32_t first = 0;
  if (sample_lane() == 0) {
    if (total > 0) first = add_cluster(smem_address(&s.listed), 0, total);
    store_cluster(smem_address(&s.unit_first[unit]), 0, first);
    store_cluster(smem_address(&s.unit_count[unit]), 0, total);
  }
  first = __shfl_sync(~0u, first, 0);
  if (n == 0 || first + total > kMostListed) return;
  std::uint32_t at = first + end - n;
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (!(u.x[j][e] >= least)) continue;
      store_cluster(smem_address(&s.list[at++]), 0,
                    logit_rank(u.x[j][e], UnitLogits::id(unit, j, e)));
    }
  }
}

// Fills block 0's unit_mass with the masses of what may be drawn (kAll: all), and the list if
// `least` is given.
template <bool kAll>
__device__ __forceinline__ void weigh_row(SampleShared& s, const LogitRow& row,
                                          const RowRules& rules, const Draw& draw,
                                          const float* least) {
  each_unit(row, rules, [&](int unit, const UnitLogits& u) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kLaneVectors; j++) {
      float w[4];
#pragma unroll
      for (int e = 0; e < 4; e++) {
        w[e] = kAll ? draw.weight(u.x[j][e]) : draw.kept(u.x[j][e], UnitLogits::id(unit, j, e));
      }
      sum += (w[0] + w[1]) + (w[2] + w[3]);
    }
    const double mass = warp_sum(static_cast<double>(sum));
    if (sample_lane() == 0) {
      store_cluster(smem_address(&s.unit_mass[unit]), 0,
                    static_cast<std::uint64_t>(__double_as_longlong(mass)));
    }
    if (least != nullptr) list_unit(s, unit, u, *least);
  });
  cluster_sync();
}

// Block 0: the same from the list, eight lanes a unit.
__device__ __forceinline__ void weigh_list(SampleShared& s, int units, const Draw& draw) {
  constexpr int kGroups = kSampleThreads / 8;
  const int group = static_cast<int>(threadIdx.x) / 8;
  for (int first = 0; first < units; first += kGroups) {
    const int unit = first + group;
    const std::uint32_t n = unit < units ? s.unit_count[unit] : 0;
    double sum = 0;
    for (std::uint32_t i = threadIdx.x % 8; i < n; i += 8) {
      const std::uint64_t rank = s.list[s.unit_first[unit] + i];
      sum += static_cast<double>(draw.kept(rank_logit(rank), rank_id(rank)));
    }
#pragma unroll
    for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (unit < units && threadIdx.x % 8 == 0) s.unit_mass[unit] = sum;
  }
  __syncthreads();
}

// Block 0: the mass of all units before this thread's, which are kThreadUnits.
inline constexpr int kThreadUnits = kMostUnits / kSampleThreads;
__device__ __forceinline__ double scan_units(SampleShared& s, int units, double* total) {
  double own = 0;
  for (int i = 0; i < kThreadUnits; i++) {
    const int unit = static_cast<int>(threadIdx.x) * kThreadUnits + i;
    own += unit < units ? s.unit_mass[unit] : 0.0;
  }
  return block_scan(own, s.scan, total) - own;
}

// ---- the filters

// The cut of top_k and top_p in `source`, whose elements' ranks are in [least, best]. 0: the source
// is too short to tell.
template <class Source>
__device__ __forceinline__ std::uint64_t filter_cut(SampleShared& s, const Source& source,
                                                    std::uint64_t least, std::uint64_t best,
                                                    std::uint64_t mass) {
  const SlotRules& rules = s.rules.rules;
  std::uint64_t cut = least, total = mass;
  if (rules.top_k > 0) {
    cut = find_cut(s.select, source, least, best, {true, static_cast<std::uint64_t>(rules.top_k)});
    if (cut == 0 && !Source::kCluster) return 0;
    std::uint64_t kept = 0;
    source.each([&](std::uint64_t rank, float w) { kept += rank >= cut ? fixed_mass(w) : 0; });
    total = Source::sum(kept, s.select);
  }
  if (rules.top_p >= 1) return cut;
  const auto target = static_cast<std::uint64_t>(
      ceil(static_cast<double>(rules.top_p) * static_cast<double>(total)));
  const std::uint64_t last =
      find_cut(s.select, source, cut == 0 ? least : cut, best, {false, target});
  return last == 0 && Source::kCluster ? cut : last;
}

// Block 0 looks for the cut in its list and tells the others what has come of it.
__device__ __forceinline__ void cut_list(SampleShared& s, int units, const RowLargest& largest,
                                         const Draw& draw) {
  if (leads()) {
    double mass;
    scan_units(s, units, &mass);
    const auto row_mass = static_cast<std::uint64_t>(mass * 0x1p44);
    const std::uint32_t listed = s.listed;
    std::uint64_t cut = 0;
    if (listed <= kMostListed) {
      cut = filter_cut(s, ListSource{s.list, listed, draw}, logit_rank(largest.least_listed, -1),
                       largest.best, row_mass);
    }
    if (threadIdx.x < kSampleBlocks) {
      store_cluster(smem_address(&s.list_cut), threadIdx.x, cut);
      store_cluster(smem_address(&s.row_mass), threadIdx.x, row_mass);
    }
  }
  cluster_sync();
}

// Leaves the masses of what may be drawn in block 0's unit_mass.
__device__ __forceinline__ void filter(SampleShared& s, const LogitRow& row,
                                       const RowLargest& largest, Draw& draw) {
  const SlotRules& rules = s.rules.rules;
  const bool cuts = rules.top_k > 0 || rules.top_p < 1;
  if (cuts || rules.min_p == 0) {
    weigh_row<true>(s, row, s.rules, draw, cuts ? &largest.least_listed : nullptr);
    if (!cuts) return;
    cut_list(s, row.units(), largest, draw);
    const bool by_list = s.list_cut != 0;
    draw.cut(by_list ? s.list_cut
                     : filter_cut(s, RowSource{row, s.rules, draw}, 1, largest.best, s.row_mass));
    draw.min_weight = rules.min_p;
    if (by_list) {
      if (leads()) weigh_list(s, row.units(), draw);
      return;
    }
  }
  draw.min_weight = rules.min_p;
  weigh_row<false>(s, row, s.rules, draw, nullptr);
}

}  // namespace spate::cuda
