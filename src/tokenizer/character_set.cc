#include "tokenizer/character_set.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <cctype>

#include <fmt/format.h>
#include <pcre2.h>

namespace spate {
namespace {

bool compiles(const std::string& pattern) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP, &code, &offset, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

}  // namespace

std::string CharacterSet::text() const {
  if (single) return negated ? "\\P" + items.substr(2) : items;
  return fmt::format("[{}{}]", negated ? "^" : "", items);
}

CharacterSet find_named_set(std::string_view name) {
  struct Row {
    std::string_view name, items;
    bool single;
  };
  static constexpr std::array kRows = {
      Row{"alnum", "\\p{Alphabetic}\\p{Nd}", false},
      Row{"alpha", "\\p{Alphabetic}", true},
      Row{"digit", "\\p{Nd}", true},
      Row{"space", kSpaceItems, false},
      Row{"upper", "\\p{Uppercase}", true},
      Row{"lower", "\\p{Lowercase}", true},
      Row{"word", kWordItems, false},
      Row{"xdigit", "0-9a-fA-F", false},
      Row{"punct", "\\p{P}$+<=>^`|~", false},
      Row{"cntrl", "\\p{Cc}", true},
      Row{"letter", "\\p{L}", true},
      Row{"mark", "\\p{M}", true},
      Row{"number", "\\p{N}", true},
      Row{"punctuation", "\\p{P}", true},
      Row{"symbol", "\\p{S}", true},
      Row{"separator", "\\p{Z}", true},
      Row{"other", "\\p{C}", true},
      Row{"ascii", "\\x{0}-\\x{7f}", false},
      Row{"whitespace", kSpaceItems, false},
  };
  for (const Row& row : kRows) {
    if (row.name == name) return {std::string(row.items), false, row.single};
  }
  return {};
}

CharacterSet find_property(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      plain.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  CharacterSet set = find_named_set(plain);
  if (plain.empty() || !set.items.empty()) return set;
  // Since 10.40 a bare script name means Script_Extensions in PCRE2.
  const std::string script = fmt::format("\\p{{sc:{}}}", plain);
  if (plain.size() > 2 && compiles(script)) return {script, false, true};
  const std::string bare = fmt::format("\\p{{{}}}", plain);
  if (compiles(bare)) return {bare, false, true};
  return {};
}

}  // namespace spate
