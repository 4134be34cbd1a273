#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>
#include <variant>

#include <fmt/format.h>

#include "sample/params.h"

namespace spate {
namespace {

using Problem = std::optional<Error>;
using P = SamplingParams;

// The value as JSON, cut; a value within a value is not shown, since the serializer recurses and a
// request may be nested a hundred thousand times.
std::string shown(const Json& value) {
  constexpr std::size_t kShown = 60;
  for (const Json& element : value) {
    if (value.is_structured() && element.is_structured()) return "a nested list or object";
  }
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > kShown ? text.substr(0, kShown) + "..." : text;
}

Error wrong_type(std::string_view name, const Json& value, std::string_view wanted) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("{} is {}; it must be {}", name, shown(value), wanted)};
}

// 5.0 is the integer 5: some clients know no other numbers.
std::optional<std::int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto x = value.get<std::uint64_t>();
    if (x > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
    return static_cast<std::int64_t>(x);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return {};
  const double x = value.get<double>();
  if (std::abs(x) > 0x1p53 || x != std::trunc(x)) return {};
  return static_cast<std::int64_t>(x);
}

Problem read(std::string_view name, const Json& value, std::int64_t* out) {
  const std::optional<std::int64_t> x = as_integer(value);
  if (!x) return wrong_type(name, value, "an integer");
  *out = *x;
  return {};
}

Problem read(std::string_view name, const Json& value, std::optional<std::int64_t>* out) {
  return read(name, value, &out->emplace());
}

// A seed of -1 is how several clients say "none".
Problem read(std::string_view name, const Json& value, std::optional<std::uint64_t>* out) {
  if (value.is_number_unsigned()) {
    *out = value.get<std::uint64_t>();
    return {};
  }
  const std::optional<std::int64_t> x = as_integer(value);
  if (!x || *x < -1)
    return wrong_type(name, value, "an integer from 0 to 2^64 - 1, or -1 for none");
  if (*x >= 0) {
    *out = static_cast<std::uint64_t>(*x);
  } else {
    out->reset();
  }
  return {};
}

Problem read(std::string_view name, const Json& value, float* out) {
  if (!value.is_number()) return wrong_type(name, value, "a number");
  const double x = value.get<double>();
  if (std::abs(x) > double{std::numeric_limits<float>::max()}) {
    return wrong_type(name, value, "a number that a 32-bit float can hold");
  }
  *out = static_cast<float>(x);
  return {};
}

Problem read(std::string_view name, const Json& value, bool* out) {
  if (!value.is_boolean()) return wrong_type(name, value, "true or false");
  *out = value.get<bool>();
  return {};
}

Problem read(std::string_view name, const Json& value, std::vector<std::string>* out) {
  constexpr std::string_view kWanted = "a string or a list of strings";
  if (!value.is_string() && !value.is_array()) return wrong_type(name, value, kWanted);
  out->clear();
  if (value.is_string()) {
    out->push_back(value.get<std::string>());
    return {};
  }
  for (const Json& element : value) {
    if (!element.is_string()) return wrong_type(name, value, kWanted);
    out->push_back(element.get<std::string>());
  }
  return {};
}

bool fits_token_id(std::int64_t id) { return id >= 0 && id <= std::numeric_limits<TokenId>::max(); }

Problem read(std::string_view name, const Json& value, std::vector<TokenId>* out) {
  constexpr std::string_view kWanted = "a list of token ids (integers from 0)";
  if (!value.is_array()) return wrong_type(name, value, kWanted);
  out->clear();
  for (const Json& element : value) {
    const std::optional<std::int64_t> id = as_integer(element);
    if (!id || !fits_token_id(*id)) return wrong_type(name, value, kWanted);
    out->push_back(static_cast<TokenId>(*id));
  }
  return {};
}

Problem read(std::string_view name, const Json& value, std::map<TokenId, float>* out) {
  if (!value.is_object()) {
    return wrong_type(name, value, R"(an object of token ids and numbers, as {"42": -1.5})");
  }
  out->clear();
  for (const auto& [key, bias] : value.items()) {
    std::int64_t id = -1;
    const auto [end, status] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (status != std::errc() || end != key.data() + key.size() || !fits_token_id(id)) {
      return wrong_type(fmt::format("a key of {}", name), Json(key), "a token id, as \"42\"");
    }
    float number = 0;
    if (Problem e = read(fmt::format("{}[{}]", name, id), bias, &number)) return e;
    if (!out->emplace(static_cast<TokenId>(id), number).second) {
      return wrong_type(name, value, fmt::format("one number a token; {} is there twice", id));
    }
  }
  return {};
}

using Member = std::variant<std::int64_t P::*, std::optional<std::int64_t> P::*,
                            std::optional<std::uint64_t> P::*, float P::*, bool P::*,
                            std::vector<std::string> P::*, std::vector<TokenId> P::*,
                            std::map<TokenId, float> P::*>;

struct Field {
  std::string_view name;
  Member member;
};

// Fields that are read as they stand; those that depend on others have functions below.
constexpr std::array kFields{
    Field{"min_tokens", &P::min_tokens},
    Field{"temperature", &P::temperature},
    Field{"top_k", &P::top_k},
    Field{"top_p", &P::top_p},
    Field{"min_p", &P::min_p},
    Field{"typical_p", &P::typical_p},
    Field{"repetition_penalty", &P::repetition_penalty},
    Field{"presence_penalty", &P::presence_penalty},
    Field{"frequency_penalty", &P::frequency_penalty},
    Field{"logit_bias", &P::logit_bias},
    Field{"allowed_token_ids", &P::allowed_token_ids},
    Field{"banned_token_ids", &P::banned_token_ids},
    Field{"stop", &P::stop},
    Field{"stop_token_ids", &P::stop_token_ids},
    Field{"include_stop_str_in_output", &P::include_stop_str_in_output},
    Field{"ignore_eos", &P::ignore_eos},
    Field{"n", &P::n},
    Field{"seed", &P::seed},
    Field{"prompt_logprobs", &P::prompt_logprobs},
    Field{"skip_special_tokens", &P::skip_special_tokens},
};
constexpr std::array<std::string_view, 5> kOtherFields{"max_tokens", "max_completion_tokens",
                                                       "logprobs", "top_logprobs", "bad_words"};

constexpr std::array kGenerationFields{
    Field{"max_new_tokens", &P::max_tokens},
    Field{"temperature", &P::temperature},
    Field{"top_k", &P::top_k},
    Field{"top_p", &P::top_p},
    Field{"min_p", &P::min_p},
    Field{"typical_p", &P::typical_p},
    Field{"repetition_penalty", &P::repetition_penalty},
};

// Null where the field is absent or null, which mean the same.
const Json* find(const Json& fields, std::string_view name) {
  const auto found = fields.find(name);
  return found == fields.end() || found->is_null() ? nullptr : &*found;
}

template <std::size_t kCount>
Problem read_fields(const std::array<Field, kCount>& table, const Json& fields, P* params) {
  for (const Field& field : table) {
    const Json* value = find(fields, field.name);
    if (value == nullptr) continue;
    Problem e = std::visit(
        [&](auto member) { return read(field.name, *value, &(params->*member)); }, field.member);
    if (e) return e;
  }
  return {};
}

Problem read_max_tokens(const Json& fields, P* params) {
  const Json* old_name = find(fields, "max_tokens");
  const Json* new_name = find(fields, "max_completion_tokens");
  if (old_name != nullptr) {
    if (Problem e = read("max_tokens", *old_name, &params->max_tokens)) return e;
  }
  if (new_name == nullptr) return {};
  std::int64_t count = 0;
  if (Problem e = read("max_completion_tokens", *new_name, &count)) return e;
  if (old_name != nullptr && count != params->max_tokens) {
    return wrong_type(
        "max_completion_tokens", *new_name,
        fmt::format("the same as max_tokens ({}), or one of them be left out", params->max_tokens));
  }
  params->max_tokens = count;
  return {};
}

// Completions: an integer. Chat: a boolean, and the integer in top_logprobs.
Problem read_logprobs(const Json& fields, P* params) {
  const Json* logprobs = find(fields, "logprobs");
  const Json* top = find(fields, "top_logprobs");
  if (logprobs != nullptr && !logprobs->is_boolean()) {
    if (top != nullptr) {
      return wrong_type("logprobs", *logprobs, "true where top_logprobs is given");
    }
    if (Problem e = read("logprobs", *logprobs, &params->logprobs)) {
      return wrong_type("logprobs", *logprobs, "an integer, or true or false");
    }
    return {};
  }
  const bool wanted = logprobs != nullptr && logprobs->get<bool>();
  if (wanted) params->logprobs = 0;
  if (logprobs != nullptr && !wanted) params->logprobs.reset();
  if (top == nullptr) return {};
  std::int64_t count = 0;
  if (Problem e = read("top_logprobs", *top, &count)) return e;
  if (wanted) params->logprobs = count;
  if (!wanted && count != 0) return wrong_type("top_logprobs", *top, "given with logprobs: true");
  return {};
}

Problem refuse_bad_words(const Json& fields) {
  const Json* words = find(fields, "bad_words");
  if (words == nullptr || (words->is_array() && words->empty())) return {};
  return Error{ErrorCode::kUnsupported,
               "bad_words is not supported: a word may be spelled with many different tokens; "
               "pass the ids to avoid as banned_token_ids (`spate tokenize` shows them)"};
}

bool is_known(std::string_view name) {
  for (const Field& field : kFields) {
    if (field.name == name) return true;
  }
  for (const std::string_view other : kOtherFields) {
    if (other == name) return true;
  }
  return false;
}

}  // namespace

Result<ParsedSampling> sampling_from_json(const Json& fields, const SamplingParams& defaults) {
  if (!fields.is_object()) return wrong_type("a request", fields, "a JSON object");
  ParsedSampling parsed{defaults, {}};
  if (Problem e = read_fields(kFields, fields, &parsed.params)) return *e;
  if (Problem e = read_max_tokens(fields, &parsed.params)) return *e;
  if (Problem e = read_logprobs(fields, &parsed.params)) return *e;
  if (Problem e = refuse_bad_words(fields)) return *e;
  for (const auto& [name, value] : fields.items()) {
    if (!is_known(name)) parsed.unknown.push_back(name);
  }
  return parsed;
}

Result<SamplingParams> generation_defaults(const Json& generation_config,
                                           const SamplingParams& defaults) {
  if (!generation_config.is_object()) {
    return wrong_type("generation_config.json", generation_config, "a JSON object");
  }
  SamplingParams params = defaults;
  if (Problem e = read_fields(kGenerationFields, generation_config, &params)) {
    e->message = "generation_config.json: " + e->message;
    return *e;
  }
  bool do_sample = true;
  if (const Json* value = find(generation_config, "do_sample")) {
    if (Problem e = read("generation_config.json: do_sample", *value, &do_sample)) return *e;
  }
  if (!do_sample) params.temperature = 0;
  return params;
}

}  // namespace spate
