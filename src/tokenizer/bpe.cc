#include "tokenizer/bpe.h"

#include <algorithm>
#include <limits>
#include <queue>

#include <fmt/format.h>

#include "core/load_error.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

// Up to here a scan of all pairs per merge beats a heap.
constexpr std::size_t kShortWord = 48;
constexpr std::uint32_t kNoRank = std::numeric_limits<std::uint32_t>::max();

/// Does a U+2581 follow another character somewhere in `token`?
bool meta_inside(std::string_view token) {
  std::size_t at = 0;
  while (token.substr(at).starts_with(kMetaSpace)) at += kMetaSpace.size();
  return token.find(kMetaSpace, at) != std::string_view::npos;
}

}  // namespace

void MergeTable::reserve(std::int64_t merges) {
  std::size_t slots = 16;
  shift_ = 60;
  while (slots < static_cast<std::size_t>(merges) * 3 / 2 + 1) {
    slots *= 2;
    --shift_;
  }
  slots_.assign(slots, {});
}

void MergeTable::add(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t i = start(key);
  while (slots_[i].key != key && slots_[i].key != kFree) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {key, merge};
}

Bpe::Bpe(Vocab vocab, const std::vector<std::pair<std::string, std::string>>& merges,
         BpeOptions options, const std::string& where)
    : Model(std::move(vocab)), options_(std::move(options)) {
  plain_ = options_.continuing_subword_prefix.empty() && options_.end_of_word_suffix.empty();
  if (options_.unk_token) {
    unk_id_ = this->vocab().find(*options_.unk_token);
    if (!unk_id_) {
      throw LoadError(
          ErrorCode::kCorrupt,
          fmt::format("{}/unk_token: '{}' is not in the vocabulary", where, *options_.unk_token));
    }
  }
  split_at_meta_ = plain_ && this->vocab().find(kMetaSpace).has_value();
  merges_.reserve(static_cast<std::int64_t>(merges.size()));
  for (std::size_t i = 0; i < merges.size(); ++i) {
    add_merge(merges[i], static_cast<std::uint32_t>(i), where);
  }
  index_characters();
}

void Bpe::add_merge(const std::pair<std::string, std::string>& merge, std::uint32_t rank,
                    const std::string& where) {
  const auto& [left, right] = merge;
  const std::string& prefix = options_.continuing_subword_prefix;
  std::string joined = left;
  joined.append(right, right.starts_with(prefix) ? prefix.size() : 0);
  const std::optional<TokenId> left_id = vocab().find(left);
  const std::optional<TokenId> right_id = vocab().find(right);
  const std::optional<TokenId> joined_id = vocab().find(joined);
  if (!left_id || !right_id || !joined_id) {
    throw LoadError(ErrorCode::kCorrupt,
                    fmt::format("{}/merges/{}: '{}' is not in the vocabulary", where, rank,
                                !left_id    ? left
                                : !right_id ? right
                                            : joined));
  }
  merges_.add(*left_id, *right_id, {rank, *joined_id});
  if (split_at_meta_ && meta_inside(joined)) split_at_meta_ = false;
}

void Bpe::index_characters() {
  std::string text;
  for (std::size_t c = 0; c < character_ids_.size(); ++c) {
    text.clear();
    utf8_append(text, static_cast<char32_t>(c));
    character_ids_[c] = vocab().find(text).value_or(-1);
  }
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    byte_ids_[byte] = vocab().find(fmt::format("<0x{:02X}>", byte));
  }
}

void Bpe::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (options_.ignore_merges) {
    if (const std::optional<TokenId> id = vocab().find(word)) {
      out.push_back(*id);
      return;
    }
  }
  while (split_at_meta_ && !word.empty()) {
    std::size_t end = 0;
    while (word.substr(end).starts_with(kMetaSpace)) end += kMetaSpace.size();
    end = word.find(kMetaSpace, end);
    if (end == std::string_view::npos) break;
    encode_word(word.substr(0, end), out);
    word.remove_prefix(end);
  }
  if (!word.empty()) encode_word(word, out);
}

void Bpe::encode_word(std::string_view word, std::vector<TokenId>& out) const {
  const std::size_t before = out.size();
  characters(word, out);
  const std::span<TokenId> symbols = std::span(out).subspan(before);
  if (symbols.size() < 2) return;
  out.resize(before + (symbols.size() <= kShortWord ? merge_short(symbols) : merge_long(symbols)));
}

std::optional<TokenId> Bpe::character(std::string_view word, std::size_t at,
                                      std::size_t length) const {
  if (plain_) {
    std::size_t decoded = 0;
    const char32_t c = utf8_decode(word, at, decoded);
    if (c >= character_ids_.size()) return vocab().find(word.substr(at, length));
    const TokenId id = character_ids_[c];
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::string text = at > 0 ? options_.continuing_subword_prefix : "";
  text += word.substr(at, length);
  if (at + length == word.size()) text += options_.end_of_word_suffix;
  return vocab().find(text);
}

bool Bpe::append_bytes(std::string_view text, std::vector<TokenId>& symbols) const {
  for (const char c : text) {
    if (!byte_ids_[static_cast<unsigned char>(c)]) return false;
  }
  for (const char c : text) symbols.push_back(*byte_ids_[static_cast<unsigned char>(c)]);
  return true;
}

/// Appends one symbol a character; what is not in the vocabulary becomes bytes, the unknown token
/// or nothing.
void Bpe::characters(std::string_view word, std::vector<TokenId>& symbols) const {
  bool pending_unk = false;
  for (std::size_t at = 0, length = 0; at < word.size(); at += length) {
    length = utf8_length(word, at);
    if (const std::optional<TokenId> id = character(word, at, length)) {
      if (pending_unk) symbols.push_back(*unk_id_);
      pending_unk = false;
      symbols.push_back(*id);
      continue;
    }
    // A pending unknown stays pending across bytes: the order Hugging Face gives.
    if (options_.byte_fallback && append_bytes(word.substr(at, length), symbols)) continue;
    if (!unk_id_) continue;
    if (pending_unk && !options_.fuse_unk) symbols.push_back(*unk_id_);
    pending_unk = true;
  }
  if (pending_unk) symbols.push_back(*unk_id_);
}

std::size_t Bpe::merge_short(std::span<TokenId> symbols) const {
  std::array<MergeTable::Merge, kShortWord> merges;  // of symbols i and i + 1
  std::size_t count = symbols.size();
  const auto look_up = [&](std::size_t i) {
    merges[i] = merges_.find(symbols[i], symbols[i + 1]);
    if (merges[i].id < 0) merges[i].rank = kNoRank;
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].id;
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i] = merges[i + 1 < kShortWord ? i + 1 : i];
    }
    --count;
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  return count;
}

/// The same order of merges (lowest rank, then leftmost) in O(n log n).
std::size_t Bpe::merge_long(std::span<TokenId> symbols) const {
  struct Candidate {
    std::uint32_t rank;
    std::int32_t left;
    TokenId left_id, right_id;  // what the pair was when it was queued

    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const auto count = static_cast<std::int32_t>(symbols.size());
  std::vector<std::int32_t> next(symbols.size());
  std::vector<std::int32_t> previous(symbols.size());
  const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto push = [&](std::int32_t left) {
    if (left < 0 || next[at(left)] >= count) return;
    const TokenId right_id = symbols[at(next[at(left)])];
    const MergeTable::Merge merge = merges_.find(symbols[at(left)], right_id);
    if (merge.id >= 0) queue.push({merge.rank, left, symbols[at(left)], right_id});
  };
  for (std::int32_t i = 0; i < count; ++i) {
    next[at(i)] = i + 1;
    previous[at(i)] = i - 1;
  }
  for (std::int32_t i = 0; i < count; ++i) push(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const std::int32_t right = next[at(top.left)];
    // A merged-away symbol is -1, so that its stale candidates fail here too.
    if (right >= count || symbols[at(top.left)] != top.left_id ||
        symbols[at(right)] != top.right_id) {
      continue;
    }
    symbols[at(top.left)] = merges_.find(top.left_id, top.right_id).id;
    symbols[at(right)] = -1;
    next[at(top.left)] = next[at(right)];
    if (next[at(right)] < count) previous[at(next[at(right)])] = top.left;
    push(previous[at(top.left)]);
    push(top.left);
  }
  const auto end = std::remove(symbols.begin(), symbols.end(), -1);
  return static_cast<std::size_t>(end - symbols.begin());
}

}  // namespace spate
