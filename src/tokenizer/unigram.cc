#include "tokenizer/unigram.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/utf8.h"

namespace spate {
namespace {

constexpr double kUnknownPenalty = 10;

}  // namespace

Unigram::Unigram(Vocab vocab, const std::vector<UnigramPiece>& pieces, UnigramOptions options)
    : Model(std::move(vocab)), options_(options), pieces_(pieces) {
  std::vector<std::pair<std::string, std::int32_t>> keys;
  keys.reserve(pieces_.size());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    keys.emplace_back(this->vocab().token(pieces_[i].id).value_or(""),
                      static_cast<std::int32_t>(i));
  }
  trie_ = ByteTrie(std::move(keys));
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    byte_ids_[byte] = this->vocab().find(fmt::format("<0x{:02X}>", byte));
  }
}

/// Offers every piece that begins at `begin` to the position where it ends.
void Unigram::extend(std::string_view text, std::size_t begin, std::vector<Node>& ends) const {
  const std::size_t character = utf8_length(text, begin);
  const double before = ends[begin].score;
  bool covered = false;
  const auto offer = [&](std::size_t length, double score, TokenId id) {
    Node& end = ends[begin + length];
    if (end.begin >= 0 && !(score > end.score)) return;
    end.score = options_.single_precision ? static_cast<double>(static_cast<float>(score)) : score;
    end.begin = static_cast<std::int32_t>(begin);
    end.id = id;
  };
  trie_.match(text, begin, [&](std::size_t length, std::int32_t index) {
    const UnigramPiece& piece = pieces_[static_cast<std::size_t>(index)];
    const double score =
        piece.user_defined ? static_cast<double>(length) * options_.max_score - 0.1 : piece.score;
    offer(length, score + before, piece.id);
    covered = covered || length == character;
  });
  if (!covered) offer(character, options_.min_score - kUnknownPenalty + before, -1);
}

void Unigram::encode(std::string_view word, std::vector<TokenId>& out) const {
  // The best path to the end of the text decides; a limit on the chunk bounds the memory (24 bytes
  // a byte of text) and the 32-bit positions.
  constexpr std::size_t kChunk = std::size_t{1} << 26;
  while (word.size() > kChunk) {
    std::size_t cut = kChunk;
    while ((static_cast<unsigned char>(word[cut]) & 0xC0) == 0x80) --cut;
    encode_chunk(word.substr(0, cut), out);
    word.remove_prefix(cut);
  }
  encode_chunk(word, out);
}

void Unigram::encode_chunk(std::string_view text, std::vector<TokenId>& out) const {
  std::vector<Node> ends(text.size() + 1);
  for (std::size_t at = 0; at < text.size(); at += utf8_length(text, at)) extend(text, at, ends);
  std::vector<std::size_t> path;  // ends of pieces, from the last to the first
  for (std::size_t end = text.size(); end > 0;) {
    path.push_back(end);
    end = static_cast<std::size_t>(ends[end].begin);
  }
  std::size_t unknown_begin = 0;
  bool in_unknown = false;
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    const Node& node = ends[*it];
    const auto begin = static_cast<std::size_t>(node.begin);
    const bool unknown = node.id < 0 || node.id == options_.unk_id;
    if (unknown && !in_unknown) unknown_begin = begin;
    if (!unknown && in_unknown) {
      append_unknown(text.substr(unknown_begin, begin - unknown_begin), out);
    }
    if (!unknown) out.push_back(node.id);
    in_unknown = unknown;
  }
  if (in_unknown) append_unknown(text.substr(unknown_begin), out);
}

/// A run of unknown characters is one unknown token, or its bytes.
void Unigram::append_unknown(std::string_view text, std::vector<TokenId>& out) const {
  const auto has_byte = [&](char c) {
    return byte_ids_[static_cast<unsigned char>(c)].has_value();
  };
  if (options_.byte_fallback && std::all_of(text.begin(), text.end(), has_byte)) {
    for (const char c : text) out.push_back(*byte_ids_[static_cast<unsigned char>(c)]);
  } else if (options_.unk_id) {
    out.push_back(*options_.unk_id);
  }
}

}  // namespace spate
