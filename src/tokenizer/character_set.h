// Sets of characters as the inside of a PCRE2 bracket expression, and Oniguruma's names for them.
#pragma once

#include <string>
#include <string_view>

namespace spate {

// White_Space of Unicode. PCRE2's own \s under UCP also takes U+180E.
inline constexpr std::string_view kSpaceItems =
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"
    "\\x{3000}";
inline constexpr std::string_view kWordItems = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

/// The inside of a bracket expression, or the complement of one.
struct CharacterSet {
  std::string items{};  // empty: there is no such set
  bool negated = false;
  bool single = false;  // `items` is one \p{..}, which needs no brackets

  std::string text() const;
};

/// The names Oniguruma has besides categories, scripts and binary properties; lower case.
CharacterSet find_named_set(std::string_view name);
/// What \p{name} means; case, spaces, - and _ in the name do not matter.
CharacterSet find_property(std::string_view name);

}  // namespace spate
