// The methods of Python's str, as far as templates may call them.
#include <algorithm>
#include <array>

#include "chat/format.h"
#include "chat/methods.h"
#include "chat/operators.h"
#include "chat/string_predicates.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

constexpr auto kNone = std::string_view::npos;

// Text of a result: markup stays markup.
Value same(Runtime& rt, const Value& self, std::string text) {
  const Value v = rt.heap.string(std::move(text));
  return self.markup() ? v.with_markup() : v;
}

template <std::string (*kMap)(std::string_view)>
Value mapped(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("the string method", arguments, {}, 0);
  return same(rt, self, kMap(self.text()));
}

template <Side kSide>
Value strip(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("strip", arguments, {"chars"}, 0);
  if (!bound.has(0)) return same(rt, self, std::string{strip_space(self.text(), kSide)});
  const std::string_view set = bound.text(0, "");
  rt.heap.work_bytes(set.size() * 4 + self.text().size() * std::min<std::size_t>(set.size(), 64));
  return same(rt, self, std::string{strip_any(self.text(), set, kSide)});
}

// Which bytes of the string the optional start and stop arguments select; nothing if they cross.
struct Window {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t first = 0;  // in code points
  bool valid = true;
};

Window window(const Value& self, const Bound& bound, std::size_t start_argument) {
  const std::int64_t n = self.rep()->code_points;
  const auto clamp = [&](std::int64_t i) { return std::max<std::int64_t>(i < 0 ? i + n : i, 0); };
  const std::int64_t start = clamp(bound.integer(start_argument, 0));
  const std::int64_t stop = std::min(clamp(bound.integer(start_argument + 1, n)), n);
  Window w;
  w.valid = start <= stop;
  w.first = start;
  w.begin = byte_offset(self.text(), start);
  w.end = std::max(byte_offset(self.text(), stop), w.begin);
  return w;
}

std::string_view view(const Value& self, const Window& w) {
  const std::string_view text = self.text();
  return text.substr(static_cast<std::size_t>(w.begin), static_cast<std::size_t>(w.end - w.begin));
}

template <bool kEnd>
Value affix(Runtime& /*rt*/, const Value& self, const Arguments& arguments) {
  const Bound bound(kEnd ? "endswith" : "startswith", arguments, {"affix", "start", "stop"}, 1);
  const Window w = window(self, bound, 1);
  const std::string_view text = view(self, w);
  const auto matches = [&](const Value& v) {
    if (!v.is_string()) fail_operand(kEnd ? "endswith" : "startswith", v);
    const std::string_view part = v.text();
    if (!w.valid || part.size() > text.size()) return false;
    return kEnd ? text.substr(text.size() - part.size()) == part
                : text.substr(0, part.size()) == part;
  };
  const Value& wanted = bound.at(0);
  if (!wanted.is(Kind::kSequence)) return Value::boolean(matches(wanted));
  const std::vector<Value>& parts = wanted.sequence().items;
  return Value::boolean(std::any_of(parts.begin(), parts.end(), matches));
}

// Index in code points of the first or last occurrence, or -1.
template <bool kLast>
std::int64_t locate(const Value& self, const Arguments& arguments) {
  const Bound bound(kLast ? "rfind" : "find", arguments, {"sub", "start", "stop"}, 1);
  const std::string_view part = bound.text(0, "");
  const Window w = window(self, bound, 1);
  if (!w.valid) return -1;
  const std::string_view text = view(self, w);
  const std::size_t at = kLast ? text.rfind(part) : text.find(part);
  return at == kNone ? -1 : w.first + count_code_points(text.substr(0, at));
}

template <bool kLast>
Value find(Runtime& /*rt*/, const Value& self, const Arguments& arguments) {
  return Value::integer(locate<kLast>(self, arguments));
}

template <bool kLast>
Value index(Runtime& /*rt*/, const Value& self, const Arguments& arguments) {
  const std::int64_t at = locate<kLast>(self, arguments);
  if (at < 0) fail("the substring is not there", "use find, which gives -1");
  return Value::integer(at);
}

std::int64_t occurrences(std::string_view text, std::string_view part) {
  if (part.empty()) return count_code_points(text) + 1;
  std::int64_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != kNone; at += part.size()) ++n;
  return n;
}

Value count(Runtime& /*rt*/, const Value& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"sub", "start", "stop"}, 1);
  const Window w = window(self, bound, 1);
  return Value::integer(w.valid ? occurrences(view(self, w), bound.text(0, "")) : 0);
}

Value replace(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const std::string_view old = bound.text(0, "");
  std::string with(bound.text(1, ""));
  if (self.markup() && !bound.at(1).markup()) with = escape_html(with);
  const std::int64_t n = occurrences(self.text(), old);
  rt.heap.check_size(static_cast<double>(self.text().size()) +
                     static_cast<double>(n) * static_cast<double>(with.size()));
  return same(rt, self, replace_all(self.text(), old, with, bound.integer(2, -1)));
}

Value strings(Runtime& rt, const Value& self, const std::vector<std::string_view>& parts,
              SequenceKind kind = SequenceKind::kList) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (std::string_view part : parts) items.push_back(same(rt, self, std::string(part)));
  return rt.heap.list(std::move(items), kind);
}

std::vector<std::string_view> split_forward(std::string_view text, std::string_view separator,
                                            std::int64_t limit) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; limit != 0 && (at = text.find(separator)) != kNone; --limit) {
    parts.push_back(text.substr(0, at));
    text = text.substr(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_backward(std::string_view text, std::string_view separator,
                                             std::int64_t limit) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; limit != 0 && (at = text.rfind(separator)) != kNone; --limit) {
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::size_t word_end(std::string_view text) {
  std::size_t p = 0;
  while (p < text.size()) {
    const CodePoint c = code_point_at(text, static_cast<std::int64_t>(p));
    if (is_space(c.value)) break;
    p += static_cast<std::size_t>(c.n_bytes);
  }
  return p;
}

std::vector<std::string_view> words_forward(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> parts;
  text = strip_space(text, Side::kLeft);
  for (; limit != 0 && !text.empty(); --limit) {
    const std::size_t end = word_end(text);
    parts.push_back(text.substr(0, end));
    text = strip_space(text.substr(end), Side::kLeft);
  }
  // What is left over after the last split keeps its blanks inside, and at its end.
  if (!text.empty()) parts.push_back(text);
  return parts;
}

std::vector<std::string_view> words_backward(std::string_view text, std::int64_t limit) {
  if (limit < 0) return words_forward(text, limit);
  std::vector<std::string_view> parts;
  text = strip_space(text, Side::kRight);
  for (; limit != 0 && !text.empty(); --limit) {
    const std::vector<std::string_view> all = words_forward(text, -1);
    if (all.empty()) break;
    parts.push_back(all.back());
    const auto begin = static_cast<std::size_t>(all.back().data() - text.data());
    text = strip_space(text.substr(0, begin), Side::kRight);
  }
  if (!text.empty()) parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

template <bool kLast>
Value split(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("split", arguments, {"sep", "maxsplit"}, 0);
  const std::int64_t limit = bound.integer(1, -1);
  const std::string_view text = self.text();
  if (!bound.has(0)) {
    if (kLast && limit > 0)
      rt.heap.work(std::min<std::int64_t>(limit, self.rep()->code_points) *
                   self.rep()->code_points / 16);
    return strings(rt, self, kLast ? words_backward(text, limit) : words_forward(text, limit));
  }
  const std::string_view separator = bound.text(0, "");
  if (separator.empty())
    fail("split needs a separator that is not empty", "use |list for single characters");
  return strings(
      rt, self,
      kLast ? split_backward(text, separator, limit) : split_forward(text, separator, limit));
}

Value splitlines(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("splitlines", arguments, {"keepends"}, 0);
  return strings(rt, self, split_lines(self.text(), bound.boolean(0, false)));
}

template <bool kLast>
Value partition(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("partition", arguments, {"sep"}, 1);
  const std::string_view text = self.text();
  const std::string_view separator = bound.text(0, "");
  if (separator.empty()) fail("partition needs a separator that is not empty");
  const std::size_t at = kLast ? text.rfind(separator) : text.find(separator);
  std::vector<std::string_view> parts = {text, "", ""};
  if (at == kNone && kLast) parts = {"", "", text};
  if (at != kNone) parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  return strings(rt, self, parts, SequenceKind::kTuple);
}

Value join(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("join", arguments, {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : iterate(rt, bound.at(0))) {
    if (!item.is_string())
      fail("join needs strings, not " + std::string(type_name(item)), "use |map('string')");
    if (!first) out += self.text();
    first = false;
    out += self.markup() && !item.markup() ? escape_html(item.text()) : item.text();
    rt.heap.check_size(static_cast<double>(out.size()));
  }
  return same(rt, self, std::move(out));
}

template <char kAlign>
Value justify(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("the padding method", arguments, {"width", "fillchar"}, 1);
  const std::string_view fill = bound.text(1, " ");
  if (count_code_points(fill) != 1) fail("a fill must be one character");
  const std::int64_t missing = bound.integer(0, 0) - self.rep()->code_points;
  if (missing <= 0) return self;
  rt.heap.check_size(static_cast<double>(missing) * static_cast<double>(fill.size()));
  // CPython puts the odd blank on the left when the width is odd.
  const std::int64_t centered = missing / 2 + (missing & bound.integer(0, 0) & 1);
  const std::int64_t left = kAlign == '<' ? 0 : kAlign == '>' ? missing : centered;
  std::string out;
  for (std::int64_t i = 0; i < left; ++i) out += fill;
  out += self.text();
  for (std::int64_t i = left; i < missing; ++i) out += fill;
  return same(rt, self, std::move(out));
}

Value zfill(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("zfill", arguments, {"width"}, 1);
  const std::int64_t missing = bound.integer(0, 0) - self.rep()->code_points;
  if (missing <= 0) return self;
  rt.heap.check_size(static_cast<double>(missing));
  std::string out = self.text();
  const bool has_sign = !out.empty() && (out[0] == '+' || out[0] == '-');
  out.insert(has_sign ? 1 : 0, static_cast<std::size_t>(missing), '0');
  return same(rt, self, std::move(out));
}

Value expandtabs(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("expandtabs", arguments, {"tabsize"}, 0);
  const std::int64_t size = bound.integer(0, 8);
  std::string out;
  std::int64_t column = 0;
  for (std::string_view c : split_code_points(self.text())) {
    if (c == "\t") {
      const std::int64_t blanks = size > 0 ? size - column % size : 0;
      rt.heap.check_size(static_cast<double>(out.size()) + static_cast<double>(blanks));
      out.append(static_cast<std::size_t>(blanks), ' ');
      column += blanks;
    } else {
      out += c;
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  }
  return same(rt, self, std::move(out));
}

template <bool kEnd>
Value remove_affix(Runtime& rt, const Value& self, const Arguments& arguments) {
  const Bound bound("remove", arguments, {"affix"}, 1);
  const std::string_view part = bound.text(0, "");
  std::string_view text = self.text();
  const bool fits = part.size() <= text.size();
  if (kEnd && fits && text.substr(text.size() - part.size()) == part)
    text = text.substr(0, text.size() - part.size());
  if (!kEnd && fits && text.substr(0, part.size()) == part) text = text.substr(part.size());
  return same(rt, self, std::string(text));
}

constexpr std::array kStringMethods = std::to_array<MethodEntry>({
    {"capitalize", mapped<capitalize>},
    {"casefold", mapped<to_lower>},
    {"center", justify<'^'>},
    {"count", count},
    {"encode", nullptr},
    {"endswith", affix<true>},
    {"expandtabs", expandtabs},
    {"find", find<false>},
    {"format", format_braces},
    {"format_map", nullptr},
    {"index", index<false>},
    {"isalnum", string_isalnum},
    {"isalpha", string_isalpha},
    {"isascii", string_isascii},
    {"isdecimal", string_isdecimal},
    {"isdigit", string_isdigit},
    {"isidentifier", string_isidentifier},
    {"islower", string_islower},
    {"isnumeric", string_isnumeric},
    {"isprintable", string_isprintable},
    {"isspace", string_isspace},
    {"istitle", string_istitle},
    {"isupper", string_isupper},
    {"join", join},
    {"ljust", justify<'<'>},
    {"lower", mapped<to_lower>},
    {"lstrip", strip<Side::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace},
    {"rfind", find<true>},
    {"rindex", index<true>},
    {"rjust", justify<'>'>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<Side::kRight>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", affix<false>},
    {"strip", strip<Side::kBoth>},
    {"swapcase", mapped<swap_case>},
    {"title", mapped<to_title>},
    {"translate", nullptr},
    {"upper", mapped<to_upper>},
    {"zfill", zfill},
});

}  // namespace

std::span<const MethodEntry> string_methods() { return kStringMethods; }

}  // namespace spate::chat
