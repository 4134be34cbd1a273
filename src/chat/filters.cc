#include "chat/filters.h"

#include <algorithm>
#include <array>

#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {

const FilterEntry* find_filter(std::string_view name) {
  const std::array<std::span<const FilterEntry>, 4> tables = {
      text_filters(), number_filters(), sequence_filters(), selection_filters()};
  for (const auto& table : tables) {
    const auto at = std::find_if(table.begin(), table.end(),
                                 [&](const FilterEntry& entry) { return entry.name == name; });
    if (at != table.end()) return &*at;
  }
  return nullptr;
}

Value run_filter(Runtime& rt, const FilterEntry& filter, const Value& input,
                 const Arguments& arguments) {
  const DepthScope level(rt);
  rt.heap.work(1);
  if (input.is_string()) rt.heap.work_bytes(input.text().size());
  return filter.run(rt, input, arguments);
}

std::vector<Value> attribute_path(Runtime& rt, const Value& attribute) {
  std::vector<Value> path;
  if (attribute.is_none()) return path;
  if (!attribute.is_string()) return {attribute};
  std::string_view rest = attribute.text();
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool digits = !part.empty() && part.size() < 10 &&
                        part.find_first_not_of("0123456789") == std::string_view::npos;
    path.push_back(digits ? Value::integer(std::stoll(std::string(part)))
                          : rt.heap.string(std::string(part)));
    if (dot == std::string_view::npos) return path;
    rest = rest.substr(dot + 1);
  }
}

Value follow_path(Runtime& rt, Value item, const std::vector<Value>& path) {
  for (const Value& part : path) item = get_item(rt, item, part);
  return item;
}

Value ignore_case(Runtime& rt, const Value& v) {
  return v.is_string() ? rt.heap.string(to_lower(v.text())) : v;
}

}  // namespace spate::chat
