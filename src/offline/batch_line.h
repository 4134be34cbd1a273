// One line of a batch job: JSON in, a request; a result, JSON out. Two dialects: Spate's own and
// OpenAI's Batch API ("custom_id", "method", "url", "body").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "spate/engine.h"
#include "spate/request.h"

namespace spate {

/// What a line asked for, kept until its result is written.
struct BatchLine {
  enum class Dialect : std::uint8_t { kOwn, kOpenAiChat, kOpenAiCompletion };
  Dialect dialect = Dialect::kOwn;
  Json id;              // echoed; the line's number where the line has none
  std::string model{};  // echoed in OpenAI's dialect
  Request request{};
  bool wants_logprobs = false;
  bool wants_prompt_logprobs = false;
  std::vector<TokenId> prompt{};  // where its log-probabilities are reported
};

/// The id of a line, even of one that is otherwise wrong: what resuming compares.
Json batch_line_id(std::string_view line, std::int64_t number);

/// Parses and tokenizes. Errors name the field, its value and the remedy. `number` counts from 0.
Result<BatchLine> parse_batch_line(const Engine& engine, std::string_view line, std::int64_t number,
                                   const SamplingParams& defaults);

/// The output line of a finished request.
std::string batch_result_line(const Engine& engine, const BatchLine& line,
                              const RequestResult& result);
/// The output line of one that could not be run.
std::string batch_error_line(std::string_view input_line, std::int64_t number, const Error& error);

}  // namespace spate
