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
#include "tokenizer/character_set.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

constexpr std::string_view kAnything = "(?s:.)";
constexpr int kMaxNesting = 100;

/// One operand of && inside a class: plain items, and sets that only work as alternatives.
struct Operand {
  std::string items{};
  std::vector<std::string> others{};

  void add(const CharacterSet& set) {
    if (set.negated) {
      others.push_back(set.text());
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
  CharacterSet property(bool negated);
  bool set_escape(CharacterSet& set);
  bool posix_class(CharacterSet& set);
  std::string code_point_escape();
  std::string bracket_class(int depth);
  void class_item(Operand& operand, int depth);

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
  if (peek() == '*') refuse("has a ( before a *");  // a verb of PCRE2
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
  CharacterSet set;
  if (set_escape(set)) {
    out_ += set.text();
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
    const std::string same = fmt::format("(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}])", kWordItems);
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
bool Translator::set_escape(CharacterSet& set) {
  const char c = peek();
  switch (c) {
    case 's':
    case 'S':
      set = {std::string(kSpaceItems), c == 'S'};
      break;
    case 'w':
    case 'W':
      set = {std::string(kWordItems), c == 'W'};
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

CharacterSet Translator::property(bool negated) {
  const std::size_t close = in_.find('}', at_);
  if (peek() != '{' || close == std::string_view::npos) refuse("has a \\p without {name}");
  std::string_view name = in_.substr(at_ + 1, close - at_ - 1);
  at_ = close + 1;
  if (!name.empty() && name.front() == '^') {
    negated = !negated;
    name.remove_prefix(1);
  }
  CharacterSet set = find_property(name);
  if (set.items.empty()) {
    refuse(fmt::format("names the unknown character property '{}'", name));
  }
  set.negated = negated;
  return set;
}

/// [:name:] and [:^name:] inside a class.
bool Translator::posix_class(CharacterSet& set) {
  if (!(peek() == '[' && peek(1) == ':')) return false;
  const std::size_t close = in_.find(":]", at_);
  if (close == std::string_view::npos) return false;
  std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
  const bool negated = !name.empty() && name.front() == '^';
  if (negated) name.remove_prefix(1);
  set = find_named_set(name);
  if (set.items.empty()) refuse(fmt::format("has the unknown class [:{}:]", name));
  set.negated = negated;
  at_ = close + 2;
  return true;
}

/// One element of a class: a nested class, a set, an escape or a character.
void Translator::class_item(Operand& operand, int depth) {
  CharacterSet set;
  if (posix_class(set)) return operand.add(set);
  if (take("[")) {
    operand.others.push_back(bracket_class(depth + 1));
    return;
  }
  if (take("]")) {  // only reached as the first element, where it stands for itself
    operand.items += "\\]";
    return;
  }
  if (!take("\\")) {
    operand.items += take_char();
    return;
  }
  if (at_ >= in_.size()) refuse("ends in a backslash");
  if (set_escape(set)) return operand.add(set);
  const char c = peek();
  if (c == 'u' || c == 'x' || c == 'v') {
    operand.items += code_point_escape();
  } else {
    operand.items += '\\';
    operand.items += take_char();
  }
}

/// What follows a '[', up to its ']', as a pattern that matches one character.
std::string Translator::bracket_class(int depth) {
  if (depth > kMaxNesting) refuse("nests too deeply");
  const bool negated = take("^");
  std::vector<Operand> operands(1);
  for (bool first = true; first || !take("]"); first = false) {
    if (at_ >= in_.size()) refuse("has an unclosed [");
    if (take("&&")) {
      operands.emplace_back();
    } else {
      class_item(operands.back(), depth);
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
