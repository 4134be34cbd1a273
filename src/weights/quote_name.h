// How names that come out of a file appear in messages: quoted, short, without control characters.
#pragma once

#include <string>
#include <string_view>

namespace spate {

inline std::string quote_name(std::string_view name) {
  constexpr std::size_t kLongest = 160;
  std::string out = "\"";
  for (const char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return out + (name.size() > kLongest ? "...\"" : "\"");
}

}  // namespace spate
