// Patterns of normalizers, pre-tokenizers and decoders: a literal or a regular expression (PCRE2
// with JIT, Oniguruma's dialect). A Pattern is immutable and shared by threads; each search owns
// the working memory of one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace spate {

struct TextSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class Pattern {
 public:
  static Pattern literal(std::string text);
  /// Throws LoadError, starting with `where`, when the expression cannot be compiled.
  static Pattern regex(std::string_view expression, std::string_view where);
  /// {"String": "..."} or {"Regex": "..."}, as in tokenizer.json.
  static Pattern from_json(const JsonNode& node);

  /// Finds matches from left to right. Not thread-safe; cheap to keep for many texts.
  class Search {
   public:
    explicit Search(const Pattern& pattern);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;

    /// Replaces `matches` by all that do not overlap, empty ones included as regular expression
    /// libraries do. `text` is valid UTF-8. An expression that exceeds the match limit (only
    /// malicious ones do) has no further match.
    void find_all(std::string_view text, std::vector<TextSpan>& matches);

   private:
    bool find_from(std::string_view text, std::size_t from, TextSpan& match);
    int match_once(std::string_view text, std::size_t from);

    const Pattern& pattern_;
    pcre2_real_match_data_8* data_ = nullptr;
    pcre2_real_match_context_8* context_ = nullptr;
    pcre2_real_jit_stack_8* stack_ = nullptr;
  };

  /// `text` with each match replaced by `content`.
  std::string replace(std::string_view text, std::string_view content) const;
  /// The literal, if it is one and not empty.
  std::string_view literal_text() const { return literal_; }

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  Pattern() = default;

  std::string literal_{};
  std::unique_ptr<pcre2_real_code_8, Free> code_{};  // null for a literal
  bool jit_ = false;
};

}  // namespace spate
