// Filters that reorder, cut and fold sequences.
#include <algorithm>
#include <array>

#include "chat/filters.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

Value length(Runtime& /*rt*/, const Value& input, const Arguments& arguments) {
  const Bound bound("length", arguments, {}, 0);
  return Value::integer(length_of(input));
}

Value first(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  const std::vector<Value> items = iterate(rt, input);
  return items.empty() ? Value() : items.front();
}

Value last(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  if (input.is(Kind::kSequence) && input.sequence().kind == SequenceKind::kIterator)
    fail_operand("last", input);
  const std::vector<Value> items = iterate(rt, input);
  return items.empty() ? Value() : items.back();
}

Value list(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  return rt.heap.list(iterate(rt, input));
}

Value reverse(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  if (input.is_string()) {
    std::vector<std::string_view> parts = split_code_points(input.text());
    std::string out;
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) out += *part;
    const Value v = rt.heap.string(std::move(out));
    return input.markup() ? v.with_markup() : v;
  }
  std::vector<Value> items = iterate(rt, input);
  std::reverse(items.begin(), items.end());
  return rt.heap.list(std::move(items), SequenceKind::kIterator);
}

Value join(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("join", arguments, {"d", "attribute"}, 0);
  std::string separator;
  if (bound[0] != nullptr) append_text(rt, separator, bound.at(0));
  const std::vector<Value> path =
      bound[1] == nullptr ? std::vector<Value>() : attribute_path(rt, bound.at(1));
  std::string out;
  bool begun = false;
  for (const Value& item : iterate(rt, input)) {
    if (begun) out += separator;
    begun = true;
    append_text(rt, out, follow_path(rt, item, path));
    rt.heap.check_size(static_cast<double>(out.size()));
  }
  return rt.heap.string(std::move(out));
}

// Values with the key they are ordered by.
struct Keyed {
  std::vector<Value> keys{};
  Value value{};
};

void sort_keyed(Runtime& rt, std::vector<Keyed>& items, bool reverse) {
  const auto before = [&](const Keyed& a, const Keyed& b) {
    for (std::size_t i = 0; i < a.keys.size(); ++i) {
      if (!equal(rt.heap, a.keys[i], b.keys[i])) return less(rt, a.keys[i], b.keys[i]);
    }
    return false;
  };
  // Reversed order keeps equal items in their order, as Python's sorted does.
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? before(b, a) : before(a, b);
  });
}

std::vector<Value> values_of(std::vector<Keyed> items) {
  std::vector<Value> values;
  values.reserve(items.size());
  for (Keyed& item : items) values.push_back(std::move(item.value));
  return values;
}

std::vector<std::vector<Value>> attribute_paths(Runtime& rt, const Value* attribute) {
  if (attribute == nullptr) return {{}};
  if (!attribute->is_string()) return {attribute_path(rt, *attribute)};
  std::vector<std::vector<Value>> paths;
  std::string_view rest = attribute->text();
  while (true) {
    const std::size_t comma = rest.find(',');
    paths.push_back(attribute_path(rt, rt.heap.string(std::string(rest.substr(0, comma)))));
    if (comma == std::string_view::npos) return paths;
    rest = rest.substr(comma + 1);
  }
}

Value sort(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0);
  const bool case_sensitive = bound.boolean(1, false);
  const std::vector<std::vector<Value>> paths = attribute_paths(rt, bound[2]);
  std::vector<Keyed> items;
  for (const Value& item : iterate(rt, input)) {
    Keyed& keyed = items.emplace_back();
    keyed.value = item;
    for (const std::vector<Value>& path : paths) {
      const Value key = follow_path(rt, item, path);
      keyed.keys.push_back(case_sensitive ? key : ignore_case(rt, key));
    }
  }
  sort_keyed(rt, items, bound.boolean(0, false));
  return rt.heap.list(values_of(std::move(items)));
}

Value dictsort(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0);
  if (!input.is(Kind::kDict)) fail_operand("dictsort", input);
  const std::string_view by = bound.text(1, "key");
  if (by != "key" && by != "value") fail("dictsort sorts by 'key' or 'value'");
  std::vector<Keyed> items;
  rt.heap.work(static_cast<std::int64_t>(input.dict().entries.size()));
  for (const Pair& entry : input.dict().entries) {
    const Value& key = by == "key" ? entry.key : entry.value;
    Keyed& keyed = items.emplace_back();
    keyed.keys = {bound.boolean(0, false) ? key : ignore_case(rt, key)};
    keyed.value = rt.heap.list({entry.key, entry.value}, SequenceKind::kTuple);
  }
  sort_keyed(rt, items, bound.boolean(2, false));
  return rt.heap.list(values_of(std::move(items)));
}

Value items(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("items", arguments, {}, 0);
  std::vector<Value> pairs;
  if (!input.is_undefined()) {
    if (!input.is(Kind::kDict)) fail("items needs a dict, not " + std::string(type_name(input)));
    for (const Pair& entry : input.dict().entries) {
      pairs.push_back(rt.heap.list({entry.key, entry.value}, SequenceKind::kTuple));
    }
  }
  return rt.heap.list(std::move(pairs), SequenceKind::kIterator);
}

Value extreme(Runtime& rt, const Value& input, const Arguments& arguments, bool largest) {
  const Bound bound(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"}, 0);
  const std::vector<Value> path =
      bound[1] == nullptr ? std::vector<Value>() : attribute_path(rt, bound.at(1));
  const bool case_sensitive = bound.boolean(0, false);
  Value best;
  Value best_key;
  bool any = false;
  for (const Value& item : iterate(rt, input)) {
    const Value raw = follow_path(rt, item, path);
    const Value key = case_sensitive ? raw : ignore_case(rt, raw);
    if (!any || (largest ? less(rt, best_key, key) : less(rt, key, best_key))) {
      best = item;
      best_key = key;
    }
    any = true;
  }
  return best;
}

Value minimum(Runtime& rt, const Value& input, const Arguments& arguments) {
  return extreme(rt, input, arguments, false);
}
Value maximum(Runtime& rt, const Value& input, const Arguments& arguments) {
  return extreme(rt, input, arguments, true);
}

Value sum(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("sum", arguments, {"attribute", "start"}, 0);
  const std::vector<Value> path =
      bound[0] == nullptr ? std::vector<Value>() : attribute_path(rt, bound.at(0));
  Value total = bound[1] == nullptr ? Value::integer(0) : bound.at(1);
  if (total.is_string()) fail("sum cannot add strings", "use join");
  for (const Value& item : iterate(rt, input))
    total = binary(rt, Operator::kAdd, total, follow_path(rt, item, path));
  return total;
}

Value unique(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"}, 0);
  const std::vector<Value> path =
      bound[1] == nullptr ? std::vector<Value>() : attribute_path(rt, bound.at(1));
  const bool case_sensitive = bound.boolean(0, false);
  Dict* seen = rt.heap.dict();
  std::vector<Value> kept;
  for (const Value& item : iterate(rt, input)) {
    const Value raw = follow_path(rt, item, path);
    const Value key = case_sensitive ? raw : ignore_case(rt, raw);
    const std::size_t before = seen->entries.size();
    seen->set(key, Value::none());
    if (seen->entries.size() > before) kept.push_back(item);
  }
  return rt.heap.list(std::move(kept), SequenceKind::kIterator);
}

Value batch(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const std::int64_t size = bound.integer(0, 1);
  std::vector<Value> batches;
  std::vector<Value> row;
  for (const Value& item : iterate(rt, input)) {
    if (static_cast<std::int64_t>(row.size()) == size)
      batches.push_back(rt.heap.list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound.has(1)) rt.heap.check_size(static_cast<double>(size) * sizeof(Value));
    while (bound.has(1) && static_cast<std::int64_t>(row.size()) < size) row.push_back(bound.at(1));
    batches.push_back(rt.heap.list(std::move(row)));
  }
  return rt.heap.list(std::move(batches), SequenceKind::kIterator);
}

Value slice(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("slice", arguments, {"slices", "fill_with"}, 1);
  const std::vector<Value> all = iterate(rt, input);
  const std::int64_t slices = bound.integer(0, 1);
  if (slices == 0) fail("slice needs at least one slice");
  rt.heap.check_size(static_cast<double>(slices) * sizeof(Value));
  const auto n = static_cast<std::int64_t>(all.size());
  const std::int64_t extra = slices > 0 ? n % slices : 0;
  std::vector<Value> columns;
  auto at = all.begin();
  for (std::int64_t i = 0; i < slices; ++i) {
    const std::int64_t count = n / slices + (i < extra ? 1 : 0);
    std::vector<Value> column(at, at + count);
    at += count;
    if (bound.has(1) && i >= extra) column.push_back(bound.at(1));
    columns.push_back(rt.heap.list(std::move(column)));
  }
  return rt.heap.list(std::move(columns), SequenceKind::kIterator);
}

Value groupby(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const std::vector<Value> path = attribute_path(rt, bound.at(0));
  std::vector<Keyed> keyed;
  for (const Value& item : iterate(rt, input)) {
    Value raw = follow_path(rt, item, path);
    if (raw.is_undefined() && bound[1] != nullptr) raw = bound.at(1);
    keyed.push_back({{bound.boolean(2, false) ? raw : ignore_case(rt, raw), raw}, item});
  }
  const auto before = [&](const Keyed& a, const Keyed& b) {
    return less(rt, a.keys[0], b.keys[0]);
  };
  std::stable_sort(keyed.begin(), keyed.end(), before);
  std::vector<Value> groups;
  for (std::size_t i = 0; i < keyed.size();) {
    std::vector<Value> members;
    const std::size_t begin = i;
    for (; i < keyed.size() && equal(rt.heap, keyed[i].keys[0], keyed[begin].keys[0]); ++i)
      members.push_back(keyed[i].value);
    if (i == begin) break;  // a key that is not equal to itself: nan
    groups.push_back(rt.heap.list({keyed[begin].keys[1], rt.heap.list(std::move(members))},
                                  SequenceKind::kTuple));
  }
  return rt.heap.list(std::move(groups));
}

constexpr std::array kSequenceFilters = std::to_array<FilterEntry>({
    {"batch", batch},
    {"count", length},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", groupby},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"max", maximum},
    {"min", minimum},
    {"reverse", reverse},
    {"slice", slice},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
});

}  // namespace

std::span<const FilterEntry> sequence_filters() { return kSequenceFilters; }

}  // namespace spate::chat
