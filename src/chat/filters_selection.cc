// Filters that apply filters and tests to the items of a sequence: map, select and their kin.
#include <array>

#include "chat/filters.h"
#include "chat/operators.h"
#include "chat/tests.h"

namespace spate::chat {
namespace {

// What a filter that names another filter or test passes on to it.
Arguments rest_of(const Arguments& arguments, std::size_t used) {
  return {.positional = arguments.positional.subspan(used), .named = arguments.named};
}

std::string_view name_argument(const Value& v, std::string_view what) {
  if (!v.is_string()) fail_operand(what, v);
  return v.text();
}

Value map_attribute(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("map", {.named = arguments.named}, {"attribute", "default"}, 1);
  const std::vector<Value> path = attribute_path(rt, bound.at(0));
  std::vector<Value> out;
  for (Value item : iterate(rt, input)) {
    for (const Value& part : path) {
      item = get_item(rt, item, part);
      if (item.is_undefined() && bound.has(1)) item = bound.at(1);
    }
    out.push_back(std::move(item));
  }
  return rt.heap.list(std::move(out), SequenceKind::kIterator);
}

Value map(Runtime& rt, const Value& input, const Arguments& arguments) {
  const bool by_attribute = arguments.positional.empty() && !arguments.named.empty();
  if (!truthy(input)) return rt.heap.list({}, SequenceKind::kIterator);
  if (by_attribute) return map_attribute(rt, input, arguments);
  if (arguments.positional.empty())
    fail("map needs a filter", "write map('upper') or map(attribute='name')");
  const std::string_view name = name_argument(arguments.positional[0], "map");
  const FilterEntry* filter = find_filter(name);
  if (filter == nullptr) fail("there is no filter '" + std::string(name) + "'");
  std::vector<Value> out;
  for (const Value& item : iterate(rt, input))
    out.push_back(run_filter(rt, *filter, item, rest_of(arguments, 1)));
  return rt.heap.list(std::move(out), SequenceKind::kIterator);
}

struct Selection {
  bool wanted = true;
  bool by_attribute = false;
};

Value choose(Runtime& rt, const Value& input, const Arguments& arguments, Selection selection) {
  if (!truthy(input)) return rt.heap.list({}, SequenceKind::kIterator);
  const std::size_t offset = selection.by_attribute ? 1 : 0;
  const std::size_t given = arguments.positional.size();
  if (given < offset) fail("the filter needs the name of an attribute");
  const std::vector<Value> path =
      selection.by_attribute ? attribute_path(rt, arguments.positional[0]) : std::vector<Value>();
  const TestEntry* test = nullptr;
  if (given > offset) {
    const std::string_view name = name_argument(arguments.positional[offset], "select");
    test = find_test(name);
    if (test == nullptr) fail("there is no test '" + std::string(name) + "'");
  }
  std::vector<Value> out;
  for (const Value& item : iterate(rt, input)) {
    const Value subject = follow_path(rt, item, path);
    const bool holds = test == nullptr
                           ? truthy(subject)
                           : run_test(rt, *test, subject, rest_of(arguments, offset + 1));
    if (holds == selection.wanted) out.push_back(item);
  }
  return rt.heap.list(std::move(out), SequenceKind::kIterator);
}

Value select(Runtime& rt, const Value& input, const Arguments& arguments) {
  return choose(rt, input, arguments, {.wanted = true, .by_attribute = false});
}
Value reject(Runtime& rt, const Value& input, const Arguments& arguments) {
  return choose(rt, input, arguments, {.wanted = false, .by_attribute = false});
}
Value selectattr(Runtime& rt, const Value& input, const Arguments& arguments) {
  return choose(rt, input, arguments, {.wanted = true, .by_attribute = true});
}
Value rejectattr(Runtime& rt, const Value& input, const Arguments& arguments) {
  return choose(rt, input, arguments, {.wanted = false, .by_attribute = true});
}

Value attribute(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("attr", arguments, {"name"}, 1);
  const Value name = to_string(rt, bound.at(0));
  if (input.is_undefined()) fail_undefined(input);
  const Value found = get_attribute(rt, input, name);
  // attr looks at attributes only, never at a dict's items.
  const bool method = !input.is(Kind::kDict) || found.is(Kind::kMethod);
  return method ? found : Value::undefined(name);
}

constexpr std::array kSelectionFilters = std::to_array<FilterEntry>({
    {"attr", attribute},
    {"map", map},
    {"reject", reject},
    {"rejectattr", rejectattr},
    {"select", select},
    {"selectattr", selectattr},
});

}  // namespace

std::span<const FilterEntry> selection_filters() { return kSelectionFilters; }

}  // namespace spate::chat
