#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <fmt/format.h>

#include "core/check.h"
#include "ops/cuda/bit_trial.h"
#include "ops/cuda/cublaslt.h"
#include "ops/cuda/gemm_lt.h"
#include "ops/cuda/lt_plan.h"
#include "ops/cuda/measuring.h"

namespace spate::ops::cuda {
namespace {

constexpr int kRounds = 3;  // the first of them warms up
// What is the fastest alone is not under the load that products of more rows are: once the chip is
// at its power limit, the library's first choice is better (within 5 % of the best of its 8, where
// the fastest alone was up to 9 % off). It also takes no time to find.
constexpr std::int64_t kFewRows = 64, kMeasuredRows = 128;
constexpr std::int64_t kRowsThatStandForAll = 256;            // with LtOptions::deterministic
constexpr std::int64_t kFlushBytes = std::int64_t{96} << 20;  // more than the L2 cache of any chip

Error library_error(const char* what, int status, const LtProblem& p) {
  return {ErrorCode::kInternal,
          fmt::format("cuBLASLt: {} failed (status {}) for {} x {} x {}, {} to {}", what, status,
                      p.m, p.n, p.k, name_of(p.in), name_of(p.out))};
}

/// What an algorithm is chosen by.
struct Key {
  std::int64_t bucket = 0, n = 0, k = 0;
  DType in = DType::kBF16, out = DType::kBF16;
  bool with_bias = false, accumulate = false;

  bool operator<(const Key& o) const {
    return std::tie(bucket, n, k, in, out, with_bias, accumulate) <
           std::tie(o.bucket, o.n, o.k, o.in, o.out, o.with_bias, o.accumulate);
  }
};

/// Numbers of rows that share an algorithm: steps of 16 up to 64, then two in each octave; one row,
/// for which the library has kernels of its own. Each costs milliseconds when it is first met.
std::int64_t bucket_of(std::int64_t m) {
  if (m == 1) return 1;
  std::int64_t step = 16;
  while (step * 4 < m) step *= 2;
  return (m + step - 1) / step * step;
}

template <class T>
__global__ void add_bias_kernel(T* d, const float* bias, std::int64_t n, std::int64_t stride) {
  const std::int64_t column = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= n) return;
  T* at = d + std::int64_t{blockIdx.y} * stride + column;
  *at = static_cast<T>(static_cast<float>(*at) + bias[column]);
}

/// For outputs whose bias the library does not add.
cudaError_t add_bias(const LtProblem& p, cudaStream_t stream) {
  const std::int64_t stride = p.d_stride == 0 ? p.n : p.d_stride;
  constexpr unsigned kThreads = 256;
  const dim3 grid(static_cast<unsigned>((p.n + kThreads - 1) / kThreads),
                  static_cast<unsigned>(p.m));
  if (p.out == DType::kF32) {
    add_bias_kernel<<<grid, kThreads, 0, stream>>>(static_cast<float*>(p.d), p.bias, p.n, stride);
  } else if (p.out == DType::kBF16) {
    add_bias_kernel<<<grid, kThreads, 0, stream>>>(static_cast<__nv_bfloat16*>(p.d), p.bias, p.n,
                                                   stride);
  } else {
    add_bias_kernel<<<grid, kThreads, 0, stream>>>(static_cast<__half*>(p.d), p.bias, p.n, stride);
  }
  return cudaGetLastError();
}

void check_problem(const LtProblem& p) {
  SPATE_CHECK_OP(p.n, >, 0);
  SPATE_CHECK_OP(p.k * size_of(p.in) % 16, ==, 0);
  SPATE_CHECK(!p.accumulate || p.out == DType::kF32);
  SPATE_CHECK(p.in != DType::kF8E4M3 || (p.a_scales != nullptr && p.w_scales != nullptr));
}

}  // namespace

struct GemmLt::State {
  struct Choice {
    cublasLtMatmulAlgo_t algorithm{};
    bool fused_bias = false;
  };

  LtOptions options{};
  cublasLtHandle_t handle = nullptr;
  std::map<Key, Choice> choices{};
  std::int64_t n_tuned = 0;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (handle != nullptr) cublasLtDestroy(handle);
  }

  Key key_of(const LtProblem& p) const {
    return {bucket_of(p.m), p.n, p.k, p.in, p.out, p.bias != nullptr, p.accumulate};
  }
  /// Whether products may be run to choose an algorithm.
  bool may_try(const LtProblem& p, const LtScratch& scratch) const {
    const bool worth_it = options.deterministic || p.m <= kMeasuredRows;
    return options.tune && worth_it && !is_capturing(scratch.stream);
  }
  Result<Choice> choose(const LtProblem& p, const LtScratch& scratch, bool measure);
  Result<Choice> choose_alike(const LtProblem& p, const LtScratch& scratch, bool measure);
  Result<Choice> stands_for_all(const LtProblem& p, const LtScratch& scratch);
  Result<void> launch(const LtProblem& p, const LtScratch& scratch, const Choice& choice) const;
  std::vector<LtCandidate> alike(const LtProblem& p, const LtScratch& scratch,
                                 const Choice& standard);
  Choice fastest(const LtProblem& p, const LtScratch& scratch, bool fused_bias,
                 const std::vector<LtCandidate>& candidates);
};

// Timed with a cold cache, into memory of its own, so that d keeps what it holds.
GemmLt::State::Choice GemmLt::State::fastest(const LtProblem& p, const LtScratch& scratch,
                                             bool fused_bias,
                                             const std::vector<LtCandidate>& candidates) {
  Choice best{candidates.front().result.algo, fused_bias};
  const Temporary flush(kFlushBytes);
  const Temporary out(p.m * std::max(p.d_stride, p.n) * size_of(p.out));
  if (flush.data() == nullptr || out.data() == nullptr) return best;
  LtProblem trial = p;
  trial.d = out.data();
  LtPlan plan(trial, fused_bias);
  Stopwatch watch(scratch.stream);
  float best_ms = -1;
  for (const LtCandidate& candidate : candidates) {
    if (candidate.result.state != CUBLAS_STATUS_SUCCESS) continue;
    float least = -1;
    for (int round = 0; round < kRounds; ++round) {
      cudaMemsetAsync(flush.data(), round, static_cast<std::size_t>(kFlushBytes), scratch.stream);
      watch.start();
      if (plan.launch(handle, trial, candidate.result.algo, scratch) != CUBLAS_STATUS_SUCCESS)
        break;
      const std::optional<float> ms = watch.stop_ms();
      if (ms && round > 0 && (least < 0 || *ms < least)) least = *ms;
      if (ms && round > 0 && best_ms > 0 && *ms > 1.1F * best_ms) break;  // no hope
    }
    if (least > 0 && (best_ms < 0 || least < best_ms)) {
      best_ms = least;
      best.algorithm = candidate.result.algo;
    }
  }
  if (best_ms > 0) ++n_tuned;
  return best;
}

Result<GemmLt::State::Choice> GemmLt::State::choose(const LtProblem& p, const LtScratch& scratch,
                                                    bool measure) {
  const Key key = key_of(p);
  if (const auto known = choices.find(key); known != choices.end()) return known->second;
  if (options.deterministic) return choose_alike(p, scratch, measure);
  bool fused_bias = p.bias != nullptr;
  const int count = !measure ? 1 : p.m <= kFewRows ? kCandidates : kCandidates / 4;
  LtProblem asked = p;
  if (p.m > kMeasuredRows) asked.m = key.bucket;  // the same choice whichever comes first
  auto found = LtPlan(asked, fused_bias).candidates(handle, count, scratch, false);
  if (found.empty() && fused_bias) {
    fused_bias = false;
    found = LtPlan(asked, false).candidates(handle, count, scratch, false);
  }
  if (found.empty()) return library_error("the search for an algorithm", 0, p);
  if (!measure) {
    const Choice first{found.front().result.algo, fused_bias};
    // A stream under capture takes what there is; the next call outside may still measure.
    if (!options.tune || p.m > kMeasuredRows) choices[key] = first;
    return first;
  }
  return choices[key] = fastest(p, scratch, fused_bias, found);
}

// The first choice for one number of rows, without splits of k, stands for all numbers.
Result<GemmLt::State::Choice> GemmLt::State::stands_for_all(const LtProblem& p,
                                                            const LtScratch& scratch) {
  Key key = key_of(p);
  key.bucket = 0;
  if (const auto known = choices.find(key); known != choices.end()) return known->second;
  LtProblem asked = p;
  asked.m = kRowsThatStandForAll;
  for (const bool fused_bias : {p.bias != nullptr, false}) {
    const auto found = LtPlan(asked, fused_bias).candidates(handle, 1, scratch, true);
    if (!found.empty()) return choices[key] = Choice{found.front().result.algo, fused_bias};
  }
  return library_error("the search for an algorithm", 0, p);
}

// Tiles of any size make the same sums if each is one chain over k, so other algorithms may do what
// the standard one does, faster. Not all of them are such chains: each is tried. Of few rows, all
// that are alike, to be timed; of many, the library's first.
std::vector<LtCandidate> GemmLt::State::alike(const LtProblem& p, const LtScratch& scratch,
                                              const Choice& standard) {
  std::vector<LtCandidate> found(1);
  found.front().result.algo = standard.algorithm;
  found.front().result.state = CUBLAS_STATUS_SUCCESS;
  BitTrial trial(p, scratch.stream);
  if (!trial.ready()) return found;
  LtPlan plan(trial.next(), standard.fused_bias);
  if (plan.launch(handle, trial.next(), standard.algorithm, scratch) != CUBLAS_STATUS_SUCCESS)
    return found;
  trial.keep();
  const bool many = p.m > kMeasuredRows;
  // The library's suggestions for some numbers of rows miss tiles that suit others.
  for (const std::int64_t rows : {p.m, std::int64_t{17}, std::int64_t{128}}) {
    LtProblem asked = p;
    asked.m = many ? bucket_of(rows) : rows;
    for (const LtCandidate& c :
         LtPlan(asked, standard.fused_bias).candidates(handle, kCandidates, scratch, true)) {
      const bool known = std::any_of(found.begin(), found.end(), [&](const LtCandidate& f) {
        return std::memcmp(&f.result.algo, &c.result.algo, sizeof c.result.algo) == 0;
      });
      if (known && many) return found;
      if (known) continue;
      const bool runs =
          plan.launch(handle, trial.next(), c.result.algo, scratch) == CUBLAS_STATUS_SUCCESS;
      const bool same = runs && trial.same();
      if (same && many) return {c};
      if (same) found.push_back(c);
    }
    if (many) return found;
  }
  return found;
}

Result<GemmLt::State::Choice> GemmLt::State::choose_alike(const LtProblem& p,
                                                          const LtScratch& scratch, bool measure) {
  const Result<Choice> standard = stands_for_all(p, scratch);
  if (!standard || !measure) return standard;
  const std::vector<LtCandidate> candidates = alike(p, scratch, *standard);
  const bool few = p.m <= kMeasuredRows;
  return choices[key_of(p)] = few ? fastest(p, scratch, standard->fused_bias, candidates)
                                  : Choice{candidates.front().result.algo, standard->fused_bias};
}

GemmLt::GemmLt(std::unique_ptr<State> state) : state_(std::move(state)) {}
GemmLt::~GemmLt() = default;

Result<std::unique_ptr<GemmLt>> GemmLt::create(const LtOptions& options) {
  if (!why_no_cublaslt().empty()) {
    return Error{
        ErrorCode::kUnsupported,
        fmt::format(
            "a GPU's products need cuBLASLt of CUDA {}, which can't be loaded ({}); install it, or "
            "name its folder in LD_LIBRARY_PATH",
            CUBLAS_VER_MAJOR, why_no_cublaslt())};
  }
  auto state = std::make_unique<State>();
  state->options = options;
  if (const cublasStatus_t status = cublasLtCreate(&state->handle);
      status != CUBLAS_STATUS_SUCCESS) {
    return Error{ErrorCode::kInternal,
                 fmt::format("cuBLASLt does not start (status {}); does the driver suit CUDA {}?",
                             static_cast<int>(status), CUDART_VERSION)};
  }
  return std::unique_ptr<GemmLt>(new GemmLt(std::move(state)));
}

Result<void> GemmLt::tune(const LtProblem& p, const LtScratch& scratch) {
  check_problem(p);
  const bool measure = state_->may_try(p, scratch);
  const auto choice = state_->choose(p, scratch, measure);
  if (!choice) return choice.error();
  return {};
}

Result<void> GemmLt::State::launch(const LtProblem& p, const LtScratch& scratch,
                                   const Choice& choice) const {
  LtPlan plan(p, choice.fused_bias);
  cublasStatus_t status = plan.launch(handle, p, choice.algorithm, scratch);
  if (status != CUBLAS_STATUS_SUCCESS && !options.deterministic) {
    // What suits the bucket may not suit this number of rows.
    const auto found = plan.candidates(handle, 1, scratch, false);
    if (!found.empty()) status = plan.launch(handle, p, found.front().result.algo, scratch);
  }
  if (status != CUBLAS_STATUS_SUCCESS) {
    return library_error("the product", static_cast<int>(status), p);
  }
  if (p.bias == nullptr || choice.fused_bias) return {};
  if (const cudaError_t error = add_bias(p, scratch.stream); error != cudaSuccess) {
    return Error{ErrorCode::kInternal, fmt::format("bias: {}", cudaGetErrorString(error))};
  }
  return {};
}

Result<void> GemmLt::run(const LtProblem& p, const LtScratch& scratch) {
  if (p.m == 0) return {};
  check_problem(p);
  const bool measure = state_->may_try(p, scratch);
  const auto choice = state_->choose(p, scratch, measure);
  if (!choice) return choice.error();
  return state_->launch(p, scratch, *choice);
}

Result<void> GemmLt::run_for_all_rows(const LtProblem& p, const LtScratch& scratch) {
  check_problem(p);
  const auto choice = state_->stands_for_all(p, scratch);
  if (!choice) return choice.error();
  return state_->launch(p, scratch, *choice);
}

std::int64_t GemmLt::n_tuned() const { return state_->n_tuned; }

}  // namespace spate::ops::cuda
