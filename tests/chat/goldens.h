// The goldens that tools/make_template_goldens.py wrote, and what comparing with them takes.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "chat/template.h"
#include "core/json.h"

namespace spate::testing {

/// The time the goldens were made at: Friday, 14 March 2025, 15:09:26.
inline std::tm golden_time() {
  std::tm t = {};
  t.tm_year = 125;
  t.tm_mon = 2;
  t.tm_mday = 14;
  t.tm_hour = 15;
  t.tm_min = 9;
  t.tm_sec = 26;
  t.tm_wday = 5;
  t.tm_yday = 72;
  return t;
}

/// Reads tests/chat/data/<name>; aborts the test program if the repository lacks it.
inline OrderedJson read_golden(const std::string& name) {
  const std::string path = "tests/chat/data/" + name;
  const Result<std::string> text = read_file(path);
  if (!text) throw std::runtime_error(text.error().message);
  return OrderedJson::parse(*text);
}

inline std::string fnv1a(std::string_view text) {
  std::uint64_t value = 0xCBF29CE484222325U;
  for (char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out(16, '0');
  for (std::size_t i = 16; i > 0; --i, value >>= 4U) out[i - 1] = kHex[value & 15U];
  return out;
}

/// The text of a template, rendered; or "error: " and why not.
inline std::string rendered(const std::string& source, const ChatInput& input,
                            const ChatLimits& limits = {}) {
  const Result<ChatTemplate> parsed = ChatTemplate::parse(source);
  if (!parsed) return "error: " + parsed.error().message;
  const Result<std::string> text = parsed->render(input, limits);
  return text ? *text : "error: " + text.error().message;
}

}  // namespace spate::testing
