// tokenizer_config.json and its neighbours: which tokens are special, what is put around a text,
// and the chat template. They refine what the tokenizer file says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/tokenizer_parts.h"

namespace spate {

struct TokenizerConfig {
  std::string tokenizer_class{};
  std::optional<bool> add_bos{}, add_eos{}, add_prefix_space{}, legacy{};
  std::optional<AddedToken> bos{}, eos{}, unk{}, pad{};  // ids are not known yet
  std::vector<AddedToken> added_tokens{};
  std::string chat_template{};
};

/// Reads tokenizer_config.json, special_tokens_map.json, chat_template.json and
/// chat_template.jinja of a folder; each may be absent. Throws LoadError for a damaged one.
TokenizerConfig read_tokenizer_config(const std::string& folder);

/// Adds the config's tokens to `parts`, names bos, eos, unk and pad, and takes the template.
/// Call AddedTokens::build afterwards.
void apply_tokenizer_config(const TokenizerConfig& config, TokenizerParts& parts);

/// The frame that add_bos_token and add_eos_token ask for.
SpecialFrame make_frame(const TokenizerParts& parts, bool add_bos, bool add_eos);

}  // namespace spate
