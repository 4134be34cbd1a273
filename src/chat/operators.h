// Python's operators and protocols on Values: truth, printing, arithmetic, order, membership,
// attributes, items, slices, iteration. Undefined values fail here as Jinja2's Undefined does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/ast.h"
#include "chat/runtime.h"

namespace spate::chat {

bool truthy(const Value& v);
/// 'str', 'int', 'NoneType': Python's names, for messages.
std::string_view type_name(const Value& v);
[[noreturn]] void fail_undefined(const Value& v);
[[noreturn]] void fail_operand(std::string_view what, const Value& v);

/// str(v) as a string value, keeping markup; repr(v).
Value to_string(Runtime& rt, const Value& v);
/// Appends str(v) to `out` without an intermediate value.
void append_text(Runtime& rt, std::string& out, const Value& v);
void append_repr(Runtime& rt, std::string& out, const Value& v);
/// Python's repr of a float: 1.0, 0.1, 1e+16.
std::string float_text(double d);

Value binary(Runtime& rt, Operator op, const Value& a, const Value& b);
Value negate(const Value& v);
Value positive(const Value& v);
bool compare(Runtime& rt, Operator op, const Value& a, const Value& b);
/// a < b in Python's order; an error for types that have none.
bool less(Runtime& rt, const Value& a, const Value& b);
bool contains(Runtime& rt, const Value& container, const Value& item);

/// Jinja's a.name: methods first, then items. Undefined if neither is there.
Value get_attribute(Runtime& rt, const Value& base, const Value& name);
/// Jinja's a[index]: items first, then attributes.
Value get_item(Runtime& rt, const Value& base, const Value& index);
struct SliceBounds {
  Value start = Value::none();
  Value stop = Value::none();
  Value step = Value::none();
};
Value get_slice(Runtime& rt, const Value& base, const SliceBounds& bounds);

bool is_iterable(const Value& v);
/// The items a loop over `v` sees. An iterator is used up.
std::vector<Value> iterate(Runtime& rt, const Value& v);
/// len(v); an error for what has no length.
std::int64_t length_of(const Value& v);
/// int(v) of a bool or int; an error for anything else.
std::int64_t to_index(const Value& v, std::string_view what);

}  // namespace spate::chat
