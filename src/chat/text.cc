#include "chat/text.h"

#include <algorithm>
#include <array>

#include <utf8proc.h>

namespace spate::chat {
namespace {

unsigned byte_at(std::string_view text, std::int64_t offset) {
  return static_cast<unsigned char>(text[static_cast<std::size_t>(offset)]);
}

std::int64_t sequence_length(unsigned lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  return 1;
}

// Unicode's SpecialCasing for upper case, the unconditional part that occurs in running text;
// utf8proc maps one code point to one.
struct SpecialUpper {
  std::int32_t code_point;
  std::string_view upper;
  std::string_view title;
};
constexpr std::array<SpecialUpper, 10> kSpecialUpper = {{
    {0xDF, "SS", "Ss"},
    {0x149, "\xCA\xBCN", "\xCA\xBCN"},
    {0x587, "\xD4\xB5\xD5\x92", "\xD4\xB5\xD6\x82"},
    {0xFB00, "FF", "Ff"},
    {0xFB01, "FI", "Fi"},
    {0xFB02, "FL", "Fl"},
    {0xFB03, "FFI", "Ffi"},
    {0xFB04, "FFL", "Ffl"},
    {0xFB05, "ST", "St"},
    {0xFB06, "ST", "St"},
}};

void append_upper(std::string& out, std::int32_t c) {
  for (const SpecialUpper& special : kSpecialUpper) {
    if (special.code_point == c) {
      out += special.upper;
      return;
    }
  }
  append_utf8(out, utf8proc_toupper(c));
}

void append_title(std::string& out, std::int32_t c) {
  for (const SpecialUpper& special : kSpecialUpper) {
    if (special.code_point == c) {
      out += special.title;
      return;
    }
  }
  append_utf8(out, utf8proc_totitle(c));
}

utf8proc_category_t category(std::int32_t c) { return utf8proc_category(c); }

bool is_cased(std::int32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

// Greek sigma at the end of a word has its own lower case (Unicode's Final_Sigma).
bool ends_word(std::string_view text, std::int64_t offset, std::int64_t next) {
  std::int64_t before = offset;
  while (before > 0 && (byte_at(text, before - 1) & 0xC0U) == 0x80) --before;
  if (before == 0) return false;
  const bool letter_before = is_cased(code_point_at(text, before - 1).value);
  const bool letter_after =
      next < static_cast<std::int64_t>(text.size()) && is_cased(code_point_at(text, next).value);
  return letter_before && !letter_after;
}

void append_lower(std::string& out, std::string_view text, std::int64_t offset, CodePoint c) {
  constexpr std::int32_t kCapitalSigma = 0x3A3;
  constexpr std::int32_t kDottedI = 0x130;
  if (c.value == kDottedI) {
    out += "i\xCC\x87";
  } else if (c.value == kCapitalSigma && ends_word(text, offset, offset + c.n_bytes)) {
    out += "\xCF\x82";
  } else {
    append_utf8(out, utf8proc_tolower(c.value));
  }
}

// Stray bytes pass through unchanged: they are not code points.
bool copy_stray(std::string& out, std::string_view text, std::int64_t offset, CodePoint c) {
  if (c.value >= 0) return false;
  out += text[static_cast<std::size_t>(offset)];
  return true;
}

template <class Append>
std::string map_code_points(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  const auto size = static_cast<std::int64_t>(text.size());
  for (std::int64_t i = 0; i < size;) {
    const CodePoint c = code_point_at(text, i);
    if (!copy_stray(out, text, i, c)) append(out, i, c);
    i += c.n_bytes;
  }
  return out;
}

bool is_line_end(std::int32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::int64_t offset) {
  const unsigned lead = byte_at(text, offset);
  if (lead < 0x80) return {static_cast<std::int32_t>(lead), 1};
  const std::int64_t n = sequence_length(lead);
  if (n == 1 || offset + n > static_cast<std::int64_t>(text.size())) return {-1, 1};
  std::uint32_t value = lead & (0xFFU >> (n + 1));
  for (std::int64_t i = 1; i < n; ++i) {
    const unsigned next = byte_at(text, offset + i);
    if ((next & 0xC0U) != 0x80) return {-1, 1};
    value = (value << 6U) | (next & 0x3FU);
  }
  const bool overlong = (n == 3 && value < 0x800) || (n == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (overlong || surrogate || value > 0x10FFFF) return {-1, 1};
  return {static_cast<std::int32_t>(value), n};
}

std::int64_t count_code_points(std::string_view text) {
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size; ++count) {
    i += byte_at(text, i) < 0x80 ? 1 : code_point_at(text, i).n_bytes;
  }
  return count;
}

std::int64_t byte_offset(std::string_view text, std::int64_t index) {
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < index && offset < size; ++i) {
    offset += code_point_at(text, offset).n_bytes;
  }
  return offset;
}

void append_utf8(std::string& out, std::int32_t code_point) {
  std::array<utf8proc_uint8_t, 4> buffer{};
  const utf8proc_ssize_t n = utf8proc_encode_char(code_point, buffer.data());
  out.append(reinterpret_cast<const char*>(buffer.data()), static_cast<std::size_t>(n));  // NOLINT
}

std::vector<std::string_view> split_code_points(std::string_view text) {
  std::vector<std::string_view> parts;
  const auto size = static_cast<std::int64_t>(text.size());
  for (std::int64_t i = 0; i < size;) {
    const std::int64_t n = code_point_at(text, i).n_bytes;
    parts.push_back(text.substr(static_cast<std::size_t>(i), static_cast<std::size_t>(n)));
    i += n;
  }
  return parts;
}

bool is_space(std::int32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

namespace {

template <class Predicate>
std::string_view strip_if(std::string_view text, Side side, Predicate drop) {
  const auto view = [&](std::int64_t begin, std::int64_t end) {
    return text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  };
  std::int64_t begin = 0;
  auto end = static_cast<std::int64_t>(text.size());
  while (side != Side::kRight && begin < end) {
    const CodePoint c = code_point_at(text, begin);
    if (!drop(c.value, view(begin, begin + c.n_bytes))) break;
    begin += c.n_bytes;
  }
  while (side != Side::kLeft && begin < end) {
    std::int64_t last = end - 1;
    while (last > begin && end - last < 4 && (byte_at(text, last) & 0xC0U) == 0x80) --last;
    if (code_point_at(text, last).n_bytes != end - last) last = end - 1;
    if (!drop(code_point_at(text, last).value, view(last, end))) break;
    end = last;
  }
  return view(begin, end);
}

}  // namespace

std::string_view strip_space(std::string_view text, Side side) {
  return strip_if(text, side,
                  [](std::int32_t c, std::string_view /*bytes*/) { return is_space(c); });
}

std::string_view strip_any(std::string_view text, std::string_view set, Side side) {
  const std::vector<std::string_view> members = split_code_points(set);
  return strip_if(text, side, [&](std::int32_t /*c*/, std::string_view bytes) {
    return std::find(members.begin(), members.end(), bytes) != members.end();
  });
}

std::string to_upper(std::string_view text) {
  return map_code_points(
      text, [](std::string& out, std::int64_t /*i*/, CodePoint c) { append_upper(out, c.value); });
}

std::string to_lower(std::string_view text) {
  return map_code_points(
      text, [&](std::string& out, std::int64_t i, CodePoint c) { append_lower(out, text, i, c); });
}

std::string to_title(std::string_view text) {
  bool inside = false;
  return map_code_points(text, [&](std::string& out, std::int64_t i, CodePoint c) {
    if (inside) {
      append_lower(out, text, i, c);
    } else {
      append_title(out, c.value);
    }
    inside = is_cased(c.value);
  });
}

std::string capitalize(std::string_view text) {
  return map_code_points(text, [&](std::string& out, std::int64_t i, CodePoint c) {
    if (i == 0) {
      append_title(out, c.value);
    } else {
      append_lower(out, text, i, c);
    }
  });
}

std::string swap_case(std::string_view text) {
  return map_code_points(text, [&](std::string& out, std::int64_t i, CodePoint c) {
    if (is_upper(c.value)) {
      append_lower(out, text, i, c);
    } else {
      append_upper(out, c.value);
    }
  });
}

bool is_alphabetic(std::int32_t c) {
  const utf8proc_category_t k = category(c);
  return c >= 0 && (is_cased(c) || k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_LO);
}

bool is_decimal(std::int32_t c) { return c >= 0 && category(c) == UTF8PROC_CATEGORY_ND; }

bool is_digit(std::int32_t c) {
  const bool superscript = c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0x2070 && c <= 0x2089);
  const bool circled = (c >= 0x2460 && c <= 0x2468) || (c >= 0x2776 && c <= 0x277E);
  return is_decimal(c) || circled || (superscript && category(c) == UTF8PROC_CATEGORY_NO);
}

bool is_numeric(std::int32_t c) {
  const utf8proc_category_t k = category(c);
  return is_decimal(c) || (c >= 0 && (k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO));
}

bool is_upper(std::int32_t c) { return c >= 0 && category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(std::int32_t c) {
  return c >= 0 && (category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA);
}

bool is_printable(std::int32_t c) {
  if (c < 0) return false;
  const utf8proc_category_t k = category(c);
  const bool separator = k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP ||
                         (k == UTF8PROC_CATEGORY_ZS && c != ' ');
  const bool other = k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF ||
                     k == UTF8PROC_CATEGORY_CS || k == UTF8PROC_CATEGORY_CO ||
                     k == UTF8PROC_CATEGORY_CN;
  return !separator && !other;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < size;) {
    const CodePoint c = code_point_at(text, i);
    std::int64_t next = i + c.n_bytes;
    if (is_line_end(c.value)) {
      if (c.value == '\r' && next < size && byte_at(text, next) == '\n') ++next;
      const std::int64_t end = keep_ends ? next : i;
      lines.push_back(
          text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
      begin = next;
    }
    i = next;
  }
  if (begin < size) lines.push_back(text.substr(static_cast<std::size_t>(begin)));
  return lines;
}

std::string replace_all(std::string_view text, std::string_view old, std::string_view with,
                        std::int64_t count) {
  std::string out;
  if (old.empty()) {
    std::int64_t left = count < 0 ? static_cast<std::int64_t>(text.size()) + 1 : count;
    for (std::string_view c : split_code_points(text)) {
      if (left-- > 0) out += with;
      out += c;
    }
    if (left > 0) out += with;
    return out;
  }
  std::size_t begin = 0;
  for (std::int64_t done = 0; count < 0 || done < count; ++done) {
    const std::size_t at = text.find(old, begin);
    if (at == std::string_view::npos) break;
    out.append(text, begin, at - begin).append(with);
    begin = at + old.size();
  }
  out.append(text, begin, text.size() - begin);
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace spate::chat
