// Unigram language model (Kudo, 2018): the segmentation with the highest sum of scores, found by
// Viterbi over the positions of the text. Serves tokenizer.json and SentencePiece, which differ in
// the width of the sums.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/model.h"

namespace spate {

struct UnigramPiece {
  TokenId id = 0;
  double score = 0;
  bool user_defined = false;  // SentencePiece: beats every other segmentation
};

struct UnigramOptions {
  std::optional<TokenId> unk_id = std::nullopt;
  bool byte_fallback = false;
  bool single_precision = false;  // SentencePiece keeps float sums, Hugging Face double
  double min_score = 0;           // of normal pieces; an unknown character costs 10 more
  double max_score = 0;
};

class Unigram final : public Model {
 public:
  /// `pieces` are those that text can be cut into; their texts are in `vocab`.
  Unigram(Vocab vocab, const std::vector<UnigramPiece>& pieces, UnigramOptions options);

  void encode(std::string_view word, std::vector<TokenId>& out) const override;

 private:
  struct Node {
    double score = 0;
    std::int32_t begin = -1;  // -1: not reached yet
    TokenId id = -1;          // -1: unknown
  };
  void extend(std::string_view text, std::size_t begin, std::vector<Node>& ends) const;
  void encode_chunk(std::string_view text, std::vector<TokenId>& out) const;
  void append_unknown(std::string_view text, std::vector<TokenId>& out) const;

  UnigramOptions options_;
  ByteTrie trie_{};  // values index pieces_
  std::vector<UnigramPiece> pieces_;
  std::array<std::optional<TokenId>, 256> byte_ids_{};
};

}  // namespace spate
