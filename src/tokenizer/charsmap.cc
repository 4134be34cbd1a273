#include "tokenizer/charsmap.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/load_error.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

std::uint32_t load_u32(std::string_view blob, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value |= std::uint32_t{static_cast<unsigned char>(blob[at + i])} << (8 * i);
  }
  return value;
}

// The layout of a unit, after darts-clone's format.
bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }
std::uint32_t value(std::uint32_t unit) { return unit & 0x7FFFFFFF; }
std::uint32_t label(std::uint32_t unit) { return unit & 0x800000FF; }
std::uint32_t offset(std::uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }

bool in_character(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

}  // namespace

Charsmap Charsmap::parse(std::string_view blob, const std::string& where) {
  Charsmap map;
  if (blob.empty()) return map;
  const std::size_t trie_bytes = blob.size() < 4 ? 0 : load_u32(blob, 0);
  if (blob.size() < 4 || trie_bytes % 4 != 0 || trie_bytes > blob.size() - 4) {
    throw LoadError(ErrorCode::kCorrupt,
                    fmt::format("{}: a trie of {} bytes is announced in a table of {} bytes", where,
                                trie_bytes, blob.size()));
  }
  map.units_.resize(trie_bytes / 4);
  for (std::size_t i = 0; i < map.units_.size(); ++i) map.units_[i] = load_u32(blob, 4 + 4 * i);
  map.texts_ = blob.substr(4 + trie_bytes);
  if (!is_valid_utf8(map.texts_)) {
    throw LoadError(ErrorCode::kCorrupt, fmt::format("{}: its texts are not UTF-8", where));
  }
  return map;
}

/// Every index is checked, and that no character is cut: the table comes from a file.
std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool shortest) const {
  if (units_.empty()) return std::nullopt;
  std::optional<Match> best;
  std::size_t node = offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit) || in_character(text, i + 1)) continue;
    const std::size_t at = node < units_.size() ? value(units_[node]) : texts_.size();
    if (at >= texts_.size() || in_character(texts_, at)) continue;
    const std::size_t end = std::min(texts_.find('\0', at), texts_.size());
    best = Match{i + 1, {texts_.data() + at, end - at}};
    if (shortest) break;
  }
  return best;
}

std::optional<std::string> decode_base64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xFF));
    }
  }
  return out;
}

}  // namespace spate
