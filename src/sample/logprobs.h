// Log-probabilities of the model's own distribution: the softmax of the logits as the model gave
// them, before any rule and at temperature 1. Natural logarithms.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sample/scratch.h"
#include "spate/result.h"
#include "spate/sampling.h"

namespace spate {

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
};

/// A token and, where asked for, what the model thought of it and of its alternatives.
struct SampledToken {
  TokenId id = -1;
  std::optional<float> logprob{};
  std::vector<TokenLogprob> top{};  // by log-probability, highest first; ties by id
};

/// log(sum(exp(logits))), within 1e-6 of the exact value.
/// All -inf, NaN and +inf are errors.
Result<double> log_sum_exp(std::span<const float> logits, SamplerScratch* scratch);

/// Sets `out->logprob` to that of `out->id`, and `out->top` to the `count` most likely tokens
/// (fewer where the others have no probability). `out` may be reused to save allocations.
Result<void> add_logprobs(std::span<const float> logits, std::int64_t count,
                          SamplerScratch* scratch, SampledToken* out);

}  // namespace spate
