#include "chat/literals.h"

#include <charconv>
#include <cstdint>

#include "chat/failure.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

bool is_digit_of(char c, int base) {
  if (c >= '0' && c <= '9') return c - '0' < base;
  return base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
}

// digits(_digits)*, possibly empty.
std::size_t digits_end(std::string_view s, std::size_t p, int base) {
  while (p < s.size()) {
    if (is_digit_of(s[p], base)) {
      ++p;
    } else if (s[p] == '_' && p + 1 < s.size() && is_digit_of(s[p + 1], base)) {
      p += 2;
    } else {
      break;
    }
  }
  return p;
}

std::size_t exponent_end(std::string_view s, std::size_t p) {
  if (p >= s.size() || (s[p] != 'e' && s[p] != 'E')) return p;
  std::size_t digits = p + 1;
  if (digits < s.size() && (s[digits] == '+' || s[digits] == '-')) ++digits;
  if (digits >= s.size() || !is_digit_of(s[digits], 10)) return p;
  return digits_end(s, digits, 10);
}

int prefix_base(std::string_view s, std::size_t p) {
  if (s[p] != '0' || p + 2 >= s.size()) return 10;
  switch (s[p + 1]) {
    case 'x':
    case 'X':
      return is_digit_of(s[p + 2], 16) ? 16 : 10;
    case 'o':
    case 'O':
      return is_digit_of(s[p + 2], 8) ? 8 : 10;
    case 'b':
    case 'B':
      return is_digit_of(s[p + 2], 2) ? 2 : 10;
    default:
      return 10;
  }
}

std::int32_t hex_value(std::string_view digits, std::size_t wanted) {
  std::uint32_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  const bool whole = parsed.ptr == digits.data() + digits.size();
  if (digits.size() != wanted || parsed.ec != std::errc{} || !whole) {
    fail("a string has a broken \\x, \\u or \\U escape",
         "write " + std::to_string(wanted) + " hex digits");
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    fail("a string escapes a code point that is not a character", "write the character itself");
  }
  return static_cast<std::int32_t>(value);
}

std::size_t append_octal(std::string& out, std::string_view body, std::size_t p) {
  std::int32_t value = 0;
  std::size_t end = p;
  while (end < body.size() && end < p + 3 && is_digit_of(body[end], 8)) {
    value = value * 8 + (body[end++] - '0');
  }
  append_utf8(out, value);
  return end;
}

char simple_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return '\0';
  }
}

std::size_t hex_digits(char c) { return c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0; }

// Appends what the escape at `p` (behind the backslash) means and returns the position behind it.
std::size_t append_escape(std::string& out, std::string_view body, std::size_t p) {
  const char c = body[p];
  if (const char simple = simple_escape(c); simple != '\0') {
    out += simple;
    return p + 1;
  }
  if (const std::size_t wanted = hex_digits(c); wanted != 0) {
    append_utf8(out, hex_value(body.substr(p + 1, wanted), wanted));
    return p + 1 + wanted;
  }
  if (is_digit_of(c, 8)) return append_octal(out, body, p);
  if (c == '\n') return p + 1;
  if (c == 'N') fail("a string uses \\N{...}", "write the character itself");
  out += '\\';
  return p;
}

}  // namespace

NumberSpan scan_number(std::string_view source, std::size_t begin, bool after_dot) {
  if (const int base = prefix_base(source, begin); base != 10) {
    return {.end = digits_end(source, begin + 2, base), .base = base};
  }
  const std::size_t whole = digits_end(source, begin, 10);
  if (!after_dot) {
    std::size_t end = whole;
    if (end + 1 < source.size() && source[end] == '.' && is_digit_of(source[end + 1], 10)) {
      end = digits_end(source, end + 1, 10);
    }
    end = exponent_end(source, end);
    if (end != whole) return {.end = end, .is_float = true};
  }
  if (source[begin] != '0') return {.end = whole};
  // Python has no octal literals like 017: the zeros end the number.
  std::size_t zeros = begin;
  while (zeros < whole && (source[zeros] == '0' || source[zeros] == '_')) ++zeros;
  return {.end = zeros};
}

std::string unescape(std::string_view body) {
  std::string out;
  out.reserve(body.size());
  for (std::size_t p = 0; p < body.size();) {
    if (body[p] != '\\' || p + 1 == body.size()) {
      out += body[p++];
    } else {
      p = append_escape(out, body, p + 1);
    }
  }
  return out;
}

}  // namespace spate::chat
