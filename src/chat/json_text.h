// JSON in and out of the template's values. Out: Python's json.dumps as Hugging Face's tojson calls
// it.
#pragma once

#include <optional>
#include <string>

#include "chat/runtime.h"
#include "core/json.h"

namespace spate::chat {

struct JsonStyle {
  bool ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent = std::nullopt;  // one level; unset: a single line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

std::string to_json(Runtime& rt, const Value& v, const JsonStyle& style);
Value from_json(Runtime& rt, const OrderedJson& json, int depth = kMaxValueDepth);

}  // namespace spate::chat
