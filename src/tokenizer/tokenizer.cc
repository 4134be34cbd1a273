#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "tokenizer/detokenizer.h"
#include "tokenizer/segments.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

/// Normalized text without added tokens, through the pre-tokenizer and the model.
void encode_words(const TokenizerParts& parts, std::string_view text, bool at_start,
                  std::vector<TokenId>& ids) {
  if (text.empty()) return;
  Segments segments(text, at_start);
  if (parts.pre_tokenizer) parts.pre_tokenizer->apply(segments);
  for (const Segment& segment : segments.items()) {
    if (!segment.text.empty()) parts.model->encode(segment.text, ids);
  }
}

/// Text between the added tokens that are found in raw text.
void encode_raw(const TokenizerParts& parts, std::string_view raw, bool at_start,
                bool parse_special, std::vector<TokenId>& ids) {
  std::string normalized;
  if (parts.normalizer) {
    normalized = raw;
    parts.normalizer->apply(normalized);
    raw = normalized;
  }
  std::vector<AddedTokens::Part> found;
  parts.added_tokens.split(raw, true, parse_special, found);
  for (const AddedTokens::Part& part : found) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      encode_words(parts, part.text, at_start && part.text.data() == raw.data(), ids);
    }
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = repair_utf8(text);
    text = repaired;
  }
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 4);
  const SpecialFrame& frame = parts_->frame;
  if (options.add_special_tokens) ids.insert(ids.end(), frame.before.begin(), frame.before.end());
  std::vector<AddedTokens::Part> found;
  parts_->added_tokens.split(text, false, options.parse_special_tokens, found);
  for (const AddedTokens::Part& part : found) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      encode_raw(*parts_, part.text, part.text.data() == text.data(), options.parse_special_tokens,
                 ids);
    }
  }
  if (options.add_special_tokens) ids.insert(ids.end(), frame.after.begin(), frame.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, DecodeOptions options) const {
  Detokenizer stream(*this, options);
  std::string text;
  for (const TokenId id : ids) text += stream.push(id);
  text += stream.flush();
  return text;
}

std::int64_t Tokenizer::vocab_size() const {
  return std::max(parts_->model->vocab().id_limit(), parts_->added_tokens.id_limit());
}

std::optional<TokenId> Tokenizer::token_to_id(std::string_view token) const {
  return parts_->find(token);
}

std::string_view Tokenizer::id_to_token(TokenId id) const {
  if (const AddedToken* token = parts_->added_tokens.find(id)) return token->content;
  return parts_->model->vocab().token(id).value_or("");
}

bool Tokenizer::is_special(TokenId id) const { return parts_->is_special(id); }
std::optional<TokenId> Tokenizer::bos_id() const { return parts_->bos; }
std::optional<TokenId> Tokenizer::eos_id() const { return parts_->eos; }
std::optional<TokenId> Tokenizer::unk_id() const { return parts_->unk; }
std::optional<TokenId> Tokenizer::pad_id() const { return parts_->pad; }
const std::string& Tokenizer::chat_template() const { return parts_->chat_template; }

}  // namespace spate
