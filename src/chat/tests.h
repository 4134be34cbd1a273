// Jinja2's tests, the words behind `is`.
#pragma once

#include <string_view>

#include "chat/runtime.h"

namespace spate::chat {

struct TestEntry {
  std::string_view name;
  bool (*run)(Runtime& rt, const Value& subject, const Arguments& arguments);
};

/// The test of this name; null if there is none.
const TestEntry* find_test(std::string_view name);
bool run_test(Runtime& rt, const TestEntry& test, const Value& subject, const Arguments& arguments);

}  // namespace spate::chat
