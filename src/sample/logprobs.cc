#include "sample/logprobs.h"

#include <cmath>
#include <numeric>

#include "core/check.h"

namespace spate {

// The bound: sums of four floats, 2^-22.4; the exponential, 2^-22; and the rounding of the
// differences x - max, at most 2^-24 times the mean of |x - max|, which is under 12 for any row of
// 2^17 logits. Together under 1e-6 of the sum, hence of its logarithm.
Result<double> log_sum_exp(std::span<const float> logits, SamplerScratch* scratch) {
  const Result<float> max = scan_row(logits, scratch);
  if (!max) return max.error();
  if (*max == -INFINITY) {
    return Error{ErrorCode::kInternal,
                 "all logits are -inf, so no token has a probability; the model's weights are "
                 "damaged: check the files with `spate inspect`"};
  }
  const auto n = static_cast<std::int64_t>(logits.size());
  scratch->kernels->weigh(logits.data(), n, *max, 1.0F, scratch->weights.data(),
                          scratch->sums.data());
  const auto pieces = scratch->sums.begin() + internal::piece_count(n);
  return *max + std::log(std::accumulate(scratch->sums.begin(), pieces, 0.0));
}

Result<void> add_logprobs(std::span<const float> logits, std::int64_t count,
                          SamplerScratch* scratch, SampledToken* out) {
  const auto n = static_cast<std::int64_t>(logits.size());
  SPATE_CHECK_OP(out->id, >=, 0);
  SPATE_CHECK_OP(out->id, <, n);
  const Result<double> log_sum = log_sum_exp(logits, scratch);
  if (!log_sum) return log_sum.error();
  const auto logprob = [&](std::int64_t id) {
    return static_cast<float>(logits[static_cast<std::size_t>(id)] - *log_sum);
  };
  out->logprob = logprob(out->id);
  out->top.clear();
  if (count <= 0) return {};
  internal::SelectionScratch& selection = scratch->selection;
  const std::int64_t found = internal::select_top(*scratch->kernels, logits.data(), n,
                                                  scratch->maxima.data(), count, &selection);
  for (std::int64_t i = 0; i < found; ++i) {
    const TokenId id = internal::order_index(selection.order[static_cast<std::size_t>(i)]);
    out->top.push_back({id, logprob(id)});
  }
  return {};
}

}  // namespace spate
