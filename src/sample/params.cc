#include "sample/params.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "core/json.h"

namespace spate {
namespace {

constexpr std::int64_t kMaxCompletions = 1024;
constexpr float kMaxPenalty = 2;
constexpr float kMaxBias = 100;

using Problem = std::optional<Error>;

template <class T>
Error out_of_range(std::string_view name, const T& value, std::string_view range) {
  return {ErrorCode::kInvalidArgument, fmt::format("{} is {}; it must be {}", name, value, range)};
}

Problem check_lengths(const SamplingParams& p, std::int64_t vocab_size) {
  if (p.max_tokens < 1) return out_of_range("max_tokens", p.max_tokens, "at least 1");
  if (p.min_tokens < 0 || p.min_tokens > p.max_tokens) {
    return out_of_range("min_tokens", p.min_tokens,
                        fmt::format("from 0 to max_tokens ({})", p.max_tokens));
  }
  if (p.n < 1 || p.n > kMaxCompletions) {
    return out_of_range("n", p.n, fmt::format("from 1 to {}", kMaxCompletions));
  }
  const std::string range = fmt::format("from 0 to the size of the vocabulary ({})", vocab_size);
  if (p.logprobs && (*p.logprobs < 0 || *p.logprobs > vocab_size)) {
    return out_of_range("logprobs", *p.logprobs, range);
  }
  if (p.prompt_logprobs && (*p.prompt_logprobs < 0 || *p.prompt_logprobs > vocab_size)) {
    return out_of_range("prompt_logprobs", *p.prompt_logprobs, range);
  }
  return std::nullopt;
}

// The comparisons are false for NaN, so NaN is out of every range.
Problem check_filters(const SamplingParams& p) {
  if (!(p.temperature >= 0 && std::isfinite(p.temperature))) {
    return out_of_range("temperature", p.temperature, "a finite number, 0 (greedy) or more");
  }
  if (p.top_k < -1) return out_of_range("top_k", p.top_k, "at least 1, or 0 or -1 for off");
  if (!(p.top_p > 0 && p.top_p <= 1)) {
    return out_of_range("top_p", p.top_p, "above 0 and at most 1 (off)");
  }
  if (!(p.typical_p > 0 && p.typical_p <= 1)) {
    return out_of_range("typical_p", p.typical_p, "above 0 and at most 1 (off)");
  }
  if (!(p.min_p >= 0 && p.min_p <= 1)) {
    return out_of_range("min_p", p.min_p, "from 0 (off) to 1");
  }
  return std::nullopt;
}

Problem check_penalties(const SamplingParams& p) {
  if (!(p.repetition_penalty > 0 && std::isfinite(p.repetition_penalty))) {
    return out_of_range("repetition_penalty", p.repetition_penalty,
                        "a finite number above 0; 1 is off");
  }
  if (!(std::abs(p.presence_penalty) <= kMaxPenalty)) {
    return out_of_range("presence_penalty", p.presence_penalty, "from -2 to 2");
  }
  if (!(std::abs(p.frequency_penalty) <= kMaxPenalty)) {
    return out_of_range("frequency_penalty", p.frequency_penalty, "from -2 to 2");
  }
  for (const auto& [id, bias] : p.logit_bias) {
    if (!(std::abs(bias) <= kMaxBias)) {
      return out_of_range(fmt::format("logit_bias of token {}", id), bias,
                          "from -100 to 100; to exclude a token use banned_token_ids");
    }
  }
  return std::nullopt;
}

Problem check_ids(std::string_view name, const std::vector<TokenId>& ids, std::int64_t vocab_size) {
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_size) {
      return out_of_range(fmt::format("a token id in {}", name), id,
                          fmt::format("from 0 to {} for this model", vocab_size - 1));
    }
  }
  return std::nullopt;
}

Problem check_tokens(const SamplingParams& p, std::int64_t vocab_size) {
  std::vector<TokenId> biased;
  for (const auto& [id, bias] : p.logit_bias) biased.push_back(id);
  if (Problem e = check_ids("logit_bias", biased, vocab_size)) return e;
  if (Problem e = check_ids("allowed_token_ids", p.allowed_token_ids, vocab_size)) return e;
  if (Problem e = check_ids("banned_token_ids", p.banned_token_ids, vocab_size)) return e;
  if (Problem e = check_ids("stop_token_ids", p.stop_token_ids, vocab_size)) return e;
  std::vector<TokenId> banned = p.banned_token_ids;
  std::sort(banned.begin(), banned.end());
  const auto& allowed = p.allowed_token_ids;
  const bool none_left =
      !allowed.empty() && std::all_of(allowed.begin(), allowed.end(), [&](TokenId id) {
        return std::binary_search(banned.begin(), banned.end(), id);
      });
  if (none_left) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("banned_token_ids holds all {} allowed_token_ids, so no token is "
                             "left; ban fewer or allow more",
                             allowed.size())};
  }
  return std::nullopt;
}

// JSON's own serializer is the judge of UTF-8, as it is where the text comes from and goes to.
bool is_utf8(const std::string& text) {
  const std::string written = Json(text).dump(-1, ' ', false, Json::error_handler_t::ignore);
  return Json::parse(written).get_ref<const std::string&>() == text;
}

Problem check_stop(const SamplingParams& p) {
  for (const std::string& stop : p.stop) {
    if (stop.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   "stop holds an empty string, which every text begins with; leave it out"};
    }
    if (!is_utf8(stop)) {
      return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("a stop string of {} bytes is not UTF-8; no text can hold it", stop.size())};
    }
  }
  return std::nullopt;
}

}  // namespace

Result<void> validate(const SamplingParams& params, std::int64_t vocab_size) {
  if (Problem e = check_lengths(params, vocab_size)) return *e;
  if (Problem e = check_filters(params)) return *e;
  if (Problem e = check_penalties(params)) return *e;
  if (Problem e = check_tokens(params, vocab_size)) return *e;
  if (Problem e = check_stop(params)) return *e;
  return {};
}

}  // namespace spate
