#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.h"

namespace spate {
namespace {

/// The last character before text[end].
char32_t character_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  std::size_t length = 0;
  return utf8_decode(text, begin, length);
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t length = 0;
  return (begin > 0 && is_word(character_before(text, begin))) ||
         (end < text.size() && is_word(utf8_decode(text, end, length)));
}

std::size_t skip_spaces_left(std::string_view text, std::size_t at, std::size_t stop) {
  while (at > stop && is_white_space(character_before(text, at))) {
    --at;
    while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  }
  return at;
}

std::size_t skip_spaces_right(std::string_view text, std::size_t at) {
  std::size_t length = 0;
  for (; at < text.size(); at += length) {
    if (!is_white_space(utf8_decode(text, at, length))) break;
  }
  return at;
}

}  // namespace

bool AddedTokens::add(AddedToken token, const Vocab& vocab) {
  if (token.content.empty()) return true;
  if (const std::optional<TokenId> id = vocab.find(token.content)) token.id = *id;
  if (const auto it = ids_.find(token.content); it != ids_.end()) token.id = it->second;
  if (token.id < 0 || token.id >= Vocab::kMaxIds) return false;
  ids_[token.content] = token.id;
  const TokenId id = token.id;
  tokens_[id] = std::move(token);
  return true;
}

void AddedTokens::build(const Normalizer* normalizer) {
  std::vector<std::pair<std::string, std::int32_t>> raw;
  std::vector<std::pair<std::string, std::int32_t>> normalized;
  normalized_.clear();
  for (const auto& [id, token] : tokens_) {
    if (!token.normalized) {
      raw.emplace_back(token.content, id);
      continue;
    }
    std::string text = token.content;
    if (normalizer != nullptr) normalizer->apply(text);
    if (text != token.content) normalized_[id] = text;
    normalized.emplace_back(std::move(text), id);
  }
  raw_trie_ = ByteTrie(std::move(raw));
  normalized_trie_ = ByteTrie(std::move(normalized));
}

void AddedTokens::split(std::string_view text, bool normalized, bool parse_special,
                        std::vector<Part>& parts) const {
  const ByteTrie& trie = normalized ? normalized_trie_ : raw_trie_;
  std::size_t done = 0;
  for (std::size_t at = 0; !trie.empty() && at < text.size();) {
    const ByteTrie::Match match =
        trie.starts_with(text[at]) ? trie.longest(text, at) : ByteTrie::Match{};
    if (match.length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_.at(match.value);
    std::size_t begin = at;
    std::size_t end = at + match.length;
    at = end;
    const bool unwanted =
        (token.special && !parse_special) || (token.single_word && touches_word(text, begin, end));
    const bool swallowed = begin < done;  // by the white space of the token before
    if (unwanted || swallowed) continue;
    if (token.lstrip) begin = skip_spaces_left(text, begin, done);
    if (token.rstrip) end = skip_spaces_right(text, end);
    if (done < begin) parts.push_back({text.substr(done, begin - done)});
    parts.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done)});
}

std::optional<TokenId> AddedTokens::find(std::string_view content) const {
  const auto it = ids_.find(std::string(content));
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : &it->second;
}

std::optional<std::string_view> AddedTokens::text(TokenId id) const {
  const AddedToken* token = find(id);
  if (token == nullptr) return std::nullopt;
  const auto it = normalized_.find(id);
  return it == normalized_.end() ? token->content : it->second;
}

std::int64_t AddedTokens::id_limit() const {
  return tokens_.empty() ? 0 : std::int64_t{tokens_.rbegin()->first} + 1;
}

}  // namespace spate
