// How a request's tokens are chosen. Plain data; field names are vLLM's and OpenAI's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace spate {

using TokenId = std::int32_t;

/// Sampling rules of one request. The rules apply in this order: allowed and banned tokens,
/// min_tokens, logit_bias, penalties, temperature, top_k, typical_p, top_p, min_p, draw.
/// Each works on what the one before has left. Defaults change nothing; a temperature below 1e-5
/// is greedy. Ties go to the lowest id everywhere: top_k keeps exactly k tokens, top_p and
/// typical_p as few as reach their mass.
struct SamplingParams {
  std::int64_t max_tokens = 256;          // at least 1
  std::int64_t min_tokens = 0;            // end-of-sequence and stop tokens are masked until then
  float temperature = 1.0F;               // >= 0
  std::int64_t top_k = 0;                 // 0 or -1: off
  float top_p = 1.0F;                     // (0, 1]
  float min_p = 0.0F;                     // [0, 1], relative to the most likely token left
  float typical_p = 1.0F;                 // (0, 1]; Meister et al., 2023
  float repetition_penalty = 1.0F;        // > 0; prompt and output tokens (Keskar et al., 2019)
  float presence_penalty = 0.0F;          // [-2, 2]; output tokens only
  float frequency_penalty = 0.0F;         // [-2, 2]; output tokens only
  std::map<TokenId, float> logit_bias{};  // [-100, 100]
  std::vector<TokenId> allowed_token_ids{};  // empty: all
  std::vector<TokenId> banned_token_ids{};
  std::vector<std::string> stop{};  // UTF-8; the text ends before the first to be complete
  std::vector<TokenId> stop_token_ids{};
  bool include_stop_str_in_output = false;
  bool ignore_eos = false;
  std::int64_t n = 1;                      // [1, 1024]; independent completions of the same prompt
  std::optional<std::uint64_t> seed{};     // absent: the engine's seed and the request's number
  std::optional<std::int64_t> logprobs{};  // of the model itself, before all rules: that of the
                                           // chosen token and this many alternatives
  std::optional<std::int64_t> prompt_logprobs{};
  bool skip_special_tokens = true;
};

}  // namespace spate
