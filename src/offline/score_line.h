// One line of a score job: log-probabilities of given tokens, or which of several continuations is
// the most likely. JSON in and out; the engine does the arithmetic as requests that generate
// nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "spate/engine.h"
#include "spate/request.h"
#include "spate/result.h"

namespace spate {

/// {"text"}, {"token_ids"} or {"prompt", "continuations"}; "id" is echoed.
struct ScoreLine {
  Json id;
  bool has_id = false;
  std::int64_t top_logprobs = 0;  // alternatives to report per token
  bool has_continuations = false;
  /// One sequence, or one per continuation.
  struct Sequence {
    std::vector<TokenId> tokens{};
    std::int64_t first_scored = 1;  // tokens before it are context
  };
  std::vector<Sequence> sequences{};
};

Result<ScoreLine> parse_score_line(const Engine& engine, std::string_view line, std::int64_t number,
                                   std::int64_t top_logprobs);

/// The request that scores one sequence: no new tokens, log-probabilities of the prompt.
Request score_request(const ScoreLine& line, const ScoreLine::Sequence& sequence);

/// `results` in the order of the sequences.
std::string score_result_line(const ScoreLine& line, const std::vector<RequestResult>& results);

/// Tokens scored and the sum of their negative log-probabilities, in nats.
struct Perplexity {
  std::int64_t tokens = 0;
  double negative_log_likelihood = 0.0;
  double value() const;
};

struct WindowOptions {
  std::int64_t window = 0;  // tokens seen at once; 0: the engine's context length
  std::int64_t stride = 0;  // new tokens scored per window; 0: half a window
};

/// Perplexity of a long text: windows of `window` tokens every `stride`; each token is scored once,
/// with at least window - stride tokens of context except near the beginning.
Result<Perplexity> score_document(Engine& engine, std::string_view text,
                                  const WindowOptions& options);

}  // namespace spate
