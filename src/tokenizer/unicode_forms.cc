#include "tokenizer/unicode_forms.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include <utf8proc.h>

#include "core/check.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

utf8proc_propval_t combining_class(utf8proc_int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

void decompose(std::string_view text, bool compatible, std::vector<utf8proc_int32_t>& out) {
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  std::array<utf8proc_int32_t, 32> parts{};  // the longest decomposition has 18 code points
  for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
    const auto c = static_cast<utf8proc_int32_t>(utf8_decode(text, at, length));
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(c, parts.data(), parts.size(), options, &boundary);
    SPATE_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()));
    out.insert(out.end(), parts.begin(), parts.begin() + count);
  }
}

/// Canonical ordering. utf8proc's own is quadratic in the length of a run of marks.
void order_marks(std::vector<utf8proc_int32_t>& text) {
  for (auto it = text.begin(); it != text.end();) {
    if (combining_class(*it) == 0) {
      ++it;
      continue;
    }
    const auto end =
        std::find_if(it, text.end(), [](utf8proc_int32_t c) { return combining_class(c) == 0; });
    std::stable_sort(it, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining_class(a) < combining_class(b);
    });
    it = end;
  }
}

}  // namespace

void normalize_unicode(std::string& text, UnicodeForm form) {
  if (is_ascii(text)) return;
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  decompose(text, form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd, points);
  order_marks(points);
  auto count = static_cast<utf8proc_ssize_t>(points.size());
  if (form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc) {
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    count = utf8proc_normalize_utf32(points.data(), count, options);
    SPATE_CHECK_OP(count, >=, 0);
  }
  text.clear();
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    utf8_append(text, static_cast<char32_t>(points[static_cast<std::size_t>(i)]));
  }
}

void lower_case(std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
    const char32_t c = utf8_decode(text, at, length);
    if (c < 0x80) {
      out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
    } else if (c == 0x130) {
      out += "i\xCC\x87";  // the only letter whose lower case is two code points
    } else {
      utf8_append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  text = std::move(out);
}

}  // namespace spate
