// Numbers read from text as Python's int() and float() read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace spate::chat {

/// int(text, base): blanks around, a sign, underscores between digits, a prefix that fits the base.
std::optional<std::int64_t> parse_integer(std::string_view text, std::int64_t base);
/// float(text), with inf and nan.
std::optional<double> parse_float(std::string_view text);

}  // namespace spate::chat
