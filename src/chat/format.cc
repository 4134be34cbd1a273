#include "chat/format.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

constexpr std::int64_t kMaxPrecision = 1000;

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }
bool is_digit_char(char c) { return c >= '0' && c <= '9'; }

std::int64_t parse_number(std::string_view text, std::size_t& p) {
  std::int64_t n = 0;
  for (; p < text.size() && is_digit_char(text[p]); ++p) {
    n = n * 10 + (text[p] - '0');
    if (n > std::numeric_limits<std::int32_t>::max()) fail("a width in a format is too large");
  }
  return n;
}

std::string integer_digits(std::uint64_t magnitude, unsigned base, bool upper) {
  constexpr std::string_view kLower = "0123456789abcdef";
  constexpr std::string_view kUpper = "0123456789ABCDEF";
  std::string out;
  do {
    out.insert(out.begin(), (upper ? kUpper : kLower)[magnitude % base]);
    magnitude /= base;
  } while (magnitude != 0);
  return out;
}

std::string group_digits(const std::string& digits, char separator) {
  std::size_t whole = 0;
  while (whole < digits.size() && is_digit_char(digits[whole])) ++whole;
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i != 0 && (whole - i) % 3 == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

std::string print_double(double magnitude, char type, std::int64_t precision, bool alternate) {
  if (precision > kMaxPrecision)
    fail("a precision in a format is too large", "use at most 1000 digits");
  const std::array<char, 6> pattern = alternate
                                          ? std::array<char, 6>{'%', '#', '.', '*', type, '\0'}
                                          : std::array<char, 6>{'%', '.', '*', type, '\0', '\0'};
  std::array<char, 1400>
      buffer{};  // 309 digits of the largest double, a point and kMaxPrecision more
  const int n = std::snprintf(buffer.data(), buffer.size(), pattern.data(),
                              static_cast<int>(precision), magnitude);  // NOLINT
  return std::string(buffer.data(), static_cast<std::size_t>(n));
}

std::string float_digits(double magnitude, const FormatSpec& spec) {
  if (!std::isfinite(magnitude)) {
    const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
    const std::string text =
        std::isnan(magnitude) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    return spec.type == '%' ? text + "%" : text;
  }
  if (spec.type == '%')
    return print_double(magnitude * 100, 'f', spec.precision.value_or(6), spec.alternate) + "%";
  if (spec.type == '\0' && !spec.precision) return float_text(magnitude);
  if (spec.type == '\0') {
    std::string text =
        print_double(magnitude, 'g', std::max<std::int64_t>(*spec.precision, 1), spec.alternate);
    if (text.find_first_of(".e") == std::string::npos) text += ".0";
    return text;
  }
  const char type = spec.type == 'n' ? 'g' : spec.type;
  return print_double(magnitude, type, spec.precision.value_or(6), spec.alternate);
}

std::string pad(Runtime& rt, const std::string& prefix, const std::string& body,
                const FormatSpec& spec, char align) {
  const std::int64_t missing = spec.width - count_code_points(prefix) - count_code_points(body);
  if (missing <= 0) return prefix + body;
  rt.heap.check_size(static_cast<double>(missing) * static_cast<double>(spec.fill.size()));
  const auto fill = [&](std::int64_t n) {
    std::string out;
    for (std::int64_t i = 0; i < n; ++i) out += spec.fill;
    return out;
  };
  switch (align) {
    case '<':
      return prefix + body + fill(missing);
    case '^':
      return fill(missing / 2) + prefix + body + fill(missing - missing / 2);
    case '=':
      return prefix + fill(missing) + body;
    default:
      return fill(missing) + prefix + body;
  }
}

std::string sign_of(bool negative, char sign) {
  if (negative) return "-";
  return sign == '-' ? "" : std::string(1, sign);
}

bool is_float_type(char type) {
  return std::string_view("eEfFgG%").find(type) != std::string_view::npos && type != '\0';
}

std::string format_integer(Runtime& rt, std::int64_t value, const FormatSpec& spec) {
  const auto magnitude =
      value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  std::string prefix = sign_of(value < 0, spec.sign);
  std::string digits;
  if (spec.precision) fail("a precision is not allowed for integers in a format");
  switch (spec.type) {
    case '\0':
    case 'd':
    case 'n':
      digits = integer_digits(magnitude, 10, false);
      break;
    case 'b':
      digits = integer_digits(magnitude, 2, false);
      break;
    case 'o':
      digits = integer_digits(magnitude, 8, false);
      break;
    case 'x':
    case 'X':
      digits = integer_digits(magnitude, 16, spec.type == 'X');
      break;
    case 'c':
      append_utf8(digits, static_cast<std::int32_t>(std::min<std::uint64_t>(magnitude, 0x10FFFF)));
      break;
    default:
      fail(std::string("unknown format code '") + spec.type + "' for an integer");
  }
  const bool has_prefix = spec.alternate && spec.type != '\0' &&
                          std::string_view("boxX").find(spec.type) != std::string_view::npos;
  if (has_prefix) prefix += std::string("0") + spec.type;
  if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping);
  return pad(rt, prefix, digits, spec, spec.align == '\0' ? '>' : spec.align);
}

std::string format_float(Runtime& rt, double value, const FormatSpec& spec) {
  if (spec.type != '\0' && spec.type != 'n' && !is_float_type(spec.type)) {
    fail(std::string("unknown format code '") + spec.type + "' for a float");
  }
  std::string digits = float_digits(std::fabs(value), spec);
  if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping);
  return pad(rt, sign_of(std::signbit(value), spec.sign), digits, spec,
             spec.align == '\0' ? '>' : spec.align);
}

std::string format_text(Runtime& rt, std::string_view text, const FormatSpec& spec) {
  if (spec.type != '\0' && spec.type != 's')
    fail(std::string("unknown format code '") + spec.type + "' for a string");
  if (spec.align == '=' || spec.sign != '-') fail("a format for numbers is applied to a string");
  if (spec.precision)
    text = text.substr(0, static_cast<std::size_t>(byte_offset(text, *spec.precision)));
  return pad(rt, "", std::string(text), spec, spec.align == '\0' ? '<' : spec.align);
}

}  // namespace

FormatSpec parse_format_spec(std::string_view text) {
  FormatSpec spec;
  std::size_t p = 0;
  if (!text.empty()) {
    const auto n = static_cast<std::size_t>(code_point_at(text, 0).n_bytes);
    if (n < text.size() && is_align(text[n])) {
      spec.fill = text.substr(0, n);
      spec.align = text[n];
      p = n + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0];
      p = 1;
    }
  }
  const auto take = [&](std::string_view set) {
    return p < text.size() && set.find(text[p]) != std::string_view::npos ? text[p++] : '\0';
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#") != '\0';
  if (take("0") != '\0' && spec.align == '\0') {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = parse_number(text, p);
  spec.grouping = take(",_");
  if (take(".") != '\0') {
    if (p == text.size() || !is_digit_char(text[p]))
      fail("a format has no digits behind its point");
    spec.precision = parse_number(text, p);
  }
  spec.type = take("bcdeEfFgGnosxX%");
  if (p != text.size())
    fail("the format '" + std::string(text) + "' is not valid",
         "see Python's format specifications");
  return spec;
}

std::string format_value(Runtime& rt, const Value& v, const FormatSpec& spec) {
  if (v.is_integral()) {
    if (is_float_type(spec.type)) return format_float(rt, static_cast<double>(v.as_int()), spec);
    return format_integer(rt, v.as_int(), spec);
  }
  if (v.is(Kind::kFloat)) return format_float(rt, v.as_float(), spec);
  std::string text;
  append_text(rt, text, v);
  return format_text(rt, text, spec);
}

}  // namespace spate::chat
