#include "chat/json_text.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

class Writer {
 public:
  Writer(Runtime& rt, const JsonStyle& style) : rt_(rt), style_(style) {}

  std::string run(const Value& v) {
    value(v, 0);
    return std::move(out_);
  }

 private:
  void value(const Value& v, int depth) {
    if (depth == kMaxValueDepth) fail("a value is nested too deeply for JSON");
    rt_.heap.work(1);
    rt_.heap.check_size(static_cast<double>(out_.size()));
    switch (v.kind()) {
      case Kind::kString:
        return text(v.text());
      case Kind::kDict:
        return dict(v.dict(), depth);
      case Kind::kSequence:
        if (v.sequence().kind <= SequenceKind::kTuple) return list(v.sequence().items, depth);
        [[fallthrough]];
      default:
        out_ += scalar(v);
    }
  }

  static std::string scalar(const Value& v) {
    switch (v.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return v.as_bool() ? "true" : "false";
      case Kind::kInt:
        return std::to_string(v.as_int());
      case Kind::kFloat:
        if (std::isnan(v.as_float())) return "NaN";
        if (std::isinf(v.as_float())) return v.as_float() < 0 ? "-Infinity" : "Infinity";
        return float_text(v.as_float());
      case Kind::kUndefined:
        fail_undefined(v);
      default:
        fail("a value of type " + std::string(type_name(v)) + " has no JSON form",
             "use |list, or pick its parts");
    }
  }

  void escape(std::uint32_t unit) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out_ += "\\u";
    for (unsigned shift = 16; shift > 0; shift -= 4) out_ += kHex[(unit >> (shift - 4)) & 15U];
  }

  void beyond_ascii(std::string_view bytes) {
    const std::int32_t c = code_point_at(bytes, 0).value;
    if (!style_.ascii || c < 0) {
      out_ += bytes;
    } else if (c < 0x10000) {
      escape(static_cast<std::uint32_t>(c));
    } else {
      const auto rest = static_cast<std::uint32_t>(c) - 0x10000U;
      escape(0xD800U + (rest >> 10U));
      escape(0xDC00U + (rest & 0x3FFU));
    }
  }

  void character(char c) {
    switch (c) {
      case '"':
        out_ += "\\\"";
        break;
      case '\\':
        out_ += "\\\\";
        break;
      case '\n':
        out_ += "\\n";
        break;
      case '\r':
        out_ += "\\r";
        break;
      case '\t':
        out_ += "\\t";
        break;
      case '\b':
        out_ += "\\b";
        break;
      case '\f':
        out_ += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          escape(static_cast<unsigned char>(c));
        } else {
          out_ += c;
        }
    }
  }

  void text(std::string_view s) {
    rt_.heap.work_bytes(s.size());
    out_ += '"';
    const auto size = static_cast<std::int64_t>(s.size());
    for (std::int64_t i = 0; i < size;) {
      const char c = s[static_cast<std::size_t>(i)];
      const std::int64_t n = static_cast<unsigned char>(c) < 0x80 ? 1 : code_point_at(s, i).n_bytes;
      if (static_cast<unsigned char>(c) < 0x80) {
        character(c);
      } else {
        beyond_ascii(s.substr(static_cast<std::size_t>(i), static_cast<std::size_t>(n)));
      }
      i += n;
    }
    out_ += '"';
  }

  void line(int depth) {
    if (!style_.indent) return;
    out_ += '\n';
    rt_.heap.check_size(static_cast<double>(out_.size()) +
                        static_cast<double>(style_.indent->size()) * depth);
    for (int i = 0; i < depth; ++i) out_ += *style_.indent;
  }

  void list(const std::vector<Value>& items, int depth) {
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_ += style_.item_separator;
      line(depth + 1);
      value(items[i], depth + 1);
    }
    if (!items.empty()) line(depth);
    out_ += ']';
  }

  void dict(const Dict& d, int depth) {
    std::vector<const Pair*> entries;
    for (const Pair& entry : d.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const Pair* a, const Pair* b) { return less(rt_, a->key, b->key); });
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i != 0) out_ += style_.item_separator;
      line(depth + 1);
      text(entries[i]->key.is_string() ? entries[i]->key.text() : key(entries[i]->key));
      out_ += style_.key_separator;
      value(entries[i]->value, depth + 1);
    }
    if (!entries.empty()) line(depth);
    out_ += '}';
  }

  static std::string key(const Value& v) {
    if (!v.is_numeric() && !v.is_none())
      fail("a JSON key cannot be of type " + std::string(type_name(v)));
    return scalar(v);
  }

  Runtime& rt_;
  const JsonStyle& style_;
  std::string out_{};
};

Value number_from_json(const OrderedJson& json) {
  if (json.is_number_float()) return Value::number(json.get<double>());
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    fail("the integer " + json.dump() + " in the input does not fit in 64 bits",
         "pass it as a string");
  }
  return Value::integer(json.get<std::int64_t>());
}

}  // namespace

std::string to_json(Runtime& rt, const Value& v, const JsonStyle& style) {
  return Writer(rt, style).run(v);
}

Value from_json(Runtime& rt, const OrderedJson& json, int depth) {
  if (depth == 0) fail("the input is nested too deeply", "pass flatter JSON");
  switch (json.type()) {
    case OrderedJson::value_t::null:
      return Value::none();
    case OrderedJson::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case OrderedJson::value_t::number_integer:
    case OrderedJson::value_t::number_unsigned:
    case OrderedJson::value_t::number_float:
      return number_from_json(json);
    case OrderedJson::value_t::string:
      return rt.heap.string(json.get_ref<const std::string&>());
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const OrderedJson& item : json) items.push_back(from_json(rt, item, depth - 1));
      return rt.heap.list(std::move(items));
    }
    case OrderedJson::value_t::object: {
      Dict* dict = rt.heap.dict();
      for (const auto& [key, value] : json.items())
        dict->set(rt.heap.string(key), from_json(rt, value, depth - 1));
      return Value::object(Kind::kDict, dict);
    }
    default:
      fail("the input holds a value that is not JSON");
  }
}

}  // namespace spate::chat
