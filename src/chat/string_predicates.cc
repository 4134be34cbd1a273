#include "chat/string_predicates.h"

#include "chat/text.h"

namespace spate::chat {
namespace {

// True when the string is not empty and every code point satisfies the predicate.
template <bool (*kPredicate)(std::int32_t), bool kEmpty = false>
Value all_are(Runtime& /*rt*/, const Value& self, const Arguments& /*arguments*/) {
  const std::string& text = self.text();
  const auto size = static_cast<std::int64_t>(text.size());
  for (std::int64_t i = 0; i < size;) {
    const CodePoint c = code_point_at(text, i);
    if (!kPredicate(c.value)) return Value::boolean(false);
    i += c.n_bytes;
  }
  return Value::boolean(kEmpty || size != 0);
}

bool is_alphanumeric(std::int32_t c) { return is_alphabetic(c) || is_numeric(c); }
bool is_ascii(std::int32_t c) { return c >= 0 && c < 0x80; }

// Some letter has the case, and none has the other.
template <bool (*kWanted)(std::int32_t), bool (*kOther)(std::int32_t)>
Value has_case(Runtime& /*rt*/, const Value& self, const Arguments& /*arguments*/) {
  bool any = false;
  for (std::string_view bytes : split_code_points(self.text())) {
    const std::int32_t c = code_point_at(bytes, 0).value;
    if (kOther(c)) return Value::boolean(false);
    any = any || kWanted(c);
  }
  return Value::boolean(any);
}

Value istitle(Runtime& /*rt*/, const Value& self, const Arguments& /*arguments*/) {
  bool any = false;
  bool inside = false;
  for (std::string_view bytes : split_code_points(self.text())) {
    const std::int32_t c = code_point_at(bytes, 0).value;
    const bool cased = is_upper(c) || is_lower(c);
    if ((is_upper(c) && inside) || (is_lower(c) && !inside)) return Value::boolean(false);
    any = any || cased;
    inside = cased;
  }
  return Value::boolean(any);
}

Value isidentifier(Runtime& /*rt*/, const Value& self, const Arguments& /*arguments*/) {
  bool first = true;
  for (std::string_view bytes : split_code_points(self.text())) {
    const std::int32_t c = code_point_at(bytes, 0).value;
    if (c != '_' && !is_alphabetic(c) && (first || !is_decimal(c))) return Value::boolean(false);
    first = false;
  }
  return Value::boolean(!first);
}

}  // namespace

Value string_isalnum(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_alphanumeric>(rt, self, arguments);
}
Value string_isalpha(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_alphabetic>(rt, self, arguments);
}
Value string_isascii(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_ascii, true>(rt, self, arguments);
}
Value string_isdecimal(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_decimal>(rt, self, arguments);
}
Value string_isdigit(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_digit>(rt, self, arguments);
}
Value string_isidentifier(Runtime& rt, const Value& self, const Arguments& arguments) {
  return isidentifier(rt, self, arguments);
}
Value string_islower(Runtime& rt, const Value& self, const Arguments& arguments) {
  return has_case<is_lower, is_upper>(rt, self, arguments);
}
Value string_isnumeric(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_numeric>(rt, self, arguments);
}
Value string_isprintable(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_printable, true>(rt, self, arguments);
}
Value string_isspace(Runtime& rt, const Value& self, const Arguments& arguments) {
  return all_are<is_space>(rt, self, arguments);
}
Value string_istitle(Runtime& rt, const Value& self, const Arguments& arguments) {
  return istitle(rt, self, arguments);
}
Value string_isupper(Runtime& rt, const Value& self, const Arguments& arguments) {
  return has_case<is_upper, is_lower>(rt, self, arguments);
}

}  // namespace spate::chat
