// What a caller asks of the engine and what comes back, as plain data.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "spate/result.h"
#include "spate/sampling.h"

namespace spate {

using RequestId = std::int64_t;

enum class FinishReason : std::uint8_t {
  kStop,       // an end-of-sequence token, a stop token or a stop string
  kLength,     // max_tokens, or the model's context is full
  kCancelled,  // by Engine::cancel
  kError,      // see Completion::error
};

/// "stop", "length", "cancelled", "error": the words of OpenAI's API.
std::string_view name_of(FinishReason reason);

/// Log-probabilities (natural) of one token under the model's unmodified distribution.
struct TokenLogprobs {
  float chosen = 0.0F;
  struct Alternative {
    TokenId id = 0;
    float logprob = 0.0F;
  };
  std::vector<Alternative> top{};  // the most likely ones, best first
};

/// One of a request's `n` completions.
struct Completion {
  std::int64_t index = 0;
  std::string text{};
  std::vector<TokenId> token_ids{};
  std::vector<TokenLogprobs> logprobs{};  // one per token when asked for
  FinishReason finish_reason = FinishReason::kLength;
  std::optional<Error> error{};  // set when finish_reason is kError
};

/// Everything that a request produced.
struct RequestResult {
  RequestId id = 0;
  std::vector<Completion> completions{};
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  /// One per prompt token when asked for; the first has no predecessor and is absent.
  std::vector<std::optional<TokenLogprobs>> prompt_logprobs{};
  double seconds_to_first_token = 0.0;  // from submit
  double seconds = 0.0;                 // from submit to the last token
};

/// A piece of a completion, as it is generated.
struct TokenEvent {
  RequestId id = 0;
  std::int64_t index = 0;  // which of the n completions
  TokenId token = 0;
  std::string_view text{};  // whole characters only; may be empty
};

/// What to generate from. Callbacks run on the thread that runs the engine and must not block.
struct Request {
  std::vector<TokenId> prompt{};
  SamplingParams sampling{};
  std::int64_t priority = 0;  // lower first, among waiting requests
  std::function<void(const TokenEvent&)> on_token{};
  std::function<void(RequestResult)> on_done{};
};

}  // namespace spate
