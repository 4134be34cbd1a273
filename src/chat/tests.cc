#include "chat/tests.h"

#include <algorithm>
#include <array>

#include "chat/filters.h"
#include "chat/methods.h"
#include "chat/operators.h"

namespace spate::chat {
namespace {

// Tests without an argument that need nothing but the value.
template <bool (*kPredicate)(const Value&)>
bool plain(Runtime& /*rt*/, const Value& v, const Arguments& arguments) {
  const Bound bound("the test", arguments, {}, 0);
  return kPredicate(v);
}

bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }
bool is_none(const Value& v) { return v.is_none(); }
bool is_boolean(const Value& v) { return v.is(Kind::kBool); }
bool is_true(const Value& v) { return v.is(Kind::kBool) && v.as_bool(); }
bool is_false(const Value& v) { return v.is(Kind::kBool) && !v.as_bool(); }
bool is_integer(const Value& v) { return v.is(Kind::kInt); }
bool is_float(const Value& v) { return v.is(Kind::kFloat); }
bool is_number(const Value& v) { return v.is_numeric(); }
bool is_string(const Value& v) { return v.is_string(); }
bool is_mapping(const Value& v) { return v.is(Kind::kDict); }
bool is_escaped(const Value& v) { return v.markup(); }
bool is_sequence(const Value& v) {
  if (v.is(Kind::kSequence)) return v.sequence().kind <= SequenceKind::kRange;
  return v.is_string() || v.is(Kind::kDict) || v.is_undefined();
}
bool is_callable(const Value& v) {
  return v.is(Kind::kMacro) || v.is(Kind::kFunction) || v.is(Kind::kMethod) ||
         v.is(Kind::kJoiner) || v.is(Kind::kLoop) || v.is_undefined();
}

bool has_case(Runtime& rt, const Value& v, std::string_view method) {
  const Value text = to_string(rt, v);
  return find_method(text, method).entry->run(rt, text, {}).as_bool();
}
bool is_lower_text(Runtime& rt, const Value& v, const Arguments& /*arguments*/) {
  return has_case(rt, v, "islower");
}
bool is_upper_text(Runtime& rt, const Value& v, const Arguments& /*arguments*/) {
  return has_case(rt, v, "isupper");
}

bool divisible(Runtime& rt, const Value& v, const Value& by, std::int64_t rest) {
  const Value r = binary(rt, Operator::kModulo, v, by);
  return equal(rt.heap, r, Value::integer(rest));
}
bool is_odd(Runtime& rt, const Value& v, const Arguments& /*arguments*/) {
  return divisible(rt, v, Value::integer(2), 1);
}
bool is_even(Runtime& rt, const Value& v, const Arguments& /*arguments*/) {
  return divisible(rt, v, Value::integer(2), 0);
}
bool is_divisible(Runtime& rt, const Value& v, const Arguments& arguments) {
  const Bound bound("divisibleby", arguments, {"num"}, 1);
  return divisible(rt, v, bound.at(0), 0);
}

template <Operator kOperator>
bool compares(Runtime& rt, const Value& v, const Arguments& arguments) {
  const Bound bound("the comparison", arguments, {"other"}, 1);
  return compare(rt, kOperator, v, bound.at(0));
}

bool is_same(Runtime& /*rt*/, const Value& v, const Arguments& arguments) {
  const Bound bound("sameas", arguments, {"other"}, 1);
  const Value& other = bound.at(0);
  if (v.kind() != other.kind()) return false;
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return v.as_int() == other.as_int();
    case Kind::kFloat:
      return v.as_float() == other.as_float();
    case Kind::kString:
      return v.text() == other.text();
    default:
      return v.object() == other.object();
  }
}

bool names_filter(Runtime& /*rt*/, const Value& v, const Arguments& /*arguments*/) {
  return v.is_string() && find_filter(v.text()) != nullptr;
}
bool names_test(Runtime& /*rt*/, const Value& v, const Arguments& /*arguments*/) {
  return v.is_string() && find_test(v.text()) != nullptr;
}

constexpr std::array kTests = std::to_array<TestEntry>({
    {"!=", compares<Operator::kNotEqual>},
    {"<", compares<Operator::kLess>},
    {"<=", compares<Operator::kLessEqual>},
    {"==", compares<Operator::kEqual>},
    {">", compares<Operator::kGreater>},
    {">=", compares<Operator::kGreaterEqual>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible},
    {"eq", compares<Operator::kEqual>},
    {"equalto", compares<Operator::kEqual>},
    {"escaped", plain<is_escaped>},
    {"even", is_even},
    {"false", plain<is_false>},
    {"filter", names_filter},
    {"float", plain<is_float>},
    {"ge", compares<Operator::kGreaterEqual>},
    {"greaterthan", compares<Operator::kGreater>},
    {"gt", compares<Operator::kGreater>},
    {"in", compares<Operator::kIn>},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", compares<Operator::kLessEqual>},
    {"lessthan", compares<Operator::kLess>},
    {"lower", is_lower_text},
    {"lt", compares<Operator::kLess>},
    {"mapping", plain<is_mapping>},
    {"ne", compares<Operator::kNotEqual>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", names_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", is_upper_text},
});

}  // namespace

const TestEntry* find_test(std::string_view name) {
  const auto* at = std::find_if(kTests.begin(), kTests.end(),
                                [&](const TestEntry& entry) { return entry.name == name; });
  return at == kTests.end() ? nullptr : &*at;
}

bool run_test(Runtime& rt, const TestEntry& test, const Value& subject,
              const Arguments& arguments) {
  rt.heap.work(1);
  if (subject.is_string() && subject.text().size() > 64) rt.heap.work_bytes(subject.text().size());
  return test.run(rt, subject, arguments);
}

}  // namespace spate::chat
