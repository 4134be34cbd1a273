// SentencePiece's precompiled normalization table: a double-array trie (Darts, Yata et al., 2007)
// from byte sequences to replacement texts, as found in tokenizer.model and, in base64, in
// tokenizer.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spate {

class Charsmap {
 public:
  /// An empty blob is the empty map. Throws LoadError, starting with `where`, for a blob whose
  /// sizes contradict each other.
  static Charsmap parse(std::string_view blob, const std::string& where);

  struct Match {
    std::size_t length = 0;  // of the key, in bytes
    std::string_view replacement{};
  };
  /// The longest or the shortest key that is a prefix of `text`.
  std::optional<Match> longest(std::string_view text) const { return find(text, false); }
  std::optional<Match> shortest(std::string_view text) const { return find(text, true); }

 private:
  std::optional<Match> find(std::string_view text, bool shortest) const;

  std::vector<std::uint32_t> units_{};
  std::string texts_{};  // each ends in a NUL
};

/// The bytes of base64 text; nothing if it is not base64 (RFC 4648, padding optional).
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace spate
