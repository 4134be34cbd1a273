// Filters on text.
#include <algorithm>
#include <array>

#include "chat/filters.h"
#include "chat/format.h"
#include "chat/json_text.h"
#include "chat/methods.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

Value with_markup_of(Runtime& rt, const Value& source, std::string text) {
  const Value v = rt.heap.string(std::move(text));
  return source.markup() ? v.with_markup() : v;
}

// A filter that turns its input into a string and calls the method of the same name.
Value by_method(Runtime& rt, const Value& input, std::string_view method,
                const Arguments& arguments) {
  const Value text = to_string(rt, input);
  return find_method(text, method).entry->run(rt, text, arguments);
}

Value upper(Runtime& rt, const Value& input, const Arguments& arguments) {
  return by_method(rt, input, "upper", arguments);
}
Value lower(Runtime& rt, const Value& input, const Arguments& arguments) {
  return by_method(rt, input, "lower", arguments);
}
Value capitalized(Runtime& rt, const Value& input, const Arguments& arguments) {
  return by_method(rt, input, "capitalize", arguments);
}
Value trim(Runtime& rt, const Value& input, const Arguments& arguments) {
  return by_method(rt, input, "strip", arguments);
}

Value center(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("center", arguments, {"width"}, 0);
  const std::array<Value, 1> width = {Value::integer(bound.integer(0, 80))};
  return by_method(rt, input, "center", {.positional = width});
}

bool breaks_word(std::int32_t c) {
  return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

Value title(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("title", arguments, {}, 0);
  const Value text = to_string(rt, input);
  std::string out;
  std::string word;
  bool first = true;
  for (std::string_view c : split_code_points(text.text())) {
    const bool breaks = breaks_word(code_point_at(c, 0).value);
    if (breaks) {
      out += to_lower(word);
      word.clear();
      out += c;
    } else if (first) {
      out += to_upper(c);
    } else {
      word += c;
    }
    first = breaks;
  }
  return with_markup_of(rt, text, out + to_lower(word));
}

Value replace(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  std::string source;
  append_text(rt, source, input);
  const std::array<Value, 3> parts = {to_string(rt, bound.at(0)), to_string(rt, bound.at(1)),
                                      Value::integer(bound.integer(2, -1))};
  const Value plain = rt.heap.string(std::move(source));
  return find_method(plain, "replace").entry->run(rt, plain, {.positional = parts});
}

Value indent(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("indent", arguments, {"width", "first", "blank"}, 0);
  if (!input.is_string()) fail_operand("indent", input);
  std::string prefix;
  if (bound[0] != nullptr && bound.at(0).is_string()) {
    prefix = bound.at(0).text();
  } else {
    const std::int64_t width = bound.integer(0, 4);
    rt.heap.check_size(static_cast<double>(width));
    prefix.assign(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
  }
  const std::string text = input.text() + "\n";
  const std::vector<std::string_view> lines = split_lines(text, false);
  const bool blank = bound.boolean(2, false);
  rt.heap.check_size(static_cast<double>(text.size()) +
                     static_cast<double>(prefix.size()) * static_cast<double>(lines.size()));
  std::string out;
  if (bound.boolean(1, false)) out = prefix;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) out += '\n';
    if (i != 0 && (blank || !lines[i].empty())) out += prefix;
    out += lines[i];
  }
  return with_markup_of(rt, input, std::move(out));
}

Value truncate(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"}, 0);
  if (!input.is_string()) fail_operand("truncate", input);
  const std::int64_t length = bound.integer(0, 255);
  const std::string_view end = bound.text(2, "...");
  const std::int64_t kept = length - count_code_points(end);
  const std::int64_t leeway = bound.integer(3, 5);
  if (kept < 0 || leeway < 0) fail("truncate's length is shorter than its end");
  if (input.rep()->code_points - leeway <= length) return input;
  std::string out =
      input.text().substr(0, static_cast<std::size_t>(byte_offset(input.text(), kept)));
  const std::size_t blank = bound.boolean(1, false) ? std::string::npos : out.rfind(' ');
  if (blank != std::string::npos) out.resize(blank);
  out += end;
  return with_markup_of(rt, input, std::move(out));
}

Value wordcount(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("wordcount", arguments, {}, 0);
  const Value text = to_string(rt, input);
  std::int64_t n = 0;
  bool inside = false;
  for (std::string_view c : split_code_points(text.text())) {
    const std::int32_t code = code_point_at(c, 0).value;
    const bool word = code == '_' || is_alphabetic(code) || is_numeric(code);
    if (word && !inside) ++n;
    inside = word;
  }
  return Value::integer(n);
}

Value safe(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  return to_string(rt, input).with_markup();
}

Value force_escape(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  return rt.heap.string(escape_html(to_string(rt, input).text())).with_markup();
}

Value escape(Runtime& rt, const Value& input, const Arguments& arguments) {
  return input.markup() ? input : force_escape(rt, input, arguments);
}

Value string(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  return to_string(rt, input);
}

Value format(Runtime& rt, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    fail("format takes either positional or named arguments");
  }
  const Value text = to_string(rt, input);
  if (arguments.named.empty()) {
    std::vector<Value> items(arguments.positional.begin(), arguments.positional.end());
    return format_percent(rt, text, rt.heap.list(std::move(items), SequenceKind::kTuple));
  }
  Dict* dict = rt.heap.dict();
  for (const Pair& argument : arguments.named) dict->set(argument.key, argument.value);
  return format_percent(rt, text, Value::object(Kind::kDict, dict));
}

Value urlencode(Runtime& rt, const Value& input, const Arguments& /*arguments*/) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kSafe = "_.-~/";
  std::string out;
  if (!input.is_string() && is_iterable(input)) fail_operand("urlencode", input);
  for (char c : to_string(rt, input).text()) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = byte < 0x80 && (is_alphabetic(byte) || is_decimal(byte));
    if (letter || kSafe.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return rt.heap.string(std::move(out));
}

JsonStyle json_style(Runtime& rt, const Bound& bound) {
  JsonStyle style;
  style.ascii = bound.boolean(0, false);
  style.sort_keys = bound.boolean(3, false);
  if (bound.has(1)) {
    style.item_separator = ",";
    if (bound.at(1).is_string()) {
      style.indent = bound.at(1).text();
    } else {
      const std::int64_t width = std::max<std::int64_t>(bound.integer(1, 0), 0);
      rt.heap.check_size(static_cast<double>(width));
      style.indent = std::string(static_cast<std::size_t>(width), ' ');
    }
  }
  if (bound.has(2)) {
    const std::vector<Value> pair = iterate(rt, bound.at(2));
    const bool ok = pair.size() == 2 && pair[0].is_string() && pair[1].is_string();
    if (!ok) fail("tojson's separators must be two strings", "write separators=(',', ':')");
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  return style;
}

Value tojson(Runtime& rt, const Value& input, const Arguments& arguments) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
  return rt.heap.string(to_json(rt, input, json_style(rt, bound)));
}

constexpr std::array kTextFilters = std::to_array<FilterEntry>({
    {"capitalize", capitalized},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"format", format},
    {"indent", indent},
    {"lower", lower},
    {"replace", replace},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
});

}  // namespace

std::span<const FilterEntry> text_filters() { return kTextFilters; }

}  // namespace spate::chat
