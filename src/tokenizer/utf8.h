// UTF-8 by hand and the character classes of Unicode that tokenizers ask for. Except for
// repair_utf8 and scan_utf8, all functions take valid UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spate {

/// Bytes of the character that starts with text[at]; never past the end.
inline std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return length <= text.size() - at ? length : text.size() - at;
}

/// The code point at text[at] and, in `length`, its size in bytes.
char32_t utf8_decode(std::string_view text, std::size_t at, std::size_t& length);
void utf8_append(std::string& out, char32_t code_point);

/// What one step over possibly invalid UTF-8 finds at text[at].
struct Utf8Scan {
  std::size_t length = 0;  // bytes to step over: a character, or a maximal invalid subpart
  bool valid = false;
  bool incomplete = false;  // invalid only because the text ends inside a character
};
/// Unicode 15, table 3-7 and section 3.9, "U+FFFD substitution of maximal subparts": what Python
/// and Rust do.
Utf8Scan scan_utf8(std::string_view text, std::size_t at);

bool is_valid_utf8(std::string_view text);
/// `text` with every maximal invalid subpart replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

bool is_white_space(char32_t c);      // the property White_Space
bool is_numeric(char32_t c);          // categories Nd, Nl, No
bool is_punctuation(char32_t c);      // category P*, and all ASCII punctuation
bool is_mark(char32_t c);             // category M*
bool is_nonspacing_mark(char32_t c);  // category Mn
bool is_other(char32_t c);            // category C*
bool is_word(char32_t c);             // \w of Unicode regular expressions

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";
/// U+2581, which stands for a space in SentencePiece and its descendants.
inline constexpr std::string_view kMetaSpace = "\xE2\x96\x81";

}  // namespace spate
