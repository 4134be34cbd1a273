#include "offline/json_fields.h"

#include <fmt/format.h>

namespace spate {
namespace {

/// A value as it was written, cut to what fits into a message.
std::string excerpt(const Json& value) {
  constexpr std::size_t kLimit = 80;
  std::string text = dump_line(value);
  if (text.size() > kLimit) text = text.substr(0, kLimit) + "...";
  return text;
}

}  // namespace

Error wrong_type(std::string_view field, const Json& value, std::string_view wanted) {
  return {
      ErrorCode::kInvalidArgument,
      fmt::format("\"{}\": {} is {} {}; give {}", field, excerpt(value),
                  value.is_array() || value.is_object() ? "an" : "a", value.type_name(), wanted)};
}

Result<std::vector<TokenId>> token_ids_of(const Json& value, std::string_view field,
                                          std::int64_t vocab_size) {
  if (!value.is_array()) return wrong_type(field, value, "an array of token ids");
  std::vector<TokenId> ids;
  ids.reserve(value.size());
  for (const Json& id : value) {
    if (!id.is_number_integer()) return wrong_type(field, id, "an array of token ids");
    const auto n = id.get<std::int64_t>();
    if (n < 0 || n >= vocab_size) {
      return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("\"{}\": token {} is not in the vocabulary of {}", field, n, vocab_size)};
    }
    ids.push_back(static_cast<TokenId>(n));
  }
  return ids;
}

Json alternatives_json(const TokenLogprobs& logprobs) {
  Json out = Json::array();
  for (const TokenLogprobs::Alternative& a : logprobs.top) {
    out.push_back(Json::array({a.id, a.logprob}));
  }
  return out;
}

std::string dump_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace spate
