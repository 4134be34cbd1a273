// Chooses the next token of each row on the device by its slot's rules, as sample/sampler.h does on
// the CPU: a cluster of eight blocks a row, no sorting. Cost: one pass for the largest logit, one
// for the masses; with top_k or top_p the second also lists what is large enough to matter (some
// thousand tokens, in block 0's shared memory), and block 0 finds the cut in the list. Where the
// list does not hold the cut, the cluster passes over the row again. Masses are right to 2^-20, as
// on the CPU, and depend on the row alone.
#pragma once
#include "spate/kernels/cuda/sample_filter.cuh"

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

// ---- the draw

// Warp 0: the first token of the unit with which the mass from `passed` on exceeds `target`, else
// the last that may be drawn.
__device__ __forceinline__ int walk_unit(const LogitRow& row, const RowRules& rules,
                                         const Draw& draw, int unit, double passed, double target) {
  UnitLogits u;
  load_unit(row, unit, u);
  edit_unit(row, rules, unit, u);
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

// Block 0.
__device__ __forceinline__ int pick(SampleShared& s, const LogitRow& row, const Draw& draw) {
  if (threadIdx.x == 0) s.unit = kMostUnits, s.last_unit = 0;
  double total;
  const double before = scan_units(s, row.units(), &total);
  const double target =
      total * uniform_number(s.rules.rules.seed, s.rules.rules.sequence, s.rules.outputs);
  const int first = static_cast<int>(threadIdx.x) * kThreadUnits;
  const int end = min(first + kThreadUnits, row.units());
  double passed = before;
  for (int unit = first; unit < end; unit++) {
    passed += s.unit_mass[unit];
    if (s.unit_mass[unit] == 0) continue;
    if (passed > target) atomicMin(&s.unit, unit);
    atomicMax(&s.last_unit, unit);
  }
  __syncthreads();
  const int chosen = s.unit < kMostUnits ? s.unit : s.last_unit;
  passed = before;
  for (int unit = first; unit < end; unit++) {
    if (unit == chosen) s.passed = passed;
    passed += s.unit_mass[unit];
  }
  __syncthreads();
  if (sample_warp() == 0) {
    const int token = walk_unit(row, s.rules, draw, chosen, s.passed, target);
    if (sample_lane() == 0) s.token = token;
  }
  __syncthreads();
  return s.token;
}

// log(sum(exp(logits))) of the row as the model gave it; known to block 0. NaN where a logit is not
// finite.
__device__ __forceinline__ double log_sum_exp(SampleShared& s, const LogitRow& row) {
  const RowRules none;
  cluster_sync();  // the largest logit's places are used again
  const RowLargest largest = find_largest(s, row, none);
  if (error_of_rank(largest.best) != kSampled) return __longlong_as_double(0x7ff8000000000000ll);
  const float max = rank_logit(largest.best);
  weigh_row<true>(s, row, none, {{max, kLog2E}}, nullptr);
  double total = 0;
  if (leads()) scan_units(s, row.units(), &total);
  cluster_sync();  // so are the units' masses
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
    s.listed = 0;
    s.rules.rules = p.rules[slot];
    if (s.rules.rules.top_k >= p.vocab) s.rules.rules.top_k = 0;
    s.rules.outputs = p.outputs[slot];
    s.rules.marks = s.rules.rules.has_marks == 0 ? nullptr : p.marks + std::int64_t{slot} * p.vocab;
  }
  __syncthreads();
}

// The token, for block 0.
__device__ __forceinline__ int choose(SampleShared& s, const LogitRow& row,
                                      const RowLargest& largest) {
  const SlotRules& rules = s.rules.rules;
  if (rules.inverse_temperature == 0) return find_argmax(s, row, s.rules, largest);
  Draw draw{{rank_logit(largest.best), rules.inverse_temperature * kLog2E}};
  filter(s, row, largest, draw);
  return leads() ? pick(s, row, draw) : 0;
}

template <bool kVector>
__global__ void __launch_bounds__(kSampleThreads, 4)
    sample_kernel(const __grid_constant__ SampleParams p) {
#if __CUDA_ARCH__ >= 900  // empty in code for other GPUs
  extern __shared__ std::uint64_t sample_memory[];
  auto& s = *reinterpret_cast<SampleShared*>(sample_memory);
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t r = blockIdx.x / kSampleBlocks;
  const int slot = p.slots[r];
  if (slot < 0) return;
  load_rules(p, slot, s);
  cluster_sync();  // all blocks run and can be written to
  const LogitRow row{p.logits + r * p.stride, p.vocab, kVector};
  const RowLargest largest = find_largest(s, row, s.rules);
  std::int32_t error = error_of_rank(largest.best);
  int token = 0;
  double sum = 0;
  if (error == kSampled) {
    const bool logprob = s.rules.rules.wants_logprob != 0 && p.logprobs != nullptr;
    if (logprob) sum = log_sum_exp(s, row);
    token = choose(s, row, largest);
    if (sum != sum) error = kNotFinite;
    if (logprob && leads() && threadIdx.x == 0) {
      p.logprobs[r] = static_cast<float>(static_cast<double>(row.logits[token]) - sum);
    }
  }
  if (leads() && threadIdx.x == 0) finish_row(p, r, slot, error == kSampled ? token : 0, error);
#endif
}

// Whether launch_sample has code for this device, which needs clusters of blocks.
inline bool can_sample() { return has_clusters(sample_kernel<true>); }

inline cudaError_t launch_sample(const SampleParams& p, cudaStream_t stream) {
  if (p.vocab < 1 || p.vocab > kMostVocab) return cudaErrorInvalidValue;
  if (!can_sample()) return cudaErrorNotSupported;
  const bool vector = p.vocab % 4 == 0 && is_aligned(p.logits, p.stride * 4);
  const auto kernel = vector ? sample_kernel<true> : sample_kernel<false>;
  constexpr int kShared = static_cast<int>(sizeof(SampleShared));
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(p.rows * kSampleBlocks)),
                          .threads = kSampleThreads,
                          .dependent = p.dependent_launch,
                          .cluster = kSampleBlocks,
                          .shared_bytes = kShared};
  return launch_kernel(kernel, p, shape, stream);
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
  return launch_kernel(mark_kernel, p, {.grid = dim3(row_blocks(p.n, 256)), .threads = 256},
                       stream);
}

}  // namespace spate::cuda
