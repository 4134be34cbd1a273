#include "tokenizer/normalizer.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <utf8proc.h>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/regex.h"
#include "tokenizer/unicode_forms.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

/// Rebuilds `text` from what `map(code_point, out)` appends for each character.
template <class F>
void map_characters(std::string& text, F&& map) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
    map(utf8_decode(text, at, length), out);
  }
  text = std::move(out);
}

/// A normalizer that needs nothing but its function.
class FunctionNormalizer final : public Normalizer {
 public:
  using Function = void (*)(std::string&);
  explicit FunctionNormalizer(Function function) : function_(function) {}
  void apply(std::string& text) const override { function_(text); }

 private:
  Function function_;
};

template <UnicodeForm form>
void to_form(std::string& text) {
  normalize_unicode(text, form);
}

void strip_accents(std::string& text) {
  map_characters(text, [](char32_t c, std::string& out) {
    if (!is_mark(c)) utf8_append(out, c);
  });
}

void strip_nonspacing(std::string& text) {
  map_characters(text, [](char32_t c, std::string& out) {
    if (!is_nonspacing_mark(c)) utf8_append(out, c);
  });
}

/// SentencePiece's nmt rules: control characters vanish, odd spaces become plain ones.
void nmt(std::string& text) {
  map_characters(text, [](char32_t c, std::string& out) {
    const bool control = (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) ||
                         c == 0x7F || c == 0x8F || c == 0x9F;
    const bool space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    if (!control) utf8_append(out, space ? U' ' : c);
  });
}

void to_byte_alphabet(std::string& text) {
  std::string out;
  kByteAlphabet.append(out, text);
  text = std::move(out);
}

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& text) const override {
    std::size_t begin = text.size();
    std::size_t end = 0;
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
      if (is_white_space(utf8_decode(text, at, length))) continue;
      begin = std::min(begin, at);
      end = at + length;
    }
    if (!left_) begin = 0;
    if (!right_) end = text.size();
    text = begin < end ? text.substr(begin, end - begin) : "";
  }

 private:
  bool left_, right_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& text) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::string& text) const override { text = pattern_.replace(text, content_); }

 private:
  Pattern pattern_;
  std::string content_;
};

/// Hugging Face's reading of the charsmap: graphemes below six bytes first, and always the
/// shortest key; the whole grapheme or character is replaced even where the key is a part of it.
class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(Charsmap map) : map_(std::move(map)) {}

  void apply(std::string& text) const override {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = grapheme_end(text, at);
      replace_grapheme({text.data() + at, end - at}, out);
      at = end;
    }
    text = std::move(out);
  }

 private:
  static std::size_t grapheme_end(std::string_view text, std::size_t at) {
    std::size_t length = 0;
    utf8proc_int32_t state = 0;
    auto last = static_cast<utf8proc_int32_t>(utf8_decode(text, at, length));
    for (at += length; at < text.size(); at += length) {
      const auto next = static_cast<utf8proc_int32_t>(utf8_decode(text, at, length));
      if (utf8proc_grapheme_break_stateful(last, next, &state)) break;
      last = next;
    }
    return at;
  }

  void replace_grapheme(std::string_view grapheme, std::string& out) const {
    if (grapheme.size() < 6) {
      if (const auto match = map_.shortest(grapheme)) {
        out += match->replacement;
        return;
      }
    }
    for (std::size_t at = 0, length = 0; at < grapheme.size(); at += length) {
      length = utf8_length(grapheme, at);
      const std::string_view c = grapheme.substr(at, length);
      const auto match = map_.shortest(c);
      out += match ? match->replacement : c;
    }
  }

  Charsmap map_;
};

class Bert final : public Normalizer {
 public:
  struct Options {
    bool clean = true, chinese = true, accents = true, lower = true;
  };
  explicit Bert(Options options) : options_(options) {}

  void apply(std::string& text) const override {
    if (options_.clean) clean(text);
    if (options_.chinese) space_out_chinese(text);
    if (options_.accents) {
      normalize_unicode(text, UnicodeForm::kNfd);
      strip_nonspacing(text);
    }
    if (options_.lower) lower_case(text);
  }

 private:
  static void clean(std::string& text) {
    map_characters(text, [](char32_t c, std::string& out) {
      const bool space = is_white_space(c);
      const bool kept_control = c == '\t' || c == '\n' || c == '\r';
      if (c == 0 || c == 0xFFFD || (is_other(c) && !kept_control)) return;
      utf8_append(out, space ? U' ' : c);
    });
  }
  static void space_out_chinese(std::string& text) {
    map_characters(text, [](char32_t c, std::string& out) {
      static constexpr std::array<std::pair<char32_t, char32_t>, 8> kBlocks = {{
          {0x4E00, 0x9FFF},
          {0x3400, 0x4DBF},
          {0x20000, 0x2A6DF},
          {0x2A700, 0x2B73F},
          {0x2B740, 0x2B81F},
          {0x2B920, 0x2CEAF},
          {0xF900, 0xFAFF},
          {0x2F800, 0x2FA1F},
      }};
      const bool chinese = std::any_of(kBlocks.begin(), kBlocks.end(), [c](const auto& block) {
        return c >= block.first && c <= block.second;
      });
      if (chinese) out.push_back(' ');
      utf8_append(out, c);
      if (chinese) out.push_back(' ');
    });
  }

  Options options_;
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}
  void apply(std::string& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

FunctionNormalizer::Function find_function(std::string_view type) {
  struct Row {
    std::string_view type;
    FunctionNormalizer::Function function;
  };
  static constexpr std::array kRows = {
      Row{"NFC", to_form<UnicodeForm::kNfc>},
      Row{"NFD", to_form<UnicodeForm::kNfd>},
      Row{"NFKC", to_form<UnicodeForm::kNfkc>},
      Row{"NFKD", to_form<UnicodeForm::kNfkd>},
      Row{"Lowercase", lower_case},
      Row{"StripAccents", strip_accents},
      Row{"Nmt", nmt},
      Row{"ByteLevel", to_byte_alphabet},
  };
  for (const Row& row : kRows) {
    if (row.type == type) return row.function;
  }
  return nullptr;
}

std::unique_ptr<Normalizer> make_precompiled(const JsonNode& node) {
  const JsonNode map = node.at("precompiled_charsmap");
  const std::optional<std::string> blob = decode_base64(map.text());
  if (!blob) map.refuse(ErrorCode::kCorrupt, "is not base64");
  return std::make_unique<Precompiled>(Charsmap::parse(*blob, map.where()));
}

std::unique_ptr<Normalizer> normalizer_at(const JsonNode& node, int depth) {
  const std::string type = node.text("type");
  if (type == "Sequence") {
    node.limit_nesting(depth);
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const JsonNode& item : node.at("normalizers").items()) {
      steps.push_back(normalizer_at(item, depth + 1));
    }
    return std::make_unique<NormalizerSequence>(std::move(steps));
  }
  if (const auto function = find_function(type)) {
    return std::make_unique<FunctionNormalizer>(function);
  }
  if (type == "Strip") {
    return std::make_unique<Strip>(node.flag("strip_left", true), node.flag("strip_right", true));
  }
  if (type == "Prepend") return std::make_unique<Prepend>(node.text("prepend"));
  if (type == "Replace") {
    return std::make_unique<Replace>(Pattern::from_json(node.at("pattern")), node.text("content"));
  }
  if (type == "Precompiled") return make_precompiled(node);
  if (type == "BertNormalizer") {
    const bool lower = node.flag("lowercase", true);
    return std::make_unique<Bert>(Bert::Options{.clean = node.flag("clean_text", true),
                                                .chinese = node.flag("handle_chinese_chars", true),
                                                .accents = node.flag("strip_accents", lower),
                                                .lower = lower});
  }
  node.refuse(ErrorCode::kUnsupported, fmt::format("unknown normalizer '{}'", type));
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonNode& node) { return normalizer_at(node, 0); }

}  // namespace spate
