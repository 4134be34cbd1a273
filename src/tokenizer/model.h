// What turns one word (a segment of normalized text) into tokens. Immutable and safe to share
// between threads.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/vocab.h"

namespace spate {

class Model {
 public:
  explicit Model(Vocab vocab) : vocab_(std::move(vocab)) {}
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// Appends the tokens of `word`, which is valid UTF-8 and not empty.
  virtual void encode(std::string_view word, std::vector<TokenId>& out) const = 0;

  const Vocab& vocab() const { return vocab_; }

 private:
  Vocab vocab_;
};

}  // namespace spate
