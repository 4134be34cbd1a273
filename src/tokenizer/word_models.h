// The two simple models of tokenizer.json: WordPiece (Schuster and Nakajima, 2012; greedy longest
// match) and WordLevel (one token a word).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/model.h"

namespace spate {

class WordLevel final : public Model {
 public:
  WordLevel(Vocab vocab, std::string_view unk_token)
      : Model(std::move(vocab)), unk_id_(this->vocab().find(unk_token)) {}
  void encode(std::string_view word, std::vector<TokenId>& out) const override;

 private:
  std::optional<TokenId> unk_id_;
};

class WordPiece final : public Model {
 public:
  struct Options {
    std::string unk_token = "[UNK]";
    std::string prefix = "##";
    std::int64_t max_characters = 100;  // a longer word is unknown
  };
  WordPiece(Vocab vocab, Options options);
  void encode(std::string_view word, std::vector<TokenId>& out) const override;

 private:
  Options options_;
  std::optional<TokenId> unk_id_;
};

}  // namespace spate
