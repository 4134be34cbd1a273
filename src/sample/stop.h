// Finds stop strings in streamed text and holds back what may still become one. It works on
// bytes, but what it lets out never ends inside a UTF-8 character (if the text is UTF-8).
// One per sequence; its result does not depend on how the text is cut into pieces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spate {

class StopMatcher {
 public:
  /// `stops` are not empty strings (sample/params.h). With `include` the text ends behind the
  /// stop string, otherwise before it.
  StopMatcher(std::vector<std::string> stops, bool include);

  /// Takes the next piece of text; returns what can be shown, valid until the next call. The
  /// match is the first to be complete; of several that end together, the longest. Behind a match
  /// all is dropped.
  std::string_view feed(std::string_view text);

  /// Like feed(), for text in which no stop string is looked for (while min_tokens is not
  /// reached). A stop string does not begin in such text either.
  std::string_view pass(std::string_view text);

  /// The text is at its end: what was held back is text after all.
  std::string_view finish();

  /// Which of `stops` ended the text.
  std::optional<std::int64_t> matched() const { return matched_; }

 private:
  /// A string with its failure function (Knuth, Morris and Pratt, 1977).
  struct Pattern {
    std::string text{};
    std::vector<std::int32_t> border{};  // [text] longest proper border of the prefix up to here
    std::int32_t length = 0;             // how much of it the text ends with
  };

  std::string_view release(std::int64_t held);
  void step(char byte);

  std::vector<Pattern> patterns_{};
  bool include_;
  std::string pending_{};  // taken but not let out, then what the last call let out
  std::int64_t out_ = 0;   // how much of pending_ the last call let out
  std::optional<std::int64_t> matched_{};
};

}  // namespace spate
