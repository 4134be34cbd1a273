// Tokens to text, one at a time, for streaming. The pieces returned, put together, are exactly what
// Tokenizer::decode gives for all tokens; none ends inside a character. Memory does not grow with
// the sequence. One sequence, one thread; the Tokenizer must outlive it.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tokenizer/tokenizer.h"

namespace spate {

class DecodeStream;

class Detokenizer {
 public:
  /// `context` is what precedes the first token pushed (the prompt): its text is not returned, but
  /// a space or an incomplete character at the border comes out as it does in the whole.
  explicit Detokenizer(const Tokenizer& tokenizer, DecodeOptions options = {},
                       std::span<const TokenId> context = {});
  ~Detokenizer();
  Detokenizer(const Detokenizer&) = delete;
  Detokenizer& operator=(const Detokenizer&) = delete;

  /// The text that is certain now; often one word, sometimes nothing.
  std::string push(TokenId id);
  /// The end of the sequence: what was held back. Nothing may be pushed after it.
  std::string flush();

 private:
  void feed(TokenId id);

  const Tokenizer& tokenizer_;
  DecodeOptions options_;
  std::string text_{};  // what the stream wrote and nobody took yet
  std::unique_ptr<DecodeStream> stream_;
};

}  // namespace spate
