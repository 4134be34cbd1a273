#include "tokenizer/oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <vector>

#include <fmt/format.h>
#include <pcre2.h>

#include "core/load_error.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

// White_Space of Unicode. PCRE2's own \s under UCP also takes U+180E.
constexpr std::string_view kSpace =
    "\\t-\\r "
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::string_view kAnything = "(?s:.)";
constexpr int kMaxNesting = 100;

/// The inside of a bracket expression, or the complement of one.
struct CharSet {
  std::string items{};
  bool negated = false;
  bool single = false;  // `items` is one \p{..}, which needs no brackets
};

std::string bracket(const CharSet& set) {
  if (set.single) return set.negated ? "\\P" + set.items.substr(2) : set.items;
  return fmt::format("[{}{}]", set.negated ? "^" : "", set.items);
}

bool compiles(const std::string& pattern) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP, &code, &offset, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

/// The names Oniguruma knows besides categories, scripts and binary properties.
CharSet named_set(std::string_view name) {
  struct Row {
    std::string_view name, items;
    bool single;
  };
  static constexpr std::array kRows = {
      Row{"alnum", "\\p{Alphabetic}\\p{Nd}", false},
      Row{"alpha", "\\p{Alphabetic}", true},
      Row{"digit", "\\p{Nd}", true},
      Row{"space", kSpace, false},
      Row{"upper", "\\p{Uppercase}", true},
      Row{"lower", "\\p{Lowercase}", true},
      Row{"word", kWord, false},
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
      Row{"whitespace", kSpace, false},
  };
  for (const Row& row : kRows) {
    if (row.name == name) return {std::string(row.items), false, row.single};
  }
  return {};
}

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw LoadError(ErrorCode::kUnsupported,
                    fmt::format("{}: the regular expression {} at byte {} of '{}'", where_, what,
                                at_, in_.substr(0, 200)));
  }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0';
  }
  bool take(std::string_view text) {
    if (in_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  std::string_view take_char() {
    const std::size_t length = utf8_length(in_, at_);
    at_ += length;
    return in_.substr(at_ - length, length);
  }

  void step();
  void group_open();
  void group_close();
  void interval();
  void escape();
  CharSet property(bool negated);
  bool set_escape(CharSet& set);
  bool posix_class(CharSet& set);
  std::string code_point_escape();
  std::string bracket_class(int depth);

  std::string_view in_;
  std::string_view where_;
  std::size_t at_ = 0;
  std::string out_{};
  std::size_t atom_ = 0;               // where in out_ the last atom begins
  std::vector<std::size_t> groups_{};  // where in out_ the open groups begin
};

void Translator::step() {
  switch (peek()) {
    case '\\':
      return escape();
    case '(':
      return group_open();
    case ')':
      return group_close();
    case '{':
      return interval();
    case '[': {
      ++at_;
      atom_ = out_.size();
      const std::string text = bracket_class(0);
      out_ += text;
      return;
    }
    case '*':
    case '+':
    case '?':
    case '|':
      out_.push_back(in_[at_++]);
      return;
    default:
      atom_ = out_.size();
      out_ += take_char();
  }
}

void Translator::group_open() {
  groups_.push_back(out_.size());
  if (groups_.size() > kMaxNesting) refuse("nests too deeply");
  ++at_;
  out_.push_back('(');
  if (peek() != '?') return;
  ++at_;
  if (take("#")) {
    while (at_ < in_.size() && in_[at_] != ')') ++at_;
    out_ += "?:";
    return;
  }
  out_.push_back('?');
  for (const std::string_view plain : {":", "=", "!", ">", "<=", "<!", "<"}) {
    if (take(plain)) {
      out_ += plain;
      return;
    }
  }
  for (; at_ < in_.size() && peek() != ':' && peek() != ')'; ++at_) {
    const char option = peek();
    if (option != 'i' && option != 'm' && option != 'x' && option != '-') {
      refuse("has a group option that Oniguruma's Ruby syntax does not know");
    }
    out_.push_back(option == 'm' ? 's' : option);  // Ruby's (?m) lets . match a newline
  }
  if (peek() == ')' && groups_.back() != 0) {
    refuse("switches an option in its middle; write (?i:...) instead");
  }
  if (take(":")) out_.push_back(':');
}

void Translator::group_close() {
  if (groups_.empty()) refuse("has an unmatched )");
  atom_ = groups_.back();
  groups_.pop_back();
  out_.push_back(in_[at_++]);
}

/// {n}, {n,}, {n,m} and Oniguruma's {,m}; anything else is a literal brace. A suffix + repeats the
/// whole and ? after {n} makes it optional, unlike in PCRE2.
void Translator::interval() {
  std::size_t end = at_ + 1;
  const auto digits = [&] {
    const std::size_t begin = end;
    while (end < in_.size() && std::isdigit(static_cast<unsigned char>(in_[end])) != 0) ++end;
    return in_.substr(begin, end - begin);
  };
  const std::string_view low = digits();
  const bool comma = end < in_.size() && in_[end] == ',';
  if (comma) ++end;
  const std::string_view high = comma ? digits() : low;
  if (end >= in_.size() || in_[end] != '}' || (low.empty() && high.empty())) {
    atom_ = out_.size();
    out_ += "\\{";
    ++at_;
    return;
  }
  at_ = end + 1;
  out_ += fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, comma ? "," : "", comma ? high : "");
  const bool optional = !comma && peek() == '?';
  if (peek() == '+' || optional) {
    out_.insert(atom_, "(?:");
    out_ += optional ? ")?" : ")+";
    ++at_;
  }
}

void Translator::escape() {
  atom_ = out_.size();
  ++at_;
  if (at_ >= in_.size()) refuse("ends in a backslash");
  CharSet set;
  if (set_escape(set)) {
    out_ += bracket(set);
    return;
  }
  const char c = peek();
  if (c == 'u' || c == 'x' || c == 'v') {
    out_ += code_point_escape();
    return;
  }
  if (c == 'b' || c == 'B') {
    // PCRE2's own boundaries follow its own, narrower \w.
    ++at_;
    const std::string same = fmt::format("(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}])", kWord);
    out_ += fmt::format("(?{}{})", c == 'b' ? '!' : ':', same);
    return;
  }
  out_.push_back('\\');
  out_ += take_char();
}

/// \uHHHH, \xHH, \x{H..} and \v (a vertical tab in Ruby).
std::string Translator::code_point_escape() {
  const char kind = in_[at_++];
  if (kind == 'v') return "\\x{b}";
  const bool braces = kind == 'x' && take("{");
  const std::size_t most = braces ? 8 : kind == 'u' ? 4 : 2;
  std::string digits;
  while (digits.size() < most && std::isxdigit(static_cast<unsigned char>(peek())) != 0) {
    digits.push_back(in_[at_++]);
  }
  if (digits.empty() || (kind == 'u' && digits.size() != 4) || (braces && !take("}"))) {
    refuse("has a malformed code point escape");
  }
  return fmt::format("\\x{{{}}}", digits);
}

/// \s \S \w \W \h \H \d \D \p{..} \P{..}; false and nothing consumed for other escapes.
bool Translator::set_escape(CharSet& set) {
  const char c = peek();
  switch (c) {
    case 's':
    case 'S':
      set = {std::string(kSpace), c == 'S'};
      break;
    case 'w':
    case 'W':
      set = {std::string(kWord), c == 'W'};
      break;
    case 'h':
    case 'H':
      set = {"0-9a-fA-F", c == 'H'};
      break;
    case 'd':
    case 'D':
      set = {"\\p{Nd}", c == 'D', true};
      break;
    case 'p':
    case 'P':
      ++at_;
      set = property(c == 'P');
      return true;
    default:
      return false;
  }
  ++at_;
  return true;
}

CharSet Translator::property(bool negated) {
  const std::size_t close = in_.find('}', at_);
  if (peek() != '{' || close == std::string_view::npos) refuse("has a \\p without {name}");
  std::string_view name = in_.substr(at_ + 1, close - at_ - 1);
  at_ = close + 1;
  if (!name.empty() && name.front() == '^') {
    negated = !negated;
    name.remove_prefix(1);
  }
  std::string plain;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      plain.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  CharSet set = named_set(plain);
  if (set.items.empty()) {
    // Since 10.40 a bare script name means Script_Extensions in PCRE2.
    const std::string script = fmt::format("\\p{{sc:{}}}", plain);
    const bool is_script = plain.size() > 2 && compiles(script);
    set = {is_script ? script : fmt::format("\\p{{{}}}", plain), false, true};
    if (plain.empty() || !compiles(set.items)) {
      refuse(fmt::format("names the unknown character property '{}'", name));
    }
  }
  set.negated = negated;
  return set;
}

/// [:name:] and [:^name:] inside a class.
bool Translator::posix_class(CharSet& set) {
  if (!(peek() == '[' && peek(1) == ':')) return false;
  const std::size_t close = in_.find(":]", at_);
  if (close == std::string_view::npos) return false;
  std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
  const bool negated = !name.empty() && name.front() == '^';
  if (negated) name.remove_prefix(1);
  set = named_set(name);
  if (set.items.empty()) refuse(fmt::format("has the unknown class [:{}:]", name));
  set.negated = negated;
  at_ = close + 2;
  return true;
}

/// One operand of && inside a class: plain items, and sets that only work as alternatives.
struct Operand {
  std::string items{};
  std::vector<std::string> others{};

  void add(const CharSet& set) {
    if (set.negated) {
      others.push_back(bracket(set));
    } else {
      items += set.items;
    }
  }
  std::string text() const {
    if (others.empty()) return fmt::format("[{}]", items);
    if (items.empty() && others.size() == 1) return others[0];
    std::string joined = items.empty() ? "" : fmt::format("[{}]|", items);
    for (std::size_t i = 0; i < others.size(); ++i) joined += (i > 0 ? "|" : "") + others[i];
    return fmt::format("(?:{})", joined);
  }
};

/// What follows a '[', up to its ']', as a pattern that matches one character.
std::string Translator::bracket_class(int depth) {
  if (depth > kMaxNesting) refuse("nests too deeply");
  const bool negated = take("^");
  std::vector<Operand> operands(1);
  for (bool first = true;; first = false) {
    if (at_ >= in_.size()) refuse("has an unclosed [");
    Operand& operand = operands.back();
    CharSet set;
    if (!first && take("]")) break;
    if (take("&&")) {
      operands.emplace_back();
    } else if (posix_class(set)) {
      operand.add(set);
    } else if (take("[")) {
      operand.others.push_back(bracket_class(depth + 1));
    } else if (peek() == '\\') {
      ++at_;
      if (at_ >= in_.size()) refuse("ends in a backslash");
      const char c = peek();
      if (set_escape(set)) {
        operand.add(set);
      } else if (c == 'u' || c == 'x' || c == 'v') {
        operand.items += code_point_escape();
      } else {
        operand.items += '\\';
        operand.items += take_char();
      }
    } else {
      const std::string_view c = take_char();
      if (c == "]" || c == "[") operand.items += '\\';
      operand.items += c;
    }
  }
  if (operands.size() == 1 && operands[0].others.empty()) {
    return fmt::format("[{}{}]", negated ? "^" : "", operands[0].items);
  }
  std::string all;
  for (std::size_t i = 0; i + 1 < operands.size(); ++i) {
    all += fmt::format("(?={})", operands[i].text());
  }
  all += operands.back().text();
  return negated ? fmt::format("(?:(?!{}){})", all, kAnything) : fmt::format("(?:{})", all);
}

}  // namespace

std::string translate_oniguruma(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).run();
}

}  // namespace spate
