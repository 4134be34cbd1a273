// Python's three ways to put values into text: '%' formatting, str.format, and format
// specifications.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "chat/runtime.h"

namespace spate::chat {

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =; unset: right for numbers, left for text
  char sign = '-';
  bool alternate = false;
  char grouping = '\0';
  char type = '\0';
  std::int64_t width = 0;
  std::optional<std::int64_t> precision = std::nullopt;
};

/// Throws Failure for a specification Python would refuse.
FormatSpec parse_format_spec(std::string_view text);
std::string format_value(Runtime& rt, const Value& v, const FormatSpec& spec);

/// format % arguments.
Value format_percent(Runtime& rt, const Value& format, const Value& arguments);
/// format.format(*positional, **named).
Value format_braces(Runtime& rt, const Value& format, const Arguments& arguments);

}  // namespace spate::chat
