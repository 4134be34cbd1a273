// Arithmetic of operators.h.
#include <cmath>
#include <limits>

#include "chat/format.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

constexpr std::string_view kOverflowRemedy = "Spate's integers have 64 bits; use a float";

[[noreturn]] void fail_types(std::string_view symbol, const Value& a, const Value& b) {
  fail("cannot compute " + std::string(type_name(a)) + " " + std::string(symbol) + " " +
           std::string(type_name(b)),
       "convert one side, for example with |string or |int");
}

std::string_view symbol_of(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    default:
      return "**";
  }
}

[[noreturn]] void fail_overflow() { fail("an integer overflows", std::string(kOverflowRemedy)); }
[[noreturn]] void fail_zero() { fail("division by zero", "guard it with 'if'"); }

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) fail_zero();
  if (a == std::numeric_limits<std::int64_t>::min() && b == -1) fail_overflow();
  const std::int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

std::int64_t floor_modulo(std::int64_t a, std::int64_t b) {
  if (b == 0) fail_zero();
  if (b == -1) return 0;
  const std::int64_t r = a % b;
  return (r != 0 && (r < 0) != (b < 0)) ? r + b : r;
}

double float_modulo(double a, double b) {
  if (b == 0) fail_zero();
  double r = std::fmod(a, b);
  if (r == 0) return std::copysign(0.0, b);
  if ((r < 0) != (b < 0)) r += b;
  return r;
}

double float_floor_divide(double a, double b) {
  const double r = float_modulo(a, b);
  const double q = (a - r) / b;
  if (q == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(q);
  return q - whole > 0.5 ? whole + 1 : whole;
}

std::int64_t multiply(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) fail_overflow();
  return out;
}

Value power_integers(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail_zero();
    return Value::number(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  std::int64_t square = base;
  for (std::int64_t e = exponent; e > 0; e >>= 1) {
    if ((e & 1) != 0) result = multiply(result, square);
    if (e > 1) square = multiply(square, square);
  }
  return Value::integer(result);
}

Value integer_arithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &out)) fail_overflow();
      return Value::integer(out);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &out)) fail_overflow();
      return Value::integer(out);
    case Operator::kMultiply:
      return Value::integer(multiply(a, b));
    case Operator::kDivide:
      if (b == 0) fail_zero();
      return Value::number(static_cast<double>(a) / static_cast<double>(b));
    case Operator::kFloorDivide:
      return Value::integer(floor_divide(a, b));
    case Operator::kModulo:
      return Value::integer(floor_modulo(a, b));
    default:
      return power_integers(a, b);
  }
}

double power_floats(double a, double b) {
  if (a == 0 && b < 0) fail_zero();
  const double r = std::pow(a, b);
  if (std::isnan(r) && !std::isnan(a) && !std::isnan(b)) {
    fail("a power of a negative number is complex", "use abs");
  }
  if (std::isinf(r) && std::isfinite(a) && std::isfinite(b)) fail("a float overflows");
  return r;
}

Value float_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::number(a + b);
    case Operator::kSubtract:
      return Value::number(a - b);
    case Operator::kMultiply:
      return Value::number(a * b);
    case Operator::kDivide:
      if (b == 0) fail_zero();
      return Value::number(a / b);
    case Operator::kFloorDivide:
      return Value::number(float_floor_divide(a, b));
    case Operator::kModulo:
      return Value::number(float_modulo(a, b));
    default:
      return Value::number(power_floats(a, b));
  }
}

bool is_plain_sequence(const Value& v) {
  return v.is(Kind::kSequence) &&
         (v.sequence().kind == SequenceKind::kList || v.sequence().kind == SequenceKind::kTuple);
}

// markupsafe: text that meets markup is escaped, and the result is markup.
Value add_strings(Runtime& rt, const Value& a, const Value& b) {
  rt.heap.check_size(static_cast<double>(a.text().size()) + static_cast<double>(b.text().size()));
  const bool markup = a.markup() || b.markup();
  std::string out = markup && !a.markup() ? escape_html(a.text()) : a.text();
  out += markup && !b.markup() ? escape_html(b.text()) : b.text();
  const Value v = rt.heap.string(std::move(out));
  return markup ? v.with_markup() : v;
}

Value add_sequences(Runtime& rt, const Value& a, const Value& b) {
  const Sequence& x = a.sequence();
  const Sequence& y = b.sequence();
  if (x.kind != y.kind) fail_types("+", a, b);
  rt.heap.check_size(static_cast<double>((x.items.size() + y.items.size()) * sizeof(Value)));
  std::vector<Value> items = x.items;
  items.insert(items.end(), y.items.begin(), y.items.end());
  return rt.heap.list(std::move(items), x.kind);
}

Value repeat(Runtime& rt, const Value& what, std::int64_t times) {
  times = std::max<std::int64_t>(times, 0);
  if (what.is_string()) {
    rt.heap.check_size(static_cast<double>(what.text().size()) * static_cast<double>(times));
    std::string out;
    out.reserve(what.text().size() * static_cast<std::size_t>(what.text().empty() ? 0 : times));
    for (std::int64_t i = 0; i < times && !what.text().empty(); ++i) out += what.text();
    const Value v = rt.heap.string(std::move(out));
    return what.markup() ? v.with_markup() : v;
  }
  const std::vector<Value>& unit = what.sequence().items;
  rt.heap.check_size(static_cast<double>(unit.size() * sizeof(Value)) * static_cast<double>(times));
  std::vector<Value> items;
  for (std::int64_t i = 0; i < times && !unit.empty(); ++i)
    items.insert(items.end(), unit.begin(), unit.end());
  return rt.heap.list(std::move(items), what.sequence().kind);
}

bool repeatable(const Value& v) { return v.is_string() || is_plain_sequence(v); }

}  // namespace

Value binary(Runtime& rt, Operator op, const Value& a, const Value& b) {
  // Python asks the left operand first, and a string formats anything: 'x' % undefined is not an
  // error of undefined.
  if (op == Operator::kModulo && a.is_string()) return format_percent(rt, a, b);
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (a.is_integral() && b.is_integral()) return integer_arithmetic(op, a.as_int(), b.as_int());
  if (a.is_numeric() && b.is_numeric()) return float_arithmetic(op, a.as_float(), b.as_float());
  if (op == Operator::kAdd && a.is_string() && b.is_string()) return add_strings(rt, a, b);
  if (op == Operator::kAdd && is_plain_sequence(a) && is_plain_sequence(b))
    return add_sequences(rt, a, b);
  if (op == Operator::kMultiply && repeatable(a) && b.is_integral())
    return repeat(rt, a, b.as_int());
  if (op == Operator::kMultiply && a.is_integral() && repeatable(b))
    return repeat(rt, b, a.as_int());
  fail_types(symbol_of(op), a, b);
}

Value negate(const Value& v) {
  if (v.is_undefined()) fail_undefined(v);
  if (v.is(Kind::kFloat)) return Value::number(-v.as_float());
  if (!v.is_integral()) fail_operand("-", v);
  if (v.as_int() == std::numeric_limits<std::int64_t>::min()) fail_overflow();
  return Value::integer(-v.as_int());
}

Value positive(const Value& v) {
  if (v.is_undefined()) fail_undefined(v);
  if (v.is(Kind::kFloat)) return v;
  if (!v.is_integral()) fail_operand("+", v);
  return Value::integer(v.as_int());
}

}  // namespace spate::chat
