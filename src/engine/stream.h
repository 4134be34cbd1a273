// One completion being generated: sampling state, text, stop conditions. A request has n of them;
// each is one sequence of the scheduler. Engine thread only, but the rows of a step may be sampled
// by several workers, each stream by one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sample/logprobs.h"
#include "sample/rng.h"
#include "sample/sampler.h"
#include "sample/stop.h"
#include "sample/token_history.h"
#include "spate/request.h"
#include "tokenizer/detokenizer.h"

namespace spate {

/// A token that a device has chosen.
struct DeviceToken {
  TokenId id = 0;
  std::optional<float> logprob{};
  std::optional<Error> error{};
};

class Stream {
 public:
  /// What all streams of a request share; owned by the request, which outlives its streams.
  struct Shared {
    const SamplingParams& params;
    const Sampler& sampler;
    const Tokenizer* tokenizer;  // null: token ids only
    std::span<const TokenId> prompt;
    std::span<const TokenId> eos_ids;
    std::uint64_t seed = 0;
  };
  Stream(const Shared& shared, std::int64_t index);

  /// Chooses the next token from a row of logits. Thread-compatible; errors are kept for `accept`.
  void sample(std::span<const float> logits, SamplerScratch& scratch);

  /// The same, when a device has chosen it.
  void take(const DeviceToken& token);

  /// What the last sampled token makes of the completion.
  struct Accepted {
    TokenId token = 0;
    std::string text{};  // now certain to belong to the completion
    bool finished = false;
  };
  /// Takes the sampled token; afterwards `completion` is complete if it finished.
  Accepted accept();

  /// Ends the completion from outside.
  void finish(FinishReason reason);
  void fail(Error error);

  const Shared& shared() const { return shared_; }
  const RandomKey& key() const { return key_; }
  const Completion& completion() const { return completion_; }
  Completion take_completion() { return std::move(completion_); }

 private:
  bool is_stop_token(TokenId token) const;

  Shared shared_;
  RandomKey key_;
  TokenHistory history_;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher stop_;
  SampledToken sampled_{};
  std::optional<Error> error_{};
  Completion completion_{};
};

}  // namespace spate
