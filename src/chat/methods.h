// Methods of str, list, tuple, dict, numbers and of the loop variable. Methods that would change a
// list or a dict exist but are refused when called, as in Jinja's immutable sandbox.
#pragma once

#include <string_view>

#include "chat/runtime.h"

namespace spate::chat {

using MethodFunction = Value (*)(Runtime& rt, const Value& self, const Arguments& arguments);

struct MethodEntry {
  std::string_view name;
  MethodFunction run;  // null: the sandbox refuses it
};

struct MethodLookup {
  bool found = false;
  bool allowed = false;
  const MethodEntry* entry = nullptr;
};

MethodLookup find_method(const Value& self, std::string_view name);
Value bind_method(Runtime& rt, const Value& self, const MethodLookup& method);
Value call_method(Runtime& rt, const Value& method, const Arguments& arguments);
/// Attributes of loops, macros and cyclers.
Value object_attribute(Runtime& rt, const Value& base, const Value& name);

/// The methods of str, sorted by name (string_methods.cc).
std::span<const MethodEntry> string_methods();

}  // namespace spate::chat
