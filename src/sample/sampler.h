// Chooses the next token from one row of logits by a request's SamplingParams. Made once per
// request and immutable: what it chooses is a function of the row, the sequence's history and the
// random key alone, never of the batch around it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sample/logit_rules.h"
#include "sample/logprobs.h"
#include "sample/rng.h"
#include "sample/scratch.h"
#include "sample/token_history.h"
#include "spate/result.h"
#include "spate/sampling.h"

namespace spate {

/// The filters and the draw, in this order; each works on what the one before has left,
/// renormalized. With p the softmax of the edited logits over `temperature`:
///   top_k     keeps the k most likely tokens;
///   typical   keeps the tokens whose -log p is nearest to the entropy, as few as reach typical_p;
///   top_p     keeps the most likely tokens, as few as reach top_p;
///   min_p     keeps the tokens at least min_p times as likely as the most likely one left;
///   draw      walks the tokens in ascending id until their mass exceeds a uniform number's.
/// Ties are always resolved in favour of the lower id, so every filter keeps a definite set.
/// Masses are right to 2^-20: a token may change sides where a mass comes that close to its bound.
class Sampler {
 public:
  /// Checks `params` (sample/params.h). `eos_ids` are the model's.
  static Result<Sampler> make(const SamplingParams& params, std::int64_t vocab_size,
                              std::span<const TokenId> eos_ids);

  /// Whether sequences need a TokenHistory that tracks tokens.
  bool tracks_tokens() const { return tracks_tokens_; }

  /// `logits` [vocab] are left as they are. The random numbers of the n-th output token are those
  /// of position n, so a replayed or preempted sequence draws the same.
  /// NaN, +inf and rules that leave no token are errors.
  Result<void> sample(std::span<const float> logits, const TokenHistory& history,
                      const RandomKey& key, SamplerScratch* scratch, SampledToken* out) const;

 private:
  Sampler(const SamplingParams& params, std::int64_t vocab_size, std::vector<LogitRule> rules);

  Error all_masked(const TokenHistory& history) const;

  SamplingParams params_;
  std::int64_t vocab_size_;
  std::vector<LogitRule> rules_;
  bool tracks_tokens_ = false;
};

}  // namespace spate
