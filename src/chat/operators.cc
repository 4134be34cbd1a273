#include "chat/operators.h"

#include <algorithm>
#include <cmath>

#include "chat/methods.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

std::string_view sequence_type(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::kList:
      return "list";
    case SequenceKind::kTuple:
      return "tuple";
    case SequenceKind::kRange:
      return "range";
    case SequenceKind::kKeys:
      return "dict_keys";
    case SequenceKind::kValues:
      return "dict_values";
    case SequenceKind::kItems:
      return "dict_items";
    default:
      return "generator";
  }
}

bool has_items_by_index(const Value& v) {
  return v.is(Kind::kSequence) && v.sequence().kind <= SequenceKind::kRange;
}

Value substring(Runtime& rt, const Value& base, std::int64_t begin, std::int64_t end) {
  const std::string_view text = base.text();
  const bool ascii = base.rep()->code_points == static_cast<std::int64_t>(text.size());
  if (!ascii) rt.heap.work_bytes(text.size());
  const std::int64_t from = ascii ? begin : byte_offset(text, begin);
  const std::int64_t to =
      ascii ? end : from + byte_offset(text.substr(static_cast<std::size_t>(from)), end - begin);
  const Value v = rt.heap.string(std::string(
      text.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from))));
  return base.markup() ? v.with_markup() : v;
}

Value loop_or_namespace_attribute(Runtime& rt, const Value& base, const Value& name) {
  if (base.is(Kind::kNamespace)) {
    const Value* found = static_cast<Namespace*>(base.object())->find(name.text());
    return found == nullptr ? Value::undefined(name) : *found;
  }
  return object_attribute(rt, base, name);
}

// The item itself, or null-like undefined when Python would raise TypeError or LookupError.
Value item_or_undefined(Runtime& rt, const Value& base, const Value& index) {
  if (base.is(Kind::kDict)) {
    const bool hashable = !index.is(Kind::kDict) && !(index.is(Kind::kSequence) &&
                                                      index.sequence().kind == SequenceKind::kList);
    const Value* found = hashable ? base.dict().find(index) : nullptr;
    return found == nullptr ? Value::undefined(index) : *found;
  }
  if (!index.is_integral() || (!base.is_string() && !has_items_by_index(base)))
    return Value::undefined(index);
  const std::int64_t n = length_of(base);
  std::int64_t i = index.as_int();
  if (i < 0) i += n;
  if (i < 0 || i >= n) return Value::undefined(index);
  if (base.is_string()) return substring(rt, base, i, i + 1);
  return base.sequence().items[static_cast<std::size_t>(i)];
}

struct Slice {
  std::int64_t start = 0;
  std::int64_t count = 0;
  std::int64_t step = 1;
};

std::int64_t clamp_bound(const Value& v, std::int64_t n, std::int64_t low, std::int64_t high) {
  const std::int64_t i = to_index(v, "a slice bound");
  return std::clamp(i < 0 ? (i < -n ? low : i + n) : i, low, high);
}

Slice resolve_slice(std::int64_t n, const SliceBounds& bounds) {
  Slice s;
  if (!bounds.step.is_none()) s.step = to_index(bounds.step, "a slice step");
  if (s.step == 0) fail("a slice step is zero", "leave the step out");
  const bool forward = s.step > 0;
  const std::int64_t low = forward ? 0 : -1;
  const std::int64_t high = forward ? n : n - 1;
  s.start =
      bounds.start.is_none() ? (forward ? low : high) : clamp_bound(bounds.start, n, low, high);
  const std::int64_t stop =
      bounds.stop.is_none() ? (forward ? high : low) : clamp_bound(bounds.stop, n, low, high);
  // Steps beyond the length visit one item; cutting them keeps the arithmetic in range.
  s.step = std::clamp(s.step, -n - 1, n + 1);
  if (forward && stop > s.start) s.count = (stop - s.start + s.step - 1) / s.step;
  if (!forward && stop < s.start) s.count = (s.start - stop - s.step - 1) / -s.step;
  return s;
}

bool order_sequences(Runtime& rt, const Value& a, const Value& b) {
  const std::vector<Value>& x = a.sequence().items;
  const std::vector<Value>& y = b.sequence().items;
  const std::size_t n = std::min(x.size(), y.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (!equal(rt.heap, x[i], y[i])) return less(rt, x[i], y[i]);
  }
  return x.size() < y.size();
}

}  // namespace

bool truthy(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return v.as_int() != 0;
    case Kind::kFloat:
      return v.as_float() != 0;
    case Kind::kString:
      return !v.text().empty();
    case Kind::kSequence:
      return v.sequence().kind == SequenceKind::kIterator || !v.sequence().items.empty();
    case Kind::kDict:
      return !v.dict().entries.empty();
    default:
      return true;
  }
}

std::string_view type_name(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kSequence:
      return sequence_type(v.sequence().kind);
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "namespace";
    case Kind::kMacro:
      return "macro";
    case Kind::kFunction:
      return "function";
    case Kind::kMethod:
      return "method";
    case Kind::kLoop:
      return "loop";
    case Kind::kCycler:
      return "cycler";
    default:
      return "joiner";
  }
}

void fail_undefined(const Value& v) {
  const std::string name(v.undefined_name());
  fail(name.empty() ? "a value is undefined" : "'" + name + "' is undefined",
       "pass it to the template, or guard it with 'is defined' or |default");
}

void fail_operand(std::string_view what, const Value& v) {
  if (v.is_undefined()) fail_undefined(v);
  fail("cannot apply " + std::string(what) + " to a value of type " + std::string(type_name(v)));
}

bool less(Runtime& rt, const Value& a, const Value& b) {
  rt.heap.work(1);
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
  if (a.is_numeric() && b.is_numeric()) return a.as_float() < b.as_float();
  if (a.is_string() && b.is_string()) {
    rt.heap.work_bytes(std::min(a.text().size(), b.text().size()));
    return a.text() < b.text();  // UTF-8 keeps the order of code points
  }
  if (has_items_by_index(a) && has_items_by_index(b) && a.sequence().kind == b.sequence().kind) {
    return order_sequences(rt, a, b);
  }
  fail("cannot order " + std::string(type_name(a)) + " and " + std::string(type_name(b)),
       "compare values of one type");
}

bool compare(Runtime& rt, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return equal(rt.heap, a, b);
    case Operator::kNotEqual:
      return !equal(rt.heap, a, b);
    case Operator::kIn:
      return contains(rt, b, a);
    case Operator::kNotIn:
      return !contains(rt, b, a);
    default:
      break;
  }
  const bool nan =
      a.is_numeric() && b.is_numeric() && (std::isnan(a.as_float()) || std::isnan(b.as_float()));
  if (nan) return false;
  switch (op) {
    case Operator::kLess:
      return less(rt, a, b);
    case Operator::kLessEqual:
      return !less(rt, b, a);
    case Operator::kGreater:
      return less(rt, b, a);
    default:
      return !less(rt, a, b);
  }
}

bool contains(Runtime& rt, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string())
      fail("'in' on a string needs a string, not " + std::string(type_name(item)));
    rt.heap.work_bytes(container.text().size());
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is(Kind::kDict)) {
    if (!item.is_string())
      static_cast<void>(hash_of(rt.heap, item));  // refuses what cannot be a key
    return container.dict().find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  if (!is_iterable(container)) fail_operand("'in'", container);
  if (container.is(Kind::kSequence) && container.sequence().kind != SequenceKind::kIterator) {
    const std::vector<Value>& items = container.sequence().items;
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& v) { return equal(rt.heap, v, item); });
  }
  const std::vector<Value> items = iterate(rt, container);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& v) { return equal(rt.heap, v, item); });
}

Value get_attribute(Runtime& rt, const Value& base, const Value& name) {
  if (base.is_undefined()) fail_undefined(base);
  if (base.is(Kind::kNamespace) || base.is(Kind::kLoop) || base.is(Kind::kMacro) ||
      base.is(Kind::kCycler)) {
    return loop_or_namespace_attribute(rt, base, name);
  }
  const MethodLookup method = find_method(base, name.text());
  if (method.found) return method.allowed ? bind_method(rt, base, method) : Value::undefined(name);
  if (base.is(Kind::kDict)) {
    const Value* found = base.dict().find(name.text());
    if (found != nullptr) return *found;
  }
  return Value::undefined(name);
}

Value get_item(Runtime& rt, const Value& base, const Value& index) {
  if (base.is_undefined()) fail_undefined(base);
  Value item = item_or_undefined(rt, base, index);
  if (!item.is_undefined() || !index.is_string()) return item;
  if (base.is(Kind::kDict) && base.dict().find(index) != nullptr) return item;
  return get_attribute(rt, base, index);
}

Value get_slice(Runtime& rt, const Value& base, const SliceBounds& bounds) {
  if (base.is_undefined()) fail_undefined(base);
  if (!base.is_string() && !has_items_by_index(base)) fail_operand("a slice", base);
  const std::int64_t n = length_of(base);
  const Slice s = resolve_slice(n, bounds);
  if (base.is_string() && s.step == 1) return substring(rt, base, s.start, s.start + s.count);
  if (base.is_string()) {
    const std::vector<std::string_view> parts = split_code_points(base.text());
    rt.heap.work(n);
    std::string out;
    for (std::int64_t k = 0; k < s.count; ++k)
      out += parts[static_cast<std::size_t>(s.start + k * s.step)];
    const Value v = rt.heap.string(std::move(out));
    return base.markup() ? v.with_markup() : v;
  }
  std::vector<Value> items;
  items.reserve(static_cast<std::size_t>(s.count));
  for (std::int64_t k = 0; k < s.count; ++k) {
    items.push_back(base.sequence().items[static_cast<std::size_t>(s.start + k * s.step)]);
  }
  return rt.heap.list(std::move(items), base.sequence().kind);
}

bool is_iterable(const Value& v) {
  return v.is_undefined() || v.is_string() || v.is(Kind::kSequence) || v.is(Kind::kDict) ||
         v.is(Kind::kLoop);
}

// An iterator gives its items once.
std::vector<Value> items_of(Runtime& rt, Sequence& s) {
  rt.heap.work(static_cast<std::int64_t>(s.items.size()));
  if (s.kind != SequenceKind::kIterator) return s.items;
  const bool consumed = std::exchange(s.consumed, true);
  return consumed ? std::vector<Value>() : s.items;
}

std::vector<Value> iterate(Runtime& rt, const Value& v) {
  std::vector<Value> items;
  switch (v.kind()) {
    case Kind::kUndefined:
      break;
    case Kind::kString:
      rt.heap.work(v.rep()->code_points);
      for (std::string_view c : split_code_points(v.text()))
        items.push_back(rt.heap.string(std::string(c)));
      break;
    case Kind::kDict:
      rt.heap.work(static_cast<std::int64_t>(v.dict().entries.size()));
      for (const Pair& entry : v.dict().entries) items.push_back(entry.key);
      break;
    case Kind::kSequence:
      return items_of(rt, v.sequence());
    default:
      fail("a value of type " + std::string(type_name(v)) + " cannot be iterated",
           "loop over a list, a dict or a string");
  }
  return items;
}

std::int64_t length_of(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return v.rep()->code_points;
    case Kind::kDict:
      return static_cast<std::int64_t>(v.dict().entries.size());
    case Kind::kSequence:
      if (v.sequence().kind != SequenceKind::kIterator)
        return static_cast<std::int64_t>(v.sequence().items.size());
      [[fallthrough]];
    default:
      fail("a value of type " + std::string(type_name(v)) + " has no length", "use |list first");
  }
}

std::int64_t to_index(const Value& v, std::string_view what) {
  if (v.is_undefined()) fail_undefined(v);
  if (!v.is_integral())
    fail(std::string(what) + " must be an integer, not " + std::string(type_name(v)));
  return v.as_int();
}

}  // namespace spate::chat
