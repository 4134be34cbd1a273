// Chooses the next token of each row on the device by its slot's rules, as sample/sampler.h does on
// the CPU: one block a row, no sorting. Cost: one pass for the largest logit, one for the masses;
// with top_k or top_p the second also lists what is large enough to matter (a few thousand tokens
// in shared memory), and the cut is found in the list. Where the list is too short for the cut,
// passes over the row follow. Masses are right to 2^-20, as on the CPU, and depend on the row
// alone.
#pragma once
#include "spate/kernels/cuda/sample_select.cuh"

namespace spate::cuda {

struct SampleParams {
  const float* logits = nullptr;  // [rows, vocab]
  std::int64_t stride = 0;        // elements
  int vocab = 0;                  // up to kMostVocab
  std::int64_t rows = 0;
  const std::int32_t* slots = nullptr;  // [rows]; -1: padding, nothing is written

  const SlotRules* rules = nullptr;  // [slots]
  std::int64_t* outputs = nullptr;   // [slots]: tokens of the output so far; counted up
  TokenMark* marks = nullptr;        // [slots, vocab]; counted up where a slot has marks

  std::int32_t* sampled = nullptr;  // [slots]: the token, for the next step's embed
  std::int32_t* tokens = nullptr;   // [rows]; 0 where there is an error
  std::int32_t* errors = nullptr;   // [rows] SampleError
  float* logprobs = nullptr;        // [rows], where the slot wants them; or null
  bool dependent_launch = false;
};

inline constexpr int kMostListed = 8192;

struct SampleShared {
  SelectShared select;
  RowRules rules;
  double unit_mass[kMostUnits];          // of the tokens that may be drawn
  std::uint32_t unit_first[kMostUnits];  // the unit's run in the list
  std::uint32_t unit_count[kMostUnits];
  std::uint64_t list[kMostListed];  // ranks
  double scan[33];
  std::uint64_t most[32];
  float warp_least[32];
  std::uint32_t listed;
  std::int32_t unit, last_unit, token;
};

// What may be drawn: tokens of rank >= cut and weight >= min_weight.
struct Draw {
  float max;
  float inverse_temperature;
  std::uint64_t cut;
  float min_weight;
  __device__ __forceinline__ float weight(float x) const {
    return token_weight(x, max, inverse_temperature);
  }
  // The weight of a token, 0 if it may not be drawn.
  __device__ __forceinline__ float kept(float x, int id) const {
    const float w = weight(x);
    return w >= min_weight && (cut == 0 || logit_rank(x, id) >= cut) ? w : 0.f;
  }
};

struct RowSource {
  static constexpr bool kWhole = true;
  const LogitRow& row;
  const RowRules& rules;
  const Draw& draw;
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
struct ListSource {
  static constexpr bool kWhole = false;  // the leading part of the row
  const std::uint64_t* list;
  std::uint32_t n;
  const Draw& draw;
  template <class F>
  __device__ __forceinline__ void each(F f) const {
    for (std::uint32_t i = threadIdx.x; i < n; i += kSampleThreads) {
      f(list[i], draw.weight(rank_logit(list[i])));
    }
  }
};

// ---- passes over the row

struct RowLargest {
  std::uint64_t best;  // kNotFiniteRank where a logit is NaN or +inf
  float least_listed;  // a few thousand tokens are at least as large
};

// Of the 1024 threads' largest logits about 2 % lie below the median of the warps' smallest: then
// the row has about 4000 tokens above it, if they are spread evenly.
__device__ __forceinline__ RowLargest find_largest(SampleShared& s, const LogitRow& row,
                                                   const RowRules& rules) {
  float most = -kInfinity;
  int id = 0;
  bool finite = true;
  each_unit(row, rules, [&](int unit, const UnitLogits& u) {
#pragma unroll
    for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        finite = finite && u.x[j][e] < kInfinity;
        if (u.x[j][e] > most) most = u.x[j][e], id = UnitLogits::id(unit, j, e);
      }
    }
  });
  float least = most;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    least = fminf(least, __shfl_xor_sync(~0u, least, step));
  }
  if (sample_lane() == 0) s.warp_least[sample_warp()] = least;
  const std::uint64_t best = block_most(finite ? logit_rank(most, id) : kNotFiniteRank, s.most);
  const float mine = s.warp_least[sample_lane()];
  int below = 0;
  for (int i = 0; i < 32; i++) {
    const float other = s.warp_least[i];
    below += other < mine || (other == mine && i < sample_lane()) ? 1 : 0;
  }
  const unsigned median = __ballot_sync(~0u, below == 16);
  return {best, __shfl_sync(~0u, mine, __ffs(static_cast<int>(median)) - 1)};
}

// Appends the unit's tokens that are at least `least` to the list.
__device__ __forceinline__ void list_unit(SampleShared& s, int unit, const UnitLogits& u,
                                          float least) {
  std::uint32_t n = 0;
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) n += u.x[j][e] >= least && u.x[j][e] > -kInfinity ? 1 : 0;
  }
  const std::uint32_t end = warp_scan(n), total = __shfl_sync(~0u, end, 31);
  std::uint32_t first = 0;
  if (sample_lane() == 0) first = atomicAdd(&s.listed, total);
  first = __shfl_sync(~0u, first, 0);
  if (sample_lane() == 0) s.unit_first[unit] = first, s.unit_count[unit] = total;
  if (first + total > kMostListed) return;
  std::uint32_t at = first + end - n;
#pragma unroll
  for (int j = 0; j < kLaneVectors; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (!(u.x[j][e] >= least && u.x[j][e] > -kInfinity)) continue;
      s.list[at++] = logit_rank(u.x[j][e], UnitLogits::id(unit, j, e));
    }
  }
}

// Fills unit_mass with the masses of what may be drawn, and the list if `least` is given.
__device__ __forceinline__ void weigh_row(SampleShared& s, const LogitRow& row,
                                          const RowRules& rules, const Draw& draw,
                                          const float* least) {
  each_unit(row, rules, [&](int unit, const UnitLogits& u) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kLaneVectors; j++) {
      float w[4];
#pragma unroll
      for (int e = 0; e < 4; e++) w[e] = draw.kept(u.x[j][e], UnitLogits::id(unit, j, e));
      sum += (w[0] + w[1]) + (w[2] + w[3]);
    }
    const double mass = warp_sum(static_cast<double>(sum));
    if (sample_lane() == 0) s.unit_mass[unit] = mass;
    if (least != nullptr) list_unit(s, unit, u, *least);
  });
  __syncthreads();
}

// The same from the list.
__device__ __forceinline__ void weigh_list(SampleShared& s, int units, const Draw& draw) {
  for (int unit = sample_warp(); unit < units; unit += kSampleWarps) {
    double sum = 0;
    for (std::uint32_t i = static_cast<std::uint32_t>(sample_lane()); i < s.unit_count[unit];
         i += 32) {
      const std::uint64_t rank = s.list[s.unit_first[unit] + i];
      sum += static_cast<double>(draw.kept(rank_logit(rank), rank_id(rank)));
    }
    sum = warp_sum(sum);
    if (sample_lane() == 0) s.unit_mass[unit] = sum;
  }
  __syncthreads();
}

__device__ __forceinline__ double scan_units(SampleShared& s, int units, double* total) {
  const int unit = static_cast<int>(threadIdx.x);
  return block_scan(unit < units ? s.unit_mass[unit] : 0.0, s.scan, total);
}

// ---- the filters

// The cut of top_k and top_p in `source`. 0: the source is too short to tell.
template <class Source>
__device__ __forceinline__ std::uint64_t filter_cut(SampleShared& s, const Source& source,
                                                    std::uint64_t best, double mass) {
  const SlotRules& rules = s.rules.rules;
  std::uint64_t cut = 1, total = static_cast<std::uint64_t>(mass * 0x1p44);
  if (rules.top_k > 0) {
    cut = find_cut(s.select, source, 1, best, {true, static_cast<std::uint64_t>(rules.top_k)});
    if (cut == 0 && !Source::kWhole) return 0;
    std::uint64_t kept = 0;
    source.each([&](std::uint64_t rank, float w) { kept += rank >= cut ? fixed_mass(w) : 0; });
    block_scan(kept, s.select.scan, &total);
  }
  if (rules.top_p >= 1) return cut;
  const auto target = static_cast<std::uint64_t>(
      ceil(static_cast<double>(rules.top_p) * static_cast<double>(total)));
  const std::uint64_t last = find_cut(s.select, source, cut == 0 ? 1 : cut, best, {false, target});
  return last == 0 && Source::kWhole ? cut : last;
}

// Leaves the masses of what may be drawn in unit_mass.
__device__ __forceinline__ void filter(SampleShared& s, const LogitRow& row, RowLargest largest,
                                       Draw& draw) {
  const SlotRules& rules = s.rules.rules;
  const float min_weight = draw.min_weight;
  if (rules.top_k == 0 && rules.top_p >= 1) {
    weigh_row(s, row, s.rules, draw, nullptr);
    return;
  }
  draw.min_weight = 0;
  if (threadIdx.x == 0) s.listed = 0;
  __syncthreads();
  weigh_row(s, row, s.rules, draw, &largest.least_listed);
  double mass;
  scan_units(s, row.units(), &mass);
  const std::uint32_t listed = s.listed;
  std::uint64_t cut = 0;
  if (listed <= kMostListed) {
    cut = filter_cut(s, ListSource{s.list, listed, draw}, largest.best, mass);
  }
  const bool by_list = cut != 0;
  if (!by_list) cut = filter_cut(s, RowSource{row, s.rules, draw}, largest.best, mass);
  draw.cut = cut;
  draw.min_weight = min_weight;
  __syncthreads();
  if (by_list) {
    weigh_list(s, row.units(), draw);
  } else {
    weigh_row(s, row, s.rules, draw, nullptr);
  }
}

// ---- the draw

// Warp 0: the first token of the unit with which the mass from `passed` on exceeds `target`, else
// the last that may be drawn.
__device__ __forceinline__ int walk_unit(const LogitRow& row, const RowRules& rules,
                                         const Draw& draw, int unit, double passed, double target) {
  UnitLogits u;
  load_unit(row, rules, unit, u);
  int last = unit * kUnit;
  for (int j = 0; j < kLaneVectors; j++) {
    double sum = 0;
    int chosen = -1, alive = -1;
    float w[4];
    for (int e = 0; e < 4; e++) {
      w[e] = draw.kept(u.x[j][e], UnitLogits::id(unit, j, e));
      sum += static_cast<double>(w[e]);
      if (w[e] > 0) alive = UnitLogits::id(unit, j, e);
    }
    const double end = warp_scan(sum);
    const bool exceeds = passed + end > target && alive >= 0;
    double at = passed + (end - sum);
    for (int e = 0; e < 4 && chosen < 0; e++) {
      at += static_cast<double>(w[e]);
      if (at > target && w[e] > 0) chosen = UnitLogits::id(unit, j, e);
    }
    if (chosen < 0) chosen = alive;
    const unsigned exceeding = __ballot_sync(~0u, exceeds);
    if (exceeding != 0) return __shfl_sync(~0u, chosen, __ffs(static_cast<int>(exceeding)) - 1);
    const unsigned living = __ballot_sync(~0u, alive >= 0);
    if (living != 0) last = __shfl_sync(~0u, alive, 31 - __clz(static_cast<int>(living)));
    passed += __shfl_sync(~0u, end, 31);
  }
  return last;
}

__device__ __forceinline__ int pick(SampleShared& s, const LogitRow& row, const Draw& draw) {
  if (threadIdx.x == 0) s.unit = kMostUnits, s.last_unit = 0;
  double total;
  const double end = scan_units(s, row.units(), &total);
  const double target =
      total * uniform_number(s.rules.rules.seed, s.rules.rules.sequence, s.rules.outputs);
  const int unit = static_cast<int>(threadIdx.x);
  if (unit < row.units() && s.unit_mass[unit] > 0) {
    if (end > target) atomicMin(&s.unit, unit);
    atomicMax(&s.last_unit, unit);
  }
  __syncthreads();
  const int chosen = s.unit < kMostUnits ? s.unit : s.last_unit;
  if (unit == chosen) s.scan[32] = end - s.unit_mass[unit];
  __syncthreads();
  if (sample_warp() == 0) {
    const int token = walk_unit(row, s.rules, draw, chosen, s.scan[32], target);
    if (sample_lane() == 0) s.token = token;
  }
  __syncthreads();
  return s.token;
}

// log(sum(exp(logits))) of the row as the model gave it.
__device__ __forceinline__ double log_sum_exp(SampleShared& s, const LogitRow& row) {
  const RowRules none;
  const RowLargest largest = find_largest(s, row, none);
  if (error_of_rank(largest.best) != kSampled) return __longlong_as_double(0x7ff8000000000000ll);
  const float max = rank_logit(largest.best);
  __syncthreads();
  weigh_row(s, row, none, {max, 1.f, 0, 0.f}, nullptr);
  double total;
  scan_units(s, row.units(), &total);
  return static_cast<double>(max) + log(total);
}

__device__ __forceinline__ void finish_row(const SampleParams& p, std::int64_t row, int slot,
                                           int token, std::int32_t error) {
  p.tokens[row] = token;
  p.errors[row] = error;
  if (p.sampled != nullptr) p.sampled[slot] = token;
  if (error != kSampled) return;
  p.outputs[slot] += 1;
  if (p.rules[slot].has_marks == 0) return;
  TokenMark& mark = p.marks[std::int64_t{slot} * p.vocab + token];
  if ((mark & kMostOutputs) != kMostOutputs) mark = static_cast<TokenMark>(mark + 1);
}

__device__ __forceinline__ void load_rules(const SampleParams& p, int slot, SampleShared& s) {
  if (threadIdx.x == 0) {
    s.rules.rules = p.rules[slot];
    if (s.rules.rules.top_k >= p.vocab) s.rules.rules.top_k = 0;
    s.rules.outputs = p.outputs[slot];
    s.rules.marks = s.rules.rules.has_marks == 0 ? nullptr : p.marks + std::int64_t{slot} * p.vocab;
  }
  __syncthreads();
}

template <bool kVector>
__global__ void __launch_bounds__(kSampleThreads)
    sample_kernel(const __grid_constant__ SampleParams p) {
  extern __shared__ std::uint64_t sample_memory[];
  auto& s = *reinterpret_cast<SampleShared*>(sample_memory);
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t r = blockIdx.x;
  const int slot = p.slots[r];
  if (slot < 0) return;
  load_rules(p, slot, s);
  const LogitRow row{p.logits + r * p.stride, p.vocab, kVector};
  const RowLargest largest = find_largest(s, row, s.rules);
  std::int32_t error = error_of_rank(largest.best);
  int token = 0;
  if (error == kSampled) {
    token = rank_id(largest.best);
    if (s.rules.rules.inverse_temperature > 0) {
      Draw draw{rank_logit(largest.best), s.rules.rules.inverse_temperature, 0,
                s.rules.rules.min_p};
      filter(s, row, largest, draw);
      token = pick(s, row, draw);
    }
    if (s.rules.rules.wants_logprob != 0 && p.logprobs != nullptr) {
      const double sum = log_sum_exp(s, row);
      if (sum != sum) error = kNotFinite;
      if (threadIdx.x == 0) {
        p.logprobs[r] = static_cast<float>(static_cast<double>(row.logits[token]) - sum);
      }
    }
  }
  if (threadIdx.x == 0) finish_row(p, r, slot, error == kSampled ? token : 0, error);
}

inline cudaError_t launch_sample(const SampleParams& p, cudaStream_t stream) {
  if (p.vocab < 1 || p.vocab > kMostVocab) return cudaErrorInvalidValue;
  const bool vector = p.vocab % 4 == 0 && is_aligned(p.logits, p.stride * 4);
  const auto kernel = vector ? sample_kernel<true> : sample_kernel<false>;
  constexpr int kShared = static_cast<int>(sizeof(SampleShared));
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
      error != cudaSuccess) {
    return error;
  }
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(p.rows)),
                          .threads = kSampleThreads,
                          .dependent = p.dependent_launch,
                          .shared_bytes = kShared};
  return launch_rows(kernel, p, shape, stream);
}

// ---- marks

struct MarkEntry {
  std::int32_t token;
  TokenMark mark;
};
struct MarkParams {
  TokenMark* marks = nullptr;  // [vocab] of one slot, cleared before
  const MarkEntry* entries = nullptr;
  std::int64_t n = 0;
};

static __global__ void __launch_bounds__(256) mark_kernel(const __grid_constant__ MarkParams p) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < p.n) p.marks[p.entries[i].token] = p.entries[i].mark;
}

inline cudaError_t launch_mark(const MarkParams& p, cudaStream_t stream) {
  return launch_rows(mark_kernel, p, {.grid = dim3(row_blocks(p.n, 256)), .threads = 256}, stream);
}

}  // namespace spate::cuda
