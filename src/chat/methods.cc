#include "chat/methods.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "chat/loop.h"
#include "chat/macro.h"
#include "chat/operators.h"

namespace spate::chat {
namespace {

Value dict_get(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("dict.get", arguments, {"key", "default"}, 1);
  if (!bound.at(0).is_string()) static_cast<void>(hash_of(rt.heap, bound.at(0)));
  const Value* found = self.dict().find(bound.at(0));
  if (found != nullptr) return *found;
  return bound[1] == nullptr ? Value::none() : bound.at(1);
}

Value dict_view(Runtime& rt, const Value& self, const Arguments& arguments, SequenceKind kind) {
  const Bound bound("the dict method", arguments, {}, 0);
  std::vector<Value> items;
  items.reserve(self.dict().entries.size());
  for (const Pair& entry : self.dict().entries) {
    if (kind == SequenceKind::kKeys) items.push_back(entry.key);
    if (kind == SequenceKind::kValues) items.push_back(entry.value);
    if (kind == SequenceKind::kItems) {
      items.push_back(rt.heap.list({entry.key, entry.value}, SequenceKind::kTuple));
    }
  }
  return rt.heap.list(std::move(items), kind);
}

Value dict_items(Runtime& rt, const Value& self, const Arguments& arguments) {
  return dict_view(rt, self, arguments, SequenceKind::kItems);
}
Value dict_keys(Runtime& rt, const Value& self, const Arguments& arguments) {
  return dict_view(rt, self, arguments, SequenceKind::kKeys);
}
Value dict_values(Runtime& rt, const Value& self, const Arguments& arguments) {
  return dict_view(rt, self, arguments, SequenceKind::kValues);
}

Value dict_copy(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("dict.copy", arguments, {}, 0);
  Dict* copy = rt.heap.dict();
  for (const Pair& entry : self.dict().entries) copy->set(entry.key, entry.value);
  return Value::object(Kind::kDict, copy);
}

Value list_count(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"value"}, 1);
  const std::vector<Value>& items = self.sequence().items;
  const auto n = std::count_if(items.begin(), items.end(),
                               [&](const Value& v) { return equal(rt.heap, v, bound.at(0)); });
  return Value::integer(n);
}

Value list_index(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("index", arguments, {"value", "start", "stop"}, 1);
  const std::vector<Value>& items = self.sequence().items;
  const auto n = static_cast<std::int64_t>(items.size());
  const auto clamp = [&](std::int64_t i) {
    return std::clamp<std::int64_t>(i < 0 ? i + n : i, 0, n);
  };
  const std::int64_t stop = clamp(bound.integer(2, n));
  for (std::int64_t i = clamp(bound.integer(1, 0)); i < stop; ++i) {
    if (equal(rt.heap, items[static_cast<std::size_t>(i)], bound.at(0))) return Value::integer(i);
  }
  fail("the value is not in the list", "test with 'in' first");
}

Value list_copy(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("list.copy", arguments, {}, 0);
  return rt.heap.list(self.sequence().items);
}

Value float_is_integer(Runtime& /*rt*/, const Value& self, const Arguments& arguments) {
  const Bound bound("is_integer", arguments, {}, 0);
  return Value::boolean(std::floor(self.as_float()) == self.as_float() &&
                        std::isfinite(self.as_float()));
}

Value cycle_method(Runtime& /*rt*/, const Value& self, const Arguments& arguments) {
  return loop_cycle(*static_cast<Loop*>(self.object()), arguments);
}
Value changed_method(Runtime& rt, const Value& self, const Arguments& arguments) {
  return loop_changed(rt, *static_cast<Loop*>(self.object()), arguments);
}

Value cycler_next(Runtime& /*rt*/, const Value& self, const Arguments& /*arguments*/) {
  auto& cycler = *static_cast<Cycler*>(self.object());
  Value v = cycler.items[static_cast<std::size_t>(cycler.position)];
  cycler.position = (cycler.position + 1) % static_cast<std::int64_t>(cycler.items.size());
  return v;
}
Value cycler_reset(Runtime& /*rt*/, const Value& self, const Arguments& /*arguments*/) {
  static_cast<Cycler*>(self.object())->position = 0;
  return Value::none();
}

constexpr std::array<MethodEntry, 11> kDictMethods = {{{"clear", nullptr},
                                                       {"copy", dict_copy},
                                                       {"fromkeys", nullptr},
                                                       {"get", dict_get},
                                                       {"items", dict_items},
                                                       {"keys", dict_keys},
                                                       {"pop", nullptr},
                                                       {"popitem", nullptr},
                                                       {"setdefault", nullptr},
                                                       {"update", nullptr},
                                                       {"values", dict_values}}};
constexpr std::array<MethodEntry, 11> kListMethods = {{{"append", nullptr},
                                                       {"clear", nullptr},
                                                       {"copy", list_copy},
                                                       {"count", list_count},
                                                       {"extend", nullptr},
                                                       {"index", list_index},
                                                       {"insert", nullptr},
                                                       {"pop", nullptr},
                                                       {"remove", nullptr},
                                                       {"reverse", nullptr},
                                                       {"sort", nullptr}}};
constexpr std::array<MethodEntry, 2> kTupleMethods = {
    {{"count", list_count}, {"index", list_index}}};
constexpr std::array<MethodEntry, 1> kFloatMethods = {{{"is_integer", float_is_integer}}};
constexpr std::array<MethodEntry, 2> kLoopMethods = {
    {{"changed", changed_method}, {"cycle", cycle_method}}};
constexpr std::array<MethodEntry, 2> kCyclerMethods = {
    {{"next", cycler_next}, {"reset", cycler_reset}}};

std::span<const MethodEntry> methods_of(const Value& self) {
  switch (self.kind()) {
    case Kind::kString:
      return string_methods();
    case Kind::kDict:
      return kDictMethods;
    case Kind::kFloat:
      return kFloatMethods;
    case Kind::kLoop:
      return kLoopMethods;
    case Kind::kCycler:
      return kCyclerMethods;
    case Kind::kSequence:
      if (self.sequence().kind == SequenceKind::kList) return kListMethods;
      if (self.sequence().kind <= SequenceKind::kRange) return kTupleMethods;
      return {};
    default:
      return {};
  }
}

}  // namespace

MethodLookup find_method(const Value& self, std::string_view name) {
  const std::span<const MethodEntry> table = methods_of(self);
  const auto by_name = [](const MethodEntry& entry, std::string_view wanted) {
    return entry.name < wanted;
  };
  const auto at = std::lower_bound(table.begin(), table.end(), name, by_name);
  if (at == table.end() || at->name != name) return {};
  return {.found = true, .allowed = at->run != nullptr, .entry = &*at};
}

Value bind_method(Runtime& rt, const Value& self, const MethodLookup& method) {
  auto* bound = rt.heap.make<Method>();
  bound->self = self;
  bound->entry = method.entry;
  return Value::object(Kind::kMethod, bound);
}

Value call_method(Runtime& rt, const Value& method, const Arguments& arguments) {
  const auto& bound = *static_cast<Method*>(method.object());
  if (bound.self.is_string()) rt.heap.work_bytes(bound.self.text().size());
  return bound.entry->run(rt, bound.self, arguments);
}

Value object_attribute(Runtime& rt, const Value& base, const Value& name) {
  if (base.is(Kind::kLoop)) return loop_attribute(rt, base, name);
  if (base.is(Kind::kMacro)) {
    const StringRep* macro_name = static_cast<Macro*>(base.object())->definition->name;
    if (name.text() != "name") return Value::undefined(name);
    return macro_name == nullptr ? Value::none() : rt.heap.string(macro_name->text);
  }
  const auto& cycler = *static_cast<Cycler*>(base.object());
  if (name.text() == "current") return cycler.items[static_cast<std::size_t>(cycler.position)];
  const MethodLookup method = find_method(base, name.text());
  return method.found ? bind_method(rt, base, method) : Value::undefined(name);
}

}  // namespace spate::chat
