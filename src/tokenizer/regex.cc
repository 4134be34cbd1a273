#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <cstdint>

#include <fmt/format.h>
#include <pcre2.h>

#include "core/check.h"
#include "core/load_error.h"
#include "tokenizer/oniguruma.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

constexpr std::size_t kMaxPattern = 1 << 16;
// Backtracking steps of one match. Real patterns take a handful per character of a match.
constexpr std::uint32_t kMatchLimit = 10'000'000;
constexpr std::uint32_t kHeapLimitKib = 64 << 10;
constexpr std::size_t kJitStack = 8 << 20;

}  // namespace

void Pattern::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(std::string_view expression, std::string_view where) {
  if (expression.size() > kMaxPattern) {
    throw LoadError(ErrorCode::kUnsupported,
                    fmt::format("{}: the regular expression has {} bytes, the limit is {}", where,
                                expression.size(), kMaxPattern));
  }
  const std::string translated = translate_oniguruma(expression, where);
  int code = 0;
  PCRE2_SIZE offset = 0;
  Pattern pattern;
  pattern.code_.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,  // would cut characters
      &code, &offset, nullptr));
  if (!pattern.code_) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(code, message.data(), message.size());
    throw LoadError(ErrorCode::kUnsupported,
                    fmt::format("{}: cannot compile the regular expression '{}': {} at byte {} of "
                                "its PCRE2 form '{}'",
                                where, expression, reinterpret_cast<const char*>(message.data()),
                                offset, translated));
  }
  pattern.jit_ = pcre2_jit_compile(pattern.code_.get(), PCRE2_JIT_COMPLETE) == 0;
  return pattern;
}

Pattern Pattern::from_json(const JsonNode& node) {
  if (node.json().is_string()) return literal(node.text());
  if (node.find("String")) return literal(node.text("String"));
  if (node.find("Regex")) return regex(node.text("Regex"), node.where());
  node.refuse(ErrorCode::kUnsupported, "a pattern is {\"String\": ...} or {\"Regex\": ...}");
}

std::string Pattern::replace(std::string_view text, std::string_view content) const {
  std::vector<TextSpan> matches;
  Search(*this).find_all(text, matches);
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  for (const TextSpan& match : matches) {
    out.append(text.substr(done, match.begin - done));
    out.append(content);
    done = match.end;
  }
  out.append(text.substr(done));
  return out;
}

Pattern::Search::Search(const Pattern& pattern) : pattern_(pattern) {
  if (!pattern.code_) return;
  data_ = pcre2_match_data_create(1, nullptr);
  context_ = pcre2_match_context_create(nullptr);
  SPATE_CHECK(data_ != nullptr && context_ != nullptr);
  pcre2_set_match_limit(context_, kMatchLimit);
  pcre2_set_heap_limit(context_, kHeapLimitKib);
}

Pattern::Search::~Search() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  pcre2_jit_stack_free(stack_);
}

int Pattern::Search::match_once(std::string_view text, std::size_t from) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  if (!pattern_.jit_) {
    return pcre2_match(pattern_.code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, data_,
                       context_);
  }
  return pcre2_jit_match(pattern_.code_.get(), subject, text.size(), from, 0, data_, context_);
}

bool Pattern::Search::find_from(std::string_view text, std::size_t from, TextSpan& match) {
  if (!pattern_.code_) {
    if (pattern_.literal_.empty()) return false;
    match.begin = text.find(pattern_.literal_, from);
    match.end = match.begin + pattern_.literal_.size();
    return match.begin != std::string_view::npos;
  }
  int found = match_once(text, from);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT && stack_ == nullptr) {
    // The machine stack's 32 KiB are enough for all but long repeated groups.
    stack_ = pcre2_jit_stack_create(32 << 10, kJitStack, nullptr);
    pcre2_jit_stack_assign(context_, nullptr, stack_);
    found = match_once(text, from);
  }
  if (found < 0) return false;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_);
  match = {bounds[0], bounds[1]};
  return match.begin <= match.end && match.begin >= from;  // \K can break either
}

void Pattern::Search::find_all(std::string_view text, std::vector<TextSpan>& matches) {
  matches.clear();
  std::size_t from = 0;
  TextSpan match;
  while (from <= text.size() && find_from(text, from, match)) {
    const bool empty = match.begin == match.end;
    const bool after_last = !matches.empty() && matches.back().end == match.begin;
    if (!empty || !after_last) matches.push_back(match);
    from = match.end;
    if (!empty) continue;
    if (from >= text.size()) break;
    from += utf8_length(text, from);
  }
}

}  // namespace spate
