// Small readers and writers of JSON fields that every job's lines share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "spate/request.h"
#include "spate/result.h"

namespace spate {

/// "prompt": 17 is a number; give a string.
Error wrong_type(std::string_view field, const Json& value, std::string_view wanted);

/// An array of token ids in [0, vocab_size).
Result<std::vector<TokenId>> token_ids_of(const Json& value, std::string_view field,
                                          std::int64_t vocab_size);

/// [[id, logprob], ...]
Json alternatives_json(const TokenLogprobs& logprobs);

/// One line of text; bytes that are not UTF-8 become U+FFFD. Numbers read back to the same bits.
std::string dump_line(const Json& json);

}  // namespace spate
