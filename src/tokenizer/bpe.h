// Byte-pair encoding (Sennrich et al., 2016) with ranked merges of token pairs, as in
// tokenizer.json: byte-level, or characters with byte fallback.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/model.h"

namespace spate {

struct BpeOptions {
  std::optional<std::string> unk_token = std::nullopt;
  std::string continuing_subword_prefix{};
  std::string end_of_word_suffix{};
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

/// Pairs of tokens and what they merge into, by one probe of an open hash table.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = 0;
    TokenId id = -1;  // -1: the pair does not merge
  };
  void reserve(std::int64_t merges);
  /// The last of equal pairs counts.
  void add(TokenId left, TokenId right, Merge merge);
  Merge find(TokenId left, TokenId right) const {
    if (slots_.empty()) return {};
    const std::uint64_t key = key_of(left, right);
    for (std::size_t i = start(key);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kFree) return {};
    }
  }

 private:
  struct Slot {
    std::uint64_t key = kFree;
    Merge merge{};
  };
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};
  static std::uint64_t key_of(TokenId left, TokenId right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t start(std::uint64_t key) const {
    return static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ULL >> shift_);
  }

  std::vector<Slot> slots_{};
  int shift_ = 0;
};

class Bpe final : public Model {
 public:
  /// `merges` by falling priority; the strings are tokens. Throws LoadError, starting with
  /// `where`, for a merge whose parts or result are not in the vocabulary.
  Bpe(Vocab vocab, const std::vector<std::pair<std::string, std::string>>& merges,
      BpeOptions options, const std::string& where);

  void encode(std::string_view word, std::vector<TokenId>& out) const override;

 private:
  void add_merge(const std::pair<std::string, std::string>& merge, std::uint32_t rank,
                 const std::string& where);
  void index_characters();
  void encode_word(std::string_view word, std::vector<TokenId>& out) const;
  void characters(std::string_view word, std::vector<TokenId>& symbols) const;
  std::optional<TokenId> character(std::string_view word, std::size_t at, std::size_t length) const;
  bool append_bytes(std::string_view text, std::vector<TokenId>& symbols) const;
  // Both merge in place and return how many symbols are left.
  std::size_t merge_short(std::span<TokenId> symbols) const;
  std::size_t merge_long(std::span<TokenId> symbols) const;

  BpeOptions options_;
  MergeTable merges_{};
  std::optional<TokenId> unk_id_{};
  std::array<TokenId, 0x3000> character_ids_{};         // -1: no token
  std::array<std::optional<TokenId>, 256> byte_ids_{};  // of <0x00> to <0xFF>
  bool plain_ = true;                                   // neither prefix nor suffix
  bool split_at_meta_ = false;  // no merge crosses into a U+2581, so that words are independent
};

}  // namespace spate
