// The contents of a SentencePiece model file (sentencepiece_model.proto) as plain data, and the
// normalizer and BPE model that follow it. Unigram models are unigram.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"

namespace spate {

enum class PieceType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Piece {
  std::string text{};
  float score = 0;
  PieceType type = PieceType::kNormal;

  /// Can text be cut into it?
  bool matches_text() const {
    return type == PieceType::kNormal || type == PieceType::kUserDefined ||
           type == PieceType::kUnused;
  }
};

struct SentencePieceModel {
  enum class Algorithm : std::uint8_t { kUnigram = 1, kBpe = 2 };
  Algorithm algorithm = Algorithm::kUnigram;
  std::vector<Piece> pieces{};  // by id
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string bos_piece = "<s>", eos_piece = "</s>", unk_piece = "<unk>", pad_piece = "<pad>";
  // Normalization.
  std::string charsmap{};
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Throws LoadError with the offset of what is wrong.
SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source);

/// Rewrites characters by the charsmap, collapses spaces, and writes them as U+2581.
class SentencePieceNormalizer final : public Normalizer {
 public:
  SentencePieceNormalizer(const SentencePieceModel& model, const std::string& source);
  void apply(std::string& text) const override;

 private:
  struct Step {
    std::size_t length = 0;  // of the input
    std::string_view text{};
  };
  Step step(std::string_view text) const;
  void append(std::string_view text, std::string& out) const;

  Charsmap charsmap_;
  ByteTrie user_defined_{};  // kept as they are
  std::string_view space_;
  bool dummy_prefix_, dummy_suffix_, collapse_;
};

/// SentencePiece's BPE: of all neighbours whose joined text is a piece, the one with the highest
/// score merges, the leftmost among equals.
class SentencePieceBpe final : public Model {
 public:
  /// `vocab` has all pieces by id.
  SentencePieceBpe(Vocab vocab, SentencePieceModel model);
  void encode(std::string_view text, std::vector<TokenId>& out) const override;

 private:
  struct Symbol {
    std::int32_t begin = 0, length = 0;  // length 0: merged into its left neighbour
    std::int32_t previous = -1, next = -1;
    bool frozen = false;  // user-defined pieces do not merge
  };
  struct Cut {
    std::string_view text;
    std::int32_t left;  // bytes of its left part
  };
  std::int32_t find(std::string_view text) const;
  void encode_word(std::string_view word, std::vector<TokenId>& out) const;
  std::vector<Symbol> symbols(std::string_view word) const;
  void merge(std::string_view word, std::vector<Symbol>& symbols, std::vector<Cut>& cuts) const;
  void emit(std::string_view text, const std::vector<Cut>& cuts, std::vector<TokenId>& out) const;
  void emit_unknown(std::string_view text, std::vector<TokenId>& out) const;

  SentencePieceModel model_;
  ByteTrie user_defined_{};
  std::vector<TokenId> byte_ids_{};  // 256, or none
  TokenId unk_id_ = -1;
  std::size_t longest_ = 0;
  bool split_at_meta_ = false;  // as in Bpe
};

}  // namespace spate
