// What a Tokenizer is made of. The readers of the file formats fill it in; Tokenizer and
// Detokenizer run it. Internal to src/tokenizer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/added_tokens.h"
#include "tokenizer/decoder.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"

namespace spate {

struct TokenizerParts {
  AddedTokens added_tokens{};
  std::unique_ptr<Normalizer> normalizer{};       // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer{};  // null: none
  std::unique_ptr<Model> model{};                 // never null
  std::unique_ptr<Decoder> decoder{};             // never null
  SpecialFrame frame{};
  std::optional<TokenId> bos{}, eos{}, unk{}, pad{};
  std::string chat_template{};

  std::optional<TokenId> find(std::string_view token) const {
    const std::optional<TokenId> id = added_tokens.find(token);
    return id ? id : model->vocab().find(token);
  }
  /// The text a token has in the decoder's input.
  std::optional<std::string_view> text(TokenId id) const {
    const std::optional<std::string_view> added = added_tokens.text(id);
    return added ? added : model->vocab().token(id);
  }
  bool is_special(TokenId id) const {
    const AddedToken* token = added_tokens.find(id);
    return token != nullptr && token->special;
  }
};

}  // namespace spate
