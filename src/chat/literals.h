// Literals of the template language: the extent of a number and the escapes of a string.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spate::chat {

struct NumberSpan {
  std::size_t end = 0;
  int base = 10;
  bool is_float = false;
};

/// The number that starts at `begin`, a digit. After a dot (`x.0`) it is never a float.
NumberSpan scan_number(std::string_view source, std::size_t begin, bool after_dot);

/// The text of a string literal without its quotes, as Python's unicode-escape codec reads it.
/// Throws Failure for a broken escape.
std::string unescape(std::string_view body);

}  // namespace spate::chat
