// Tokens that are found in the text as they stand, before the model sees it: special tokens and
// those added after training. Built once, then immutable and shared by threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "spate/sampling.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/vocab.h"

namespace spate {

struct AddedToken {
  TokenId id = 0;
  std::string content{};
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = true;    // searched in the normalized text, in its own normalized form
  bool special = false;      // left out of decoded text on request
};

class AddedTokens {
 public:
  /// Adds a token, or replaces the flags of one with the same content. The vocabulary's id of the
  /// same text wins over `token.id`. False when the id is out of [0, Vocab::kMaxIds).
  bool add(AddedToken token, const Vocab& vocab);
  /// After the last add; `normalizer` may be null.
  void build(const Normalizer* normalizer);

  struct Part {
    std::string_view text{};
    std::optional<TokenId> id = std::nullopt;  // absent: text for the model
  };
  /// Cuts `text` at the tokens with this `normalized` flag, the longest at the leftmost place.
  /// Special ones are not looked for unless `parse_special`. Appends to `parts`.
  void split(std::string_view text, bool normalized, bool parse_special,
             std::vector<Part>& parts) const;

  std::optional<TokenId> find(std::string_view content) const;
  const AddedToken* find(TokenId id) const;
  /// The text of the token in decoded output: its normalized form where that differs.
  std::optional<std::string_view> text(TokenId id) const;
  std::int64_t id_limit() const;
  /// By id.
  const std::map<TokenId, AddedToken>& all() const { return tokens_; }

 private:
  std::map<TokenId, AddedToken> tokens_{};
  std::unordered_map<std::string, TokenId> ids_{};
  std::map<TokenId, std::string> normalized_{};
  ByteTrie raw_trie_{};
  ByteTrie normalized_trie_{};
};

}  // namespace spate
