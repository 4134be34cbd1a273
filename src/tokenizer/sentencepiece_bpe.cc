#include <algorithm>
#include <queue>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

namespace spate {

SentencePieceBpe::SentencePieceBpe(Vocab vocab, SentencePieceModel model)
    : Model(std::move(vocab)), model_(std::move(model)) {
  std::vector<std::pair<std::string, std::int32_t>> keys;
  split_at_meta_ = find(kMetaSpace) >= 0;
  for (std::size_t id = 0; id < model_.pieces.size(); ++id) {
    const Piece& piece = model_.pieces[id];
    if (piece.type == PieceType::kUnknown) unk_id_ = static_cast<TokenId>(id);
    if (piece.type == PieceType::kUserDefined) keys.emplace_back(piece.text, 0);
    if (!piece.matches_text()) continue;
    longest_ = std::max(longest_, piece.text.size());
    const std::string_view text = piece.text;
    std::size_t at = 0;
    while (text.substr(at).starts_with(kMetaSpace)) at += kMetaSpace.size();
    if (text.find(kMetaSpace, at) != std::string_view::npos) split_at_meta_ = false;
  }
  user_defined_ = ByteTrie(std::move(keys));
  for (int byte = 0; model_.byte_fallback && byte < 256; ++byte) {
    const std::optional<TokenId> id = this->vocab().find(fmt::format("<0x{:02X}>", byte));
    if (!id) break;
    byte_ids_.push_back(*id);
  }
}

/// The id of a piece that text can be cut into, or -1.
std::int32_t SentencePieceBpe::find(std::string_view text) const {
  const std::optional<TokenId> id = vocab().find(text);
  return id && model_.pieces[static_cast<std::size_t>(*id)].matches_text() ? *id : -1;
}

void SentencePieceBpe::encode(std::string_view text, std::vector<TokenId>& out) const {
  while (split_at_meta_ && !text.empty()) {
    std::size_t end = 0;
    while (text.substr(end).starts_with(kMetaSpace)) end += kMetaSpace.size();
    end = text.find(kMetaSpace, end);
    if (end == std::string_view::npos) break;
    encode_word(text.substr(0, end), out);
    text.remove_prefix(end);
  }
  // Positions are 32-bit; nobody sends a gigabyte without a space, but it must not break.
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  while (text.size() > kChunk) {
    std::size_t cut = kChunk;
    while ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    encode_word(text.substr(0, cut), out);
    text.remove_prefix(cut);
  }
  if (!text.empty()) encode_word(text, out);
}

std::vector<SentencePieceBpe::Symbol> SentencePieceBpe::symbols(std::string_view word) const {
  std::vector<Symbol> symbols;
  for (std::size_t at = 0; at < word.size();) {
    const ByteTrie::Match match =
        user_defined_.starts_with(word[at]) ? user_defined_.longest(word, at) : ByteTrie::Match{};
    const std::size_t length = match.length > 0 ? match.length : utf8_length(word, at);
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({.begin = static_cast<std::int32_t>(at),
                       .length = static_cast<std::int32_t>(length),
                       .previous = index - 1,
                       .next = index + 1,
                       .frozen = match.length > 0});
    at += length;
  }
  symbols.back().next = -1;
  return symbols;
}

void SentencePieceBpe::merge(std::string_view word, std::vector<Symbol>& symbols,
                             std::vector<Cut>& cuts) const {
  struct Candidate {
    float score;
    std::int32_t left, right, size;
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  std::priority_queue<Candidate> queue;
  const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
  const auto push = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0 || at(left).frozen || at(right).frozen) return;
    const std::int32_t size = at(left).length + at(right).length;
    if (static_cast<std::size_t>(size) > longest_) return;
    const std::string_view text =
        word.substr(static_cast<std::size_t>(at(left).begin), static_cast<std::size_t>(size));
    const std::int32_t id = find(text);
    if (id < 0) return;
    const Piece& piece = model_.pieces[static_cast<std::size_t>(id)];
    queue.push({piece.score, left, right, size});
    if (piece.type == PieceType::kUnused) cuts.push_back({text, at(left).length});
  };
  for (std::size_t i = 1; i < symbols.size(); ++i) {
    push(static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i));
  }
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = at(top.left);
    Symbol& right = at(top.right);
    if (left.length == 0 || right.length == 0 || left.length + right.length != top.size) continue;
    left.length += right.length;
    left.next = right.next;
    if (right.next >= 0) at(right.next).previous = top.left;
    right.length = 0;
    push(left.previous, top.left);
    push(top.left, left.next);
  }
}

void SentencePieceBpe::encode_word(std::string_view word, std::vector<TokenId>& out) const {
  std::vector<Symbol> list = symbols(word);
  std::vector<Cut> cuts;
  merge(word, list, cuts);
  for (std::int32_t i = 0; i >= 0; i = list[static_cast<std::size_t>(i)].next) {
    const Symbol& symbol = list[static_cast<std::size_t>(i)];
    emit(word.substr(static_cast<std::size_t>(symbol.begin),
                     static_cast<std::size_t>(symbol.length)),
         cuts, out);
  }
}

/// A piece that is marked unused falls apart again into what it was merged from.
void SentencePieceBpe::emit(std::string_view text, const std::vector<Cut>& cuts,
                            std::vector<TokenId>& out) const {
  std::vector<std::string_view> pending = {text};
  while (!pending.empty()) {
    const std::string_view piece = pending.back();
    pending.pop_back();
    const std::int32_t id = find(piece);
    if (id < 0) {
      emit_unknown(piece, out);
      continue;
    }
    const bool unused = model_.pieces[static_cast<std::size_t>(id)].type == PieceType::kUnused;
    const auto cut =
        std::find_if(cuts.rbegin(), cuts.rend(), [&](const Cut& c) { return c.text == piece; });
    if (!unused || cut == cuts.rend()) {
      out.push_back(id);
      continue;
    }
    const auto left = static_cast<std::size_t>(cut->left);
    pending.push_back(piece.substr(left));
    pending.push_back(piece.substr(0, left));
  }
}

/// A run of unknown pieces is one unknown token, unless bytes can stand for them.
void SentencePieceBpe::emit_unknown(std::string_view text, std::vector<TokenId>& out) const {
  if (byte_ids_.size() == 256) {
    for (const char c : text) out.push_back(byte_ids_[static_cast<unsigned char>(c)]);
  } else if (unk_id_ >= 0 && (out.empty() || out.back() != unk_id_)) {
    out.push_back(unk_id_);
  }
}

}  // namespace spate
