#include "chat/functions.h"

#include <array>

#include "chat/operators.h"

namespace spate::chat {
namespace {

constexpr std::int64_t kMaxRange = 100'000;  // Jinja's sandbox draws the same line
constexpr std::size_t kMaxTimeFormat = 256;

Value range(Runtime& rt, const std::tm& /*now*/, const Arguments& arguments) {
  const Bound bound("range", {.positional = arguments.positional}, {"start", "stop", "step"}, 1);
  if (!arguments.named.empty()) fail("range takes no named arguments");
  std::array<std::int64_t, 3> bounds = {0, 0, 1};
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    bounds[i] = to_index(bound.at(i), "an argument of range");
  if (arguments.positional.size() == 1) bounds = {0, bounds[0], 1};
  const auto [start, stop, step] = bounds;
  if (step == 0) fail("range's step is zero");
  const double distance = step > 0 ? static_cast<double>(stop) - static_cast<double>(start)
                                   : static_cast<double>(start) - static_cast<double>(stop);
  const double count = distance / std::abs(static_cast<double>(step));
  if (count > static_cast<double>(kMaxRange))
    fail("range has more than 100000 items", "loop over something shorter");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  rt.heap.work(static_cast<std::int64_t>(items.size()));
  Value v = rt.heap.list(std::move(items), SequenceKind::kRange);
  v.sequence().range = bounds;
  return v;
}

// What dict() and namespace() share: a mapping or pairs, then named values.
Dict* gather(Runtime& rt, const Arguments& arguments) {
  const Bound bound("dict", {.positional = arguments.positional}, {"items"}, 0);
  Dict* dict = rt.heap.dict();
  if (bound[0] != nullptr && bound.at(0).is(Kind::kDict)) {
    for (const Pair& entry : bound.at(0).dict().entries) dict->set(entry.key, entry.value);
  } else if (bound[0] != nullptr) {
    for (const Value& item : iterate(rt, bound.at(0))) {
      const std::vector<Value> pair = iterate(rt, item);
      if (pair.size() != 2) fail("dict needs pairs of a key and a value");
      dict->set(pair[0], pair[1]);
    }
  }
  for (const Pair& argument : arguments.named) dict->set(argument.key, argument.value);
  rt.heap.work(static_cast<std::int64_t>(dict->entries.size()));
  return dict;
}

Value dict(Runtime& rt, const std::tm& /*now*/, const Arguments& arguments) {
  return Value::object(Kind::kDict, gather(rt, arguments));
}

Value make_namespace(Runtime& rt, const std::tm& /*now*/, const Arguments& arguments) {
  auto* result = rt.heap.make<Namespace>();
  for (const Pair& entry : gather(rt, arguments)->entries) {
    if (!entry.key.is_string()) fail("the names of a namespace must be strings");
    set_namespace(rt, *result, entry.key, entry.value);
  }
  return Value::object(Kind::kNamespace, result);
}

Value cycler(Runtime& rt, const std::tm& /*now*/, const Arguments& arguments) {
  if (arguments.positional.empty()) fail("cycler needs values to choose from");
  auto* result = rt.heap.make<Cycler>();
  result->items.assign(arguments.positional.begin(), arguments.positional.end());
  return Value::object(Kind::kCycler, result);
}

Value joiner(Runtime& rt, const std::tm& /*now*/, const Arguments& arguments) {
  const Bound bound("joiner", arguments, {"sep"}, 0);
  auto* result = rt.heap.make<Joiner>();
  result->separator = bound[0] == nullptr ? rt.heap.string(", ") : bound.at(0);
  return Value::object(Kind::kJoiner, result);
}

Value raise_exception(Runtime& rt, const std::tm& /*now*/, const Arguments& arguments) {
  const Bound bound("raise_exception", arguments, {"message"}, 1);
  std::string message;
  append_text(rt, message, bound.at(0));
  fail("the template refuses this conversation: " + message);
}

Value strftime_now(Runtime& rt, const std::tm& now, const Arguments& arguments) {
  const Bound bound("strftime_now", arguments, {"format"}, 1);
  const std::string format(bound.text(0, ""));
  if (format.size() > kMaxTimeFormat)
    fail("strftime_now's format is too long", "use at most 256 bytes");
  std::array<char, kMaxTimeFormat * 32> buffer{};
  const std::size_t n = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now);
  return rt.heap.string(std::string(buffer.data(), n));
}

constexpr std::array<FunctionEntry, 7> kFunctions = {{{"range", range},
                                                      {"dict", dict},
                                                      {"namespace", make_namespace},
                                                      {"cycler", cycler},
                                                      {"joiner", joiner},
                                                      {"raise_exception", raise_exception},
                                                      {"strftime_now", strftime_now}}};

}  // namespace

std::span<const FunctionEntry> global_functions() { return kFunctions; }

void set_namespace(Runtime& rt, Namespace& target, const Value& name, Value value) {
  const std::string& text = name.text();
  if (!text.empty() && text[0] == '_')
    fail("a namespace cannot hold '" + text + "'", "use a name without a leading underscore");
  rt.heap.work(static_cast<std::int64_t>(target.entries.size() / 8));
  if (Value* found = target.find(text)) {
    *found = std::move(value);
    return;
  }
  rt.heap.take(static_cast<std::int64_t>(sizeof(Pair)));
  target.entries.push_back({name, std::move(value)});
}

}  // namespace spate::chat
