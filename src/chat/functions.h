// The global functions of Hugging Face's template environment: range, dict, namespace, cycler,
// joiner, raise_exception, strftime_now. The clock is a parameter, so a render is a function of its
// input.
#pragma once

#include <ctime>
#include <span>
#include <string_view>

#include "chat/runtime.h"

namespace spate::chat {

struct FunctionEntry {
  std::string_view name;
  Value (*run)(Runtime& rt, const std::tm& now, const Arguments& arguments);
};

struct Function : Object {
  const FunctionEntry* entry = nullptr;
};

std::span<const FunctionEntry> global_functions();

/// Sets an attribute of a namespace; names with a leading underscore are refused.
void set_namespace(Runtime& rt, Namespace& target, const Value& name, Value value);

}  // namespace spate::chat
