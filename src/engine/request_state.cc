#include "engine/request_state.h"

namespace spate {

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      break;
  }
  return "error";
}

RequestResult RequestState::take_result() {
  const auto seconds = [&](Clock::time_point t) {
    return std::chrono::duration<double>(t - submitted).count();
  };
  const Clock::time_point now = Clock::now();
  RequestResult result{.id = id,
                       .prompt_tokens = static_cast<std::int64_t>(request.prompt.size()),
                       .prompt_logprobs = std::move(prompt_logprobs),
                       .seconds_to_first_token = seconds(first_token.value_or(now)),
                       .seconds = seconds(now)};
  for (Branch& b : branches) {
    Completion completion = b.stream->take_completion();
    result.completion_tokens += static_cast<std::int64_t>(completion.token_ids.size());
    result.completions.push_back(std::move(completion));
  }
  return result;
}

}  // namespace spate
