// The streams behind the decoders (decoder.h), one class a rule. Internal to src/tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tokenizer/decoder.h"
#include "tokenizer/regex.h"

namespace spate {

/// A stage with a next stage.
class ChainedStream : public DecodeStream {
 public:
  explicit ChainedStream(std::unique_ptr<DecodeStream> next) : next_(std::move(next)) {}
  void finish() override { next_->finish(); }

 protected:
  DecodeStream& next() { return *next_; }

 private:
  std::unique_ptr<DecodeStream> next_;
};

/// Bytes become characters as soon as they are complete; what can never be one becomes U+FFFD.
class Utf8Assembler {
 public:
  /// Returns the text that is certain; valid until the next call.
  std::string_view push(std::string_view bytes);
  /// U+FFFD for a character that was never completed.
  std::string_view finish();

 private:
  std::string pending_{};  // at most three bytes of an incomplete character
  std::string text_{};
};

/// GPT-2's byte alphabet back to bytes. All tokens become one.
class ByteLevelStream final : public ChainedStream {
 public:
  using ChainedStream::ChainedStream;
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  Utf8Assembler assembler_{};
  std::string bytes_{};
  bool begun_ = false;
};

/// Tokens <0x00> to <0xFF> as bytes. A run of them that is not UTF-8 becomes one U+FFFD a byte, as
/// with Hugging Face; a run longer than kMaxRun is decided in parts, so that text goes on flowing.
class ByteFallbackStream final : public ChainedStream {
 public:
  static constexpr std::size_t kMaxRun = 64;
  using ChainedStream::ChainedStream;
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  void flush();
  void flush_valid_part();
  std::string run_{};
};

/// All tokens become one.
class FuseStream final : public ChainedStream {
 public:
  using ChainedStream::ChainedStream;
  void push(std::string_view text, bool begins) override;

 private:
  bool begun_ = false;
};

/// Takes up to `start` and `stop` times `content` off the ends of each token.
class StripStream final : public ChainedStream {
 public:
  StripStream(std::unique_ptr<DecodeStream> next, std::string content, std::int64_t start,
              std::int64_t stop)
      : ChainedStream(std::move(next)), content_(std::move(content)), start_(start), stop_(stop) {}
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  void forward(std::string_view text);
  void end_token();

  std::string content_;
  std::int64_t start_, stop_;
  std::int64_t to_strip_ = 0;  // still allowed at the start of this token
  std::int64_t held_ = 0;      // copies of content_ that may turn out to end the token
  bool begun_ = false;         // the current token was announced to the next stage
};

/// Replaces a pattern in each token.
class ReplaceStream final : public ChainedStream {
 public:
  ReplaceStream(std::unique_ptr<DecodeStream> next, const Pattern& pattern,
                const std::string& content);
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  void replace(std::string_view text);
  void flush();

  const std::string& content_;
  Pattern::Search search_;
  std::vector<TextSpan> matches_{};
  std::string token_{};  // held while it may go on, unless the pattern is one character
  std::string out_{};
  bool open_ = false;
  bool one_character_;
};

/// Replacement characters become spaces; those of the first token vanish unless `keep_first`.
class MetaspaceStream final : public ChainedStream {
 public:
  MetaspaceStream(std::unique_ptr<DecodeStream> next, std::string_view replacement, bool keep_first)
      : ChainedStream(std::move(next)), replacement_(replacement), keep_first_(keep_first) {}
  void push(std::string_view text, bool begins) override;

 private:
  std::string_view replacement_;
  bool keep_first_;
  std::int64_t token_ = -1;
  std::string out_{};
};

/// Continuation prefixes vanish, other tokens get a space before them. Spaces before punctuation
/// and in English contractions are taken out on `cleanup`.
class WordPieceStream final : public ChainedStream {
 public:
  WordPieceStream(std::unique_ptr<DecodeStream> next, std::string_view prefix, bool cleanup)
      : ChainedStream(std::move(next)), prefix_(prefix), cleanup_(cleanup) {}
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  void flush();

  std::string_view prefix_;
  bool cleanup_;
  std::string token_{};
  std::int64_t index_ = -1;
};

/// End-of-word suffixes become spaces, except in the last token.
class SuffixStream final : public ChainedStream {
 public:
  SuffixStream(std::unique_ptr<DecodeStream> next, const Pattern& suffix)
      : ChainedStream(std::move(next)), suffix_(suffix) {}
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  const Pattern& suffix_;
  std::optional<std::string> token_{};
};

/// Puts a space between tokens.
class JoinStream final : public ChainedStream {
 public:
  using ChainedStream::ChainedStream;
  void push(std::string_view text, bool begins) override;

 private:
  bool begun_ = false;
};

/// SentencePiece: U+2581 is a space, the dummy prefix vanishes, byte pieces are bytes and decided
/// character by character.
class SentencePieceStream final : public ChainedStream {
 public:
  SentencePieceStream(std::unique_ptr<DecodeStream> next, SentencePieceDecoding rules)
      : ChainedStream(std::move(next)), rules_(rules) {}
  void push(std::string_view text, bool begins) override;
  void finish() override;

 private:
  void emit(std::string_view text);
  void flush_bytes(bool final);

  SentencePieceDecoding rules_;
  std::string bytes_{};  // of a character that is not complete
  bool at_start_ = true;
};

/// The value of a token of the form <0x41>.
std::optional<char> parse_byte_token(std::string_view token);

}  // namespace spate
