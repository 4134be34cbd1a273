// Filters that make or round numbers, and default.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "chat/filters.h"
#include "chat/numbers.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

// Digits without underscores, each of which must stand between two digits or letters.
std::optional<std::string> drop_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() &&
                         std::isalnum(static_cast<unsigned char>(text[i - 1])) != 0 &&
                         std::isalnum(static_cast<unsigned char>(text[i + 1])) != 0;
    if (!between) return std::nullopt;
  }
  return out;
}

bool drop_prefix(std::string& digits, std::int64_t& base) {
  if (digits.size() < 2 || digits[0] != '0') return true;
  const char letter = static_cast<char>(digits[1] | 0x20);
  const std::int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (named != 0 && (base == named || base == 0)) {
    digits.erase(0, 2);
    base = named;
    return true;
  }
  return base != 0 ||
         digits.find_first_not_of('0') == std::string::npos;  // int('017', 0) is an error
}

Value default_value(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("default", arguments, {"default_value", "boolean"}, 0);
  const bool missing = input.is_undefined() || (bound.boolean(1, false) && !truthy(input));
  if (!missing) return input;
  return bound[0] == nullptr ? rt.heap.string("") : bound.at(0);
}

Value truncated(double d) {
  if (!(std::fabs(d) < 9.2e18))
    fail("a float is too large for an integer", "Spate's integers have 64 bits");
  return Value::integer(static_cast<std::int64_t>(d));
}

Value to_int(Runtime& /*rt*/, const Value& input, const Arguments& arguments) {
  const Bound bound("int", arguments, {"default", "base"}, 0);
  if (input.is_undefined()) fail_undefined(input);
  if (input.is_integral()) return Value::integer(input.as_int());
  const Value otherwise = bound[0] == nullptr ? Value::integer(0) : bound.at(0);
  std::optional<double> number;
  if (input.is(Kind::kFloat)) {
    if (std::isinf(input.as_float())) fail("an infinite float has no integer");
    number = input.as_float();
  } else if (input.is_string()) {
    if (const auto whole = parse_integer(input.text(), bound.integer(1, 10)))
      return Value::integer(*whole);
    number = parse_float(input.text());
  }
  return number && std::isfinite(*number) ? truncated(*number) : otherwise;
}

Value to_float(Runtime& /*rt*/, const Value& input, const Arguments& arguments) {
  const Bound bound("float", arguments, {"default"}, 0);
  if (input.is_undefined()) fail_undefined(input);
  if (input.is_numeric()) return Value::number(input.as_float());
  if (input.is_string()) {
    if (const auto number = parse_float(input.text())) return Value::number(*number);
  }
  return bound[0] == nullptr ? Value::number(0.0) : bound.at(0);
}

Value absolute(Runtime& /*rt*/, const Value& input, const Arguments& /*arguments*/) {
  if (input.is(Kind::kFloat)) return Value::number(std::fabs(input.as_float()));
  if (!input.is_integral()) fail_operand("abs", input);
  return input.as_int() < 0 ? negate(input) : positive(input);
}

// The decimal with this many digits that is nearest to the exact binary value; ties to even.
double round_float(double d, std::int64_t precision) {
  if (!std::isfinite(d) || precision > 300) return d;
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return std::isfinite(scale) ? std::nearbyint(d / scale) * scale : std::copysign(0.0, d);
  }
  std::array<char, 700> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(precision), d);  // NOLINT
  return std::strtod(buffer.data(), nullptr);
}

std::int64_t round_integer(std::int64_t i, std::int64_t precision) {
  if (precision >= 0) return i;
  if (precision < -18) return 0;
  std::int64_t scale = 1;
  for (std::int64_t k = precision; k < 0; ++k) scale *= 10;
  std::int64_t quotient = i / scale;
  const std::int64_t rest = std::abs(i % scale);
  const bool away = rest > scale - rest || (rest == scale - rest && quotient % 2 != 0);
  if (away) quotient += i < 0 ? -1 : 1;
  if (std::abs(quotient) > std::numeric_limits<std::int64_t>::max() / scale)
    fail("an integer overflows");
  return quotient * scale;
}

Value round(Runtime& /*rt*/, const Value& input, const Arguments& arguments) {
  const Bound bound("round", arguments, {"precision", "method"}, 0);
  if (!input.is_numeric()) fail_operand("round", input);
  const std::int64_t precision = bound.integer(0, 0);
  const std::string_view method = bound.text(1, "common");
  if (method == "common") {
    if (input.is(Kind::kFloat)) return Value::number(round_float(input.as_float(), precision));
    return Value::integer(round_integer(input.as_int(), precision));
  }
  if (method != "ceil" && method != "floor") fail("round's method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.as_float() * scale;
  const double result = (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
  if (!std::isfinite(result)) fail("round overflows", "use a smaller precision");
  return Value::number(result);
}

constexpr std::array kNumberFilters = std::to_array<FilterEntry>({
    {"abs", absolute},
    {"d", default_value},
    {"default", default_value},
    {"float", to_float},
    {"int", to_int},
    {"round", round},
});

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text, std::int64_t base) {
  text = strip_space(text, Side::kBoth);
  if (base != 0 && (base < 2 || base > 36)) fail("int's base must be 0 or 2 to 36");
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) text.remove_prefix(1);
  std::optional<std::string> digits = drop_underscores(text);
  if (!digits || !drop_prefix(*digits, base) || digits->empty() || (*digits)[0] == '-')
    return std::nullopt;
  if (base == 0) base = 10;
  if (negative) digits->insert(digits->begin(), '-');
  std::int64_t value = 0;
  const char* end = digits->data() + digits->size();
  const auto parsed = std::from_chars(digits->data(), end, value, static_cast<int>(base));
  if (parsed.ptr != end) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range)
    fail("an integer does not fit in 64 bits", "keep it as a string");
  return parsed.ec == std::errc{} ? std::optional(value) : std::nullopt;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip_space(text, Side::kBoth);
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) text.remove_prefix(1);
  const std::optional<std::string> digits = drop_underscores(text);
  const bool signed_twice = digits && !digits->empty() && (*digits)[0] == '-';
  if (!digits || digits->empty() || signed_twice || digits->find('(') != std::string::npos)
    return std::nullopt;
  double value = 0;
  const char* end = digits->data() + digits->size();
  const auto parsed = std::from_chars(digits->data(), end, value);
  if (parsed.ptr != end) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range) value = std::strtod(digits->c_str(), nullptr);
  return negative ? -value : value;
}

std::span<const FilterEntry> number_filters() { return kNumberFilters; }

}  // namespace spate::chat
