#include "tokenizer/decode_streams.h"

#include <array>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"

namespace spate {

std::optional<char> parse_byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9';
    const int lower = c | 0x20;
    if (!digit && (lower < 'a' || lower > 'f')) return std::nullopt;
    value = value * 16 + (digit ? c - '0' : lower - 'a' + 10);
  }
  return static_cast<char>(value);
}

std::string_view Utf8Assembler::push(std::string_view bytes) {
  pending_ += bytes;
  text_.clear();
  const std::string_view pending = pending_;
  std::size_t at = 0;
  while (at < pending.size()) {
    const Utf8Scan scan = scan_utf8(pending, at);
    if (scan.incomplete) break;
    text_ += scan.valid ? pending.substr(at, scan.length) : kReplacementCharacter;
    at += scan.length;
  }
  pending_.erase(0, at);
  return text_;
}

std::string_view Utf8Assembler::finish() {
  text_ = pending_.empty() ? std::string_view{} : kReplacementCharacter;
  pending_.clear();
  return text_;
}

void ByteLevelStream::push(std::string_view text, bool) {
  bytes_.clear();
  for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
    const char32_t c = utf8_decode(text, at, length);
    const int byte = c < kByteAlphabet.decode.size() ? kByteAlphabet.decode[c] : -1;
    if (byte < 0) {
      bytes_ = text;  // one foreign character: the whole token stands for itself
      break;
    }
    bytes_.push_back(static_cast<char>(byte));
  }
  next().push(assembler_.push(bytes_), !begun_);
  begun_ = true;
}

void ByteLevelStream::finish() {
  next().push(assembler_.finish(), !begun_);
  ChainedStream::finish();
}

void ByteFallbackStream::push(std::string_view text, bool begins) {
  if (const std::optional<char> byte = parse_byte_token(text); byte && begins) {
    run_.push_back(*byte);
    if (run_.size() >= kMaxRun) flush_valid_part();
    return;
  }
  if (begins) flush();
  next().push(text, begins);
}

void ByteFallbackStream::flush_valid_part() {
  std::size_t valid = 0;
  while (valid < run_.size()) {
    const Utf8Scan scan = scan_utf8(run_, valid);
    if (scan.incomplete) break;
    if (!scan.valid) return flush();
    valid += scan.length;
  }
  const std::string_view run = run_;
  next().push(run.substr(0, valid), true);
  run_.erase(0, valid);
}

void ByteFallbackStream::flush() {
  if (run_.empty()) return;
  if (is_valid_utf8(run_)) {
    next().push(run_, true);
  } else {
    for (std::size_t i = 0; i < run_.size(); ++i) next().push(kReplacementCharacter, true);
  }
  run_.clear();
}

void ByteFallbackStream::finish() {
  flush();
  ChainedStream::finish();
}

void FuseStream::push(std::string_view text, bool) {
  next().push(text, !begun_);
  begun_ = true;
}

void StripStream::push(std::string_view text, bool begins) {
  if (begins) {
    end_token();
    to_strip_ = start_;
    begun_ = false;
  }
  while (to_strip_ > 0 && text.starts_with(content_)) {
    text.remove_prefix(content_.size());
    --to_strip_;
  }
  if (!text.empty()) to_strip_ = 0;
  std::int64_t tail = 0;
  while (tail < stop_ && text.ends_with(content_)) {
    text.remove_suffix(content_.size());
    ++tail;
  }
  if (!text.empty() || begins) {
    while (held_ > 0) {
      forward(content_);
      --held_;
    }
    forward(text);
  }
  held_ += tail;
  for (; held_ > stop_; --held_) forward(content_);
}

void StripStream::forward(std::string_view text) {
  next().push(text, !begun_);
  begun_ = true;
}

void StripStream::end_token() { held_ = 0; }

void StripStream::finish() {
  end_token();
  ChainedStream::finish();
}

ReplaceStream::ReplaceStream(std::unique_ptr<DecodeStream> next, const Pattern& pattern,
                             const std::string& content)
    : ChainedStream(std::move(next)), content_(content), search_(pattern) {
  const std::string_view literal = pattern.literal_text();
  one_character_ = !literal.empty() && utf8_length(literal, 0) == literal.size();
}

void ReplaceStream::push(std::string_view text, bool begins) {
  if (one_character_) {  // cannot span fragments
    replace(text);
    next().push(out_, begins);
    return;
  }
  if (begins) flush();
  open_ = true;
  token_ += text;
}

void ReplaceStream::replace(std::string_view text) {
  search_.find_all(text, matches_);
  out_.clear();
  std::size_t done = 0;
  for (const TextSpan& match : matches_) {
    out_ += text.substr(done, match.begin - done);
    out_ += content_;
    done = match.end;
  }
  out_ += text.substr(done);
}

void ReplaceStream::flush() {
  if (!open_) return;
  replace(token_);
  next().push(out_, true);
  token_.clear();
  open_ = false;
}

void ReplaceStream::finish() {
  flush();
  ChainedStream::finish();
}

void MetaspaceStream::push(std::string_view text, bool begins) {
  if (begins) ++token_;
  out_.clear();
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with(replacement_)) {
      if (token_ > 0 || keep_first_) out_.push_back(' ');
      at += replacement_.size();
    } else {
      out_.push_back(text[at++]);
    }
  }
  next().push(out_, begins);
}

void WordPieceStream::push(std::string_view text, bool begins) {
  if (begins) {
    flush();
    ++index_;
  }
  token_ += text;
}

void WordPieceStream::flush() {
  if (index_ < 0) return;
  if (index_ > 0) {
    if (!prefix_.empty() && token_.starts_with(prefix_)) {
      token_.erase(0, prefix_.size());
    } else if (!prefix_.empty()) {
      std::string spaced(1, ' ');  // not insert: g++ 12 warns about it wrongly
      spaced += token_;
      token_ = std::move(spaced);
    }
  }
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {{
      {" .", "."},
      {" ?", "?"},
      {" !", "!"},
      {" ,", ","},
      {" ' ", "'"},
      {" n't", "n't"},
      {" 'm", "'m"},
      {" do not", " don't"},
      {" 's", "'s"},
      {" 've", "'ve"},
      {" 're", "'re"},
  }};
  for (const auto& [from, to] : kRules) {
    if (cleanup_) token_ = Pattern::literal(std::string(from)).replace(token_, to);
  }
  next().push(token_, true);
  token_.clear();
}

void WordPieceStream::finish() {
  flush();
  index_ = -1;
  ChainedStream::finish();
}

void SuffixStream::push(std::string_view text, bool begins) {
  if (begins && token_) {
    next().push(suffix_.replace(*token_, " "), true);
    token_->clear();
  }
  if (!token_) token_.emplace();
  *token_ += text;
}

void SuffixStream::finish() {
  if (token_) next().push(suffix_.replace(*token_, ""), true);
  token_.reset();
  ChainedStream::finish();
}

void JoinStream::push(std::string_view text, bool begins) {
  if (begins && begun_) next().push(" ", false);
  next().push(text, begins);
  begun_ = true;
}

void SentencePieceStream::push(std::string_view text, bool begins) {
  if (const std::optional<char> byte = parse_byte_token(text); byte && begins) {
    bytes_.push_back(*byte);
    flush_bytes(false);
    return;
  }
  flush_bytes(true);
  if (at_start_ && rules_.strip_all_spaces) {
    while (text.starts_with(kMetaSpace)) text.remove_prefix(kMetaSpace.size());
  } else if (at_start_ && rules_.strip_one_space && text.starts_with(kMetaSpace)) {
    text.remove_prefix(kMetaSpace.size());
    at_start_ = false;
  }
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const bool space = text.substr(at).starts_with(kMetaSpace);
    out.push_back(space ? ' ' : text[at]);
    at += space ? kMetaSpace.size() : 1;
  }
  emit(out);
}

void SentencePieceStream::emit(std::string_view text) {
  if (text.empty()) return;
  at_start_ = false;
  next().push(text, true);
}

/// A byte that is not part of a character becomes U+FFFD; those after it are looked at again.
void SentencePieceStream::flush_bytes(bool final) {
  const std::string_view bytes = bytes_;
  std::string out;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Scan scan = scan_utf8(bytes, at);
    if (scan.incomplete && !final) break;
    out += scan.valid ? bytes.substr(at, scan.length) : kReplacementCharacter;
    at += scan.valid ? scan.length : 1;
  }
  bytes_.erase(0, at);
  emit(out);
}

void SentencePieceStream::finish() {
  flush_bytes(true);
  ChainedStream::finish();
}

}  // namespace spate
