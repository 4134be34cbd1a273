// Python's str methods on UTF-8: everything that counts code points or maps case. Bytes that are
// not UTF-8 count as one code point each, so no function here can fail.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spate::chat {

/// The code point at `offset` and its length in bytes (1 for a stray byte).
struct CodePoint {
  std::int32_t value = 0;
  std::int64_t n_bytes = 1;
};
CodePoint code_point_at(std::string_view text, std::int64_t offset);

std::int64_t count_code_points(std::string_view text);
/// Byte offset of the code point with this index; text.size() past the end.
std::int64_t byte_offset(std::string_view text, std::int64_t index);
void append_utf8(std::string& out, std::int32_t code_point);
std::vector<std::string_view> split_code_points(std::string_view text);

/// Python's str.isspace for one code point.
bool is_space(std::int32_t code_point);
enum class Side : std::uint8_t { kLeft, kRight, kBoth };
std::string_view strip_space(std::string_view text, Side side);
/// Strips any of the code points in `set`.
std::string_view strip_any(std::string_view text, std::string_view set, Side side);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
/// First letter of each run of letters in upper case, the rest in lower: str.title.
std::string to_title(std::string_view text);
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);

bool is_alphabetic(std::int32_t code_point);
bool is_decimal(std::int32_t code_point);
bool is_digit(std::int32_t code_point);
bool is_numeric(std::int32_t code_point);
bool is_upper(std::int32_t code_point);
bool is_lower(std::int32_t code_point);
bool is_printable(std::int32_t code_point);

/// Lines as str.splitlines, without or with their ends.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
std::string replace_all(std::string_view text, std::string_view old, std::string_view with,
                        std::int64_t count);
/// & < > " ' as entities, the way markupsafe writes them.
std::string escape_html(std::string_view text);

}  // namespace spate::chat
