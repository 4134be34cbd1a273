#include "chat/lexer.h"

#include <array>
#include <charconv>
#include <limits>

#include "chat/failure.h"
#include "chat/literals.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

constexpr auto kNotFound = std::string_view::npos;

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// The longest operators come first, so that "//" is not two divisions.
constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) root();
    add(TokenKind::kEnd, position_, position_);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] static void fail_at(std::size_t at, std::string message, std::string remedy = {}) {
    throw Failure{.message = std::move(message),
                  .remedy = std::move(remedy),
                  .located = true,
                  .begin = static_cast<std::int64_t>(at),
                  .end = static_cast<std::int64_t>(at) + 1};
  }

  Token& add(TokenKind kind, std::size_t begin, std::size_t end, std::string text = {}) {
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.begin = static_cast<std::int64_t>(begin);
    token.end = static_cast<std::int64_t>(end);
    token.text = std::move(text);
    return token;
  }

  bool at(std::size_t position, std::string_view what) const {
    return source_.substr(position, what.size()) == what;
  }

  std::size_t skip_space(std::size_t position) const {
    while (position < source_.size()) {
      const CodePoint c = code_point_at(source_, static_cast<std::int64_t>(position));
      if (!is_space(c.value)) break;
      position += static_cast<std::size_t>(c.n_bytes);
    }
    return position;
  }

  // The next "{%", "{{" or "{#" at or after `position`.
  std::size_t find_tag(std::size_t position) const {
    for (; (position = source_.find('{', position)) != kNotFound; ++position) {
      if (at(position, "{%") || at(position, "{{") || at(position, "{#")) return position;
    }
    return kNotFound;
  }

  // Text before a tag, cut as the sign after the tag's opening and lstrip_blocks demand.
  void add_data(std::size_t begin, std::size_t end, char sign, bool is_variable) {
    std::string_view text = source_.substr(begin, end - begin);
    if (sign == '-') {
      text = strip_space(text, Side::kRight);
    } else if (sign != '+' && !is_variable) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t line = newline == kNotFound ? 0 : newline + 1;
      const bool line_start = newline != kNotFound || line_starting_;
      if (line_start && strip_space(text.substr(line), Side::kBoth).empty())
        text = text.substr(0, line);
    }
    if (!text.empty()) add(TokenKind::kData, begin, begin + text.size(), std::string(text));
  }

  // Sets the position behind a tag and remembers whether that is the start of a line.
  void advance_to(std::size_t position) {
    line_starting_ = position > 0 && source_[position - 1] == '\n';
    position_ = position;
  }

  void root() {
    const std::size_t tag = find_tag(position_);
    if (tag == kNotFound) {
      add(TokenKind::kData, position_, source_.size(), std::string(source_.substr(position_)));
      position_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    std::size_t inside = tag + 2;
    char sign = inside < source_.size() ? source_[inside] : '\0';
    if (sign == '-' || sign == '+') {
      ++inside;
    } else {
      sign = '\0';
    }
    add_data(position_, tag, sign, kind == '{');
    if (kind == '#') return comment(tag, inside);
    if (kind == '%' && raw(tag, inside)) return;
    add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, tag, inside);
    code(inside, kind == '%');
  }

  void comment(std::size_t tag, std::size_t inside) {
    if (inside >= source_.size()) return advance_to(source_.size());  // Jinja2 lets this one pass
    const std::size_t close = source_.find("#}", inside);
    if (close == kNotFound) fail_at(tag, "a comment is never closed", "add '#}'");
    const char sign = close > inside ? source_[close - 1] : '\0';
    advance_to(after_close(close + 2, sign, true));
  }

  // Where text resumes behind a closing "%}", "}}" or "#}".
  std::size_t after_close(std::size_t position, char sign, bool trims_newline) const {
    if (sign == '-') return skip_space(position);
    if (sign != '+' && trims_newline && at(position, "\n")) return position + 1;
    return position;
  }

  // "{% raw %} ... {% endraw %}" as one piece of data; false if this tag is not raw.
  bool raw(std::size_t tag, std::size_t inside) {
    std::size_t p = skip_space(inside);
    if (!at(p, "raw")) return false;
    p = skip_space(p + 3);
    const bool strips = at(p, "-%}");
    if (!strips && !at(p, "%}")) return false;
    p = strips ? skip_space(p + 3) : p + 2;
    advance_to(p);
    if (p >= source_.size()) return true;  // Jinja2 lets this one pass
    for (std::size_t end = p; (end = source_.find("{%", end)) != kNotFound; end += 2) {
      if (end_raw(p, end)) return true;
    }
    fail_at(tag, "a raw block is never closed", "add '{% endraw %}'");
  }

  bool end_raw(std::size_t begin, std::size_t tag) {
    std::size_t p = tag + 2;
    const char open_sign = p < source_.size() ? source_[p] : '\0';
    if (open_sign == '-' || open_sign == '+') ++p;
    p = skip_space(p);
    if (!at(p, "endraw")) return false;
    p = skip_space(p + 6);
    const char sign = p < source_.size() ? source_[p] : '\0';
    if (sign == '-' || sign == '+') ++p;
    if (!at(p, "%}")) return false;
    add_data(begin, tag, open_sign, false);
    advance_to(after_close(p + 2, sign, true));
    return true;
  }

  void code(std::size_t position, bool is_block) {
    const std::string_view close = is_block ? "%}" : "}}";
    while (true) {
      position = skip_space(position);
      if (position >= source_.size()) {
        fail_at(source_.size(), "the template ends inside a tag",
                std::string("close it with '") + std::string(close) + "'");
      }
      const char c = source_[position];
      const bool signed_close = (c == '-' || (c == '+' && is_block)) && at(position + 1, close);
      if (open_.empty() && (signed_close || at(position, close))) {
        const std::size_t end = position + close.size() + (signed_close ? 1 : 0);
        add(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, position, end);
        advance_to(after_close(end, signed_close ? c : '\0', is_block));
        return;
      }
      position = token(position);
    }
  }

  std::size_t token(std::size_t p) {
    const char c = source_[p];
    if (is_ascii_digit(c)) return number(p);
    if (c == '\'' || c == '"') return string(p);
    if (const std::size_t end = name_end(p); end > p) {
      add(TokenKind::kName, p, end, std::string(source_.substr(p, end - p)));
      return end;
    }
    for (std::string_view op : kOperators) {
      if (at(p, op)) {
        balance(p, op);
        add(TokenKind::kOperator, p, p + op.size(), std::string(op));
        return p + op.size();
      }
    }
    fail_at(p, "unexpected character '" + std::string(source_.substr(p, 1)) + "'");
  }

  void balance(std::size_t p, std::string_view op) {
    if (op == "(" || op == "[" || op == "{") {
      open_.push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
    } else if (op == ")" || op == "]" || op == "}") {
      if (open_.empty()) fail_at(p, "unexpected '" + std::string(op) + "'");
      if (open_.back() != op[0]) {
        fail_at(p, "unexpected '" + std::string(op) + "', expected '" + open_.back() + "'");
      }
      open_.pop_back();
    }
  }

  std::size_t name_end(std::size_t p) const {
    const std::size_t begin = p;
    while (p < source_.size()) {
      const CodePoint c = code_point_at(source_, static_cast<std::int64_t>(p));
      const bool starts = c.value == '_' || is_alphabetic(c.value);
      if (!starts && (p == begin || !is_decimal(c.value))) break;
      p += static_cast<std::size_t>(c.n_bytes);
    }
    return p;
  }

  std::size_t number(std::size_t p) {
    const bool after_dot = p > 0 && source_[p - 1] == '.';
    const NumberSpan span = scan_number(source_, p, after_dot);
    std::string digits;
    for (char c : source_.substr(p, span.end - p)) {
      if (c != '_') digits += c;
    }
    if (span.is_float) {
      Token& token = add(TokenKind::kFloat, p, span.end);
      const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), token.real);
      const bool tiny = digits.find('-') != kNotFound;
      if (parsed.ec == std::errc::result_out_of_range) {
        token.real = tiny ? 0.0 : std::numeric_limits<double>::infinity();
      }
      return span.end;
    }
    Token& token = add(TokenKind::kInteger, p, span.end);
    const char* first = digits.data() + (span.base == 10 ? 0 : 2);
    const auto parsed =
        std::from_chars(first, digits.data() + digits.size(), token.integer, span.base);
    if (parsed.ec != std::errc{}) {
      fail_at(p, "the integer " + digits + " does not fit in 64 bits", "use a float, or a string");
    }
    return span.end;
  }

  std::size_t string(std::size_t p) {
    const char quote = source_[p];
    std::size_t end = p + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_at(p, "a string is never closed", std::string("add ") + quote);
    Token& token = add(TokenKind::kString, p, end + 1);
    try {
      token.text = unescape(source_.substr(p + 1, end - p - 1));
    } catch (const Failure& failure) {
      fail_at(p, failure.message, failure.remedy);
    }
    return end + 1;
  }

  std::string_view source_;
  std::size_t position_ = 0;
  bool line_starting_ = true;
  std::vector<char> open_{};  // closers of the brackets that are open in the current tag
  std::vector<Token> tokens_{};
};

}  // namespace

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace spate::chat
