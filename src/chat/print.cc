// Printing of operators.h: str and repr as Python writes them.
#include <array>
#include <charconv>
#include <cmath>

#include "chat/loop.h"
#include "chat/macro.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

void append_value(Runtime& rt, std::string& out, const Value& v, int depth);

void append_hex(std::string& out, char letter, std::uint32_t value, int digits) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '\\';
  out += letter;
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
    out += kHex[(value >> static_cast<unsigned>(shift)) & 15U];
}

void append_escaped(std::string& out, std::string_view bytes, std::int32_t c, char quote) {
  if (c == quote || c == '\\') {
    out += '\\';
    out += bytes;
  } else if (c == '\n') {
    out += "\\n";
  } else if (c == '\r') {
    out += "\\r";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c < 0) {
    append_hex(out, 'x', static_cast<unsigned char>(bytes[0]), 2);
  } else if (is_printable(c)) {
    out += bytes;
  } else if (c < 0x100) {
    append_hex(out, 'x', static_cast<std::uint32_t>(c), 2);
  } else if (c < 0x10000) {
    append_hex(out, 'u', static_cast<std::uint32_t>(c), 4);
  } else {
    append_hex(out, 'U', static_cast<std::uint32_t>(c), 8);
  }
}

void append_quoted(Runtime& rt, std::string& out, std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos;
  const char quote = single || text.find('"') != std::string_view::npos ? '\'' : '"';
  rt.heap.work_bytes(text.size() * 4);
  out += quote;
  for (std::string_view bytes : split_code_points(text)) {
    append_escaped(out, bytes, code_point_at(bytes, 0).value, quote);
  }
  out += quote;
}

void append_pairs(Runtime& rt, std::string& out, const std::vector<Pair>& entries, int depth) {
  out += '{';
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) out += ", ";
    append_value(rt, out, entries[i].key, depth);
    out += ": ";
    append_value(rt, out, entries[i].value, depth);
  }
  out += '}';
}

void append_items(Runtime& rt, std::string& out, const std::vector<Value>& items, int depth) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ", ";
    append_value(rt, out, items[i], depth);
  }
}

void append_range(std::string& out, const Sequence& s) {
  const auto bound = [&](std::size_t i) { return std::to_string(s.range[i]); };
  out += "range(" + bound(0) + ", " + bound(1) + (s.range[2] == 1 ? "" : ", " + bound(2)) + ")";
}

void append_sequence(Runtime& rt, std::string& out, const Sequence& s, int depth) {
  switch (s.kind) {
    case SequenceKind::kList:
      out += '[';
      append_items(rt, out, s.items, depth);
      out += ']';
      break;
    case SequenceKind::kTuple:
      out += '(';
      append_items(rt, out, s.items, depth);
      out += s.items.size() == 1 ? ",)" : ")";
      break;
    case SequenceKind::kRange:
      append_range(out, s);
      break;
    case SequenceKind::kIterator:
      out += "<generator object>";
      break;
    default:
      out += s.kind == SequenceKind::kKeys     ? "dict_keys(["
             : s.kind == SequenceKind::kValues ? "dict_values(["
                                               : "dict_items([";
      append_items(rt, out, s.items, depth);
      out += "])";
  }
}

void append_object(Runtime& rt, std::string& out, const Value& v, int depth) {
  switch (v.kind()) {
    case Kind::kNamespace:
      out += "<Namespace ";
      append_pairs(rt, out, static_cast<Namespace*>(v.object())->entries, depth);
      out += '>';
      break;
    case Kind::kMacro: {
      const StringRep* name = static_cast<Macro*>(v.object())->definition->name;
      out += name == nullptr ? "<Macro anonymous>" : "<Macro '" + name->text + "'>";
      break;
    }
    case Kind::kLoop: {
      auto& loop = *static_cast<Loop*>(v.object());
      out += "<LoopContext " + std::to_string(loop.index0 + 1) + "/" +
             std::to_string(loop.length()) + ">";
      break;
    }
    default:
      out += "<" + std::string(type_name(v)) + ">";
  }
}

void append_value(Runtime& rt, std::string& out, const Value& v, int depth) {
  if (depth == 0) fail("a value is nested too deeply to be printed", "print parts of it");
  rt.heap.work(1);
  rt.heap.check_size(static_cast<double>(out.size()));
  switch (v.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      break;
    case Kind::kNone:
      out += "None";
      break;
    case Kind::kBool:
      out += v.as_bool() ? "True" : "False";
      break;
    case Kind::kInt:
      out += std::to_string(v.as_int());
      break;
    case Kind::kFloat:
      out += float_text(v.as_float());
      break;
    case Kind::kString:
      if (v.markup()) out += "Markup(";
      append_quoted(rt, out, v.text());
      if (v.markup()) out += ')';
      break;
    case Kind::kSequence:
      append_sequence(rt, out, v.sequence(), depth - 1);
      break;
    case Kind::kDict:
      append_pairs(rt, out, v.dict().entries, depth - 1);
      break;
    default:
      append_object(rt, out, v, depth - 1);
  }
}

}  // namespace

std::string float_text(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  std::array<char, 32> buffer{};
  const auto written =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), d, std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(written.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  int exponent = 0;
  const char* digits_of_exponent = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(digits_of_exponent, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string out = text[0] == '-' ? "-" : "";
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  const std::string fraction = digits.substr(whole);
  return out + digits.substr(0, whole) + "." + (fraction.empty() ? "0" : fraction);
}

void append_repr(Runtime& rt, std::string& out, const Value& v) {
  append_value(rt, out, v, kMaxValueDepth);
}

void append_text(Runtime& rt, std::string& out, const Value& v) {
  if (v.is_string()) {
    out += v.text();
  } else if (!v.is_undefined()) {
    append_repr(rt, out, v);
  }
}

Value to_string(Runtime& rt, const Value& v) {
  if (v.is_string()) return v;
  std::string out;
  append_text(rt, out, v);
  return rt.heap.string(std::move(out));
}

}  // namespace spate::chat
