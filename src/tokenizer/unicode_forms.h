// The normalization forms of Unicode (UAX 15) and case mapping, on utf8proc. Linear in the text,
// also for long runs of combining marks.
#pragma once

#include <cstdint>
#include <string>

namespace spate {

enum class UnicodeForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };

void normalize_unicode(std::string& text, UnicodeForm form);
/// Full lower case without context: what Rust's char::to_lowercase gives.
void lower_case(std::string& text);

}  // namespace spate
