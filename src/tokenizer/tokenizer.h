// Text to tokens and back, from the files models are published with: Hugging Face's
// tokenizer.json, SentencePiece's tokenizer.model, and vocab.json with merges.txt. Equal to the
// `tokenizers` and `sentencepiece` packages on what it accepts; what it does not know it refuses by
// name. No truncation, padding, pairs or offsets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spate/result.h"
#include "spate/sampling.h"

namespace spate {

struct EncodeOptions {
  /// Put what the model expects around the text, e.g. a beginning-of-sequence token.
  bool add_special_tokens = true;
  /// Find special tokens written out in the text. Off for text of strangers, who could otherwise
  /// end a turn of a chat.
  bool parse_special_tokens = true;
};

struct DecodeOptions {
  bool skip_special_tokens = true;
};

struct TokenizerParts;

/// Immutable; const methods may run on any number of threads at once.
class Tokenizer {
 public:
  /// `path` is a model folder (tokenizer.json, else tokenizer.model, else vocab.json and
  /// merges.txt; tokenizer_config.json and chat_template.jinja where they exist) or one such file.
  static Result<std::unique_ptr<Tokenizer>> load(const std::string& path);
  /// From memory; `source` names the bytes in errors.
  static Result<std::unique_ptr<Tokenizer>> from_json(std::string_view text,
                                                      std::string_view source);
  static Result<std::unique_ptr<Tokenizer>> from_sentencepiece(std::string_view bytes,
                                                               std::string_view source);

  explicit Tokenizer(std::unique_ptr<TokenizerParts> parts);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Bytes of `text` that are not UTF-8 count as U+FFFD.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;
  /// Always valid UTF-8. Ids without a token have no text.
  std::string decode(std::span<const TokenId> ids, DecodeOptions options = {}) const;

  /// Every id is below this. The model's embedding may have more rows.
  std::int64_t vocab_size() const;
  std::optional<TokenId> token_to_id(std::string_view token) const;
  /// The token as the vocabulary spells it (e.g. "Ġthe", "▁the"); empty for an id without one.
  std::string_view id_to_token(TokenId id) const;
  bool is_special(TokenId id) const;

  /// As tokenizer_config.json or the SentencePiece model names them.
  std::optional<TokenId> bos_id() const;
  std::optional<TokenId> eos_id() const;
  std::optional<TokenId> unk_id() const;
  std::optional<TokenId> pad_id() const;
  /// A Jinja template for conversations; empty where the folder has none.
  const std::string& chat_template() const;

  /// For this library's own use.
  const TokenizerParts& parts() const { return *parts_; }

 private:
  std::unique_ptr<TokenizerParts> parts_;
};

}  // namespace spate
