#include "chat/loop.h"

#include "chat/methods.h"

namespace spate::chat {

std::optional<Value> Loop::read() {
  while (position < items.size()) {
    Value item = items[position++];
    if (!keep || keep(item)) return item;
  }
  return std::nullopt;
}

bool Loop::advance() {
  std::optional<Value> next = after ? std::exchange(after, std::nullopt) : read();
  if (!next) return false;
  ++index0;
  before = std::move(current);
  current = std::move(next);
  return true;
}

const std::optional<Value>& Loop::peek() {
  if (!after) after = read();
  return after;
}

std::int64_t Loop::length() {
  if (sized) return static_cast<std::int64_t>(items.size());
  std::vector<Value> rest;
  while (std::optional<Value> item = read()) rest.push_back(std::move(*item));
  const std::int64_t seen = index0 + 1 + (after ? 1 : 0);
  // From here on the loop is over a known list: what is left, counted from what was seen.
  items.assign(static_cast<std::size_t>(seen), Value());
  items.insert(items.end(), rest.begin(), rest.end());
  position = static_cast<std::size_t>(seen);
  keep = nullptr;
  sized = true;
  return static_cast<std::int64_t>(items.size());
}

Value loop_attribute(Runtime& rt, const Value& loop_value, const Value& name) {
  auto& loop = *static_cast<Loop*>(loop_value.object());
  const std::string& text = name.text();
  if (text == "index") return Value::integer(loop.index0 + 1);
  if (text == "index0") return Value::integer(loop.index0);
  if (text == "first") return Value::boolean(loop.index0 == 0);
  if (text == "last") return Value::boolean(!loop.peek());
  if (text == "length") return Value::integer(loop.length());
  if (text == "revindex") return Value::integer(loop.length() - loop.index0);
  if (text == "revindex0") return Value::integer(loop.length() - loop.index0 - 1);
  if (text == "depth") return Value::integer(loop.depth0 + 1);
  if (text == "depth0") return Value::integer(loop.depth0);
  if (text == "previtem")
    return loop.index0 > 0 && loop.before ? *loop.before : Value::undefined(name);
  if (text == "nextitem") return loop.peek() ? *loop.peek() : Value::undefined(name);
  const MethodLookup method = find_method(loop_value, text);
  return method.found ? bind_method(rt, loop_value, method) : Value::undefined(name);
}

Value loop_cycle(const Loop& loop, const Arguments& arguments) {
  if (arguments.positional.empty()) fail("loop.cycle needs values to choose from");
  return arguments.positional[static_cast<std::size_t>(loop.index0) % arguments.positional.size()];
}

Value loop_changed(Runtime& rt, Loop& loop, const Arguments& arguments) {
  std::vector<Value> values(arguments.positional.begin(), arguments.positional.end());
  bool same = loop.changed_values && loop.changed_values->size() == values.size();
  for (std::size_t i = 0; same && i < values.size(); ++i) {
    same = equal(rt.heap, (*loop.changed_values)[i], values[i]);
  }
  if (!same) loop.changed_values = std::move(values);
  return Value::boolean(!same);
}

}  // namespace spate::chat
