#include "sample/stop.h"

#include <algorithm>

#include "core/check.h"

namespace spate {
namespace {

std::vector<std::int32_t> borders(const std::string& text) {
  std::vector<std::int32_t> border(text.size(), 0);
  std::int32_t length = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    while (length > 0 && text[i] != text[static_cast<std::size_t>(length)]) {
      length = border[static_cast<std::size_t>(length - 1)];
    }
    if (text[i] == text[static_cast<std::size_t>(length)]) ++length;
    border[i] = length;
  }
  return border;
}

// Bytes at the end of `text` that begin a character which they do not complete.
std::int64_t incomplete_character(std::string_view text) {
  const std::size_t looked_at = std::min<std::size_t>(text.size(), 3);
  for (std::size_t back = 1; back <= looked_at; ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;
    const std::size_t size = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return back < size ? static_cast<std::int64_t>(back) : 0;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include) : include_(include) {
  for (std::string& text : stops) {
    SPATE_CHECK(!text.empty());
    std::vector<std::int32_t> border = borders(text);
    patterns_.push_back({std::move(text), std::move(border)});
  }
}

// Advances every pattern; `length` is always that of the longest prefix the text ends with.
void StopMatcher::step(char byte) {
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    Pattern& p = patterns_[i];
    while (p.length > 0 && p.text[static_cast<std::size_t>(p.length)] != byte) {
      p.length = p.border[static_cast<std::size_t>(p.length - 1)];
    }
    if (p.text[static_cast<std::size_t>(p.length)] == byte) ++p.length;
    if (static_cast<std::size_t>(p.length) < p.text.size()) continue;
    const bool longer =
        !matched_ || p.text.size() > patterns_[static_cast<std::size_t>(*matched_)].text.size();
    if (longer) matched_ = static_cast<std::int64_t>(i);
  }
}

std::string_view StopMatcher::feed(std::string_view text) {
  if (matched_) return {};
  pending_.erase(0, static_cast<std::size_t>(out_));
  out_ = 0;
  for (const char byte : text) {
    pending_.push_back(byte);
    step(byte);
    if (!matched_) continue;
    const auto size = patterns_[static_cast<std::size_t>(*matched_)].text.size();
    if (!include_) pending_.resize(pending_.size() - size);
    return release(0);
  }
  std::int64_t held = incomplete_character(pending_);
  for (const Pattern& p : patterns_) held = std::max<std::int64_t>(held, p.length);
  return release(held);
}

std::string_view StopMatcher::pass(std::string_view text) {
  if (matched_) return {};
  for (Pattern& p : patterns_) p.length = 0;
  pending_.erase(0, static_cast<std::size_t>(out_));
  pending_.append(text);
  return release(incomplete_character(pending_));
}

std::string_view StopMatcher::finish() {
  if (matched_) return {};
  for (Pattern& p : patterns_) p.length = 0;
  pending_.erase(0, static_cast<std::size_t>(out_));
  return release(0);
}

std::string_view StopMatcher::release(std::int64_t held) {
  out_ = static_cast<std::int64_t>(pending_.size()) - held;
  const std::string_view pending = pending_;
  return pending.substr(0, static_cast<std::size_t>(out_));
}

}  // namespace spate
