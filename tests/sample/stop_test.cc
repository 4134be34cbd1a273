#include "sample/stop.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "sample/rng.h"

namespace spate {
namespace {

// The text that comes out if `text` goes in byte by byte or in pieces of `size`.
std::string stream(StopMatcher matcher, std::string_view text, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += size) out += matcher.feed(text.substr(i, size));
  out += matcher.finish();
  return out;
}

// The definition: the match whose end comes first, and of those the longest.
std::string expected_text(const std::vector<std::string>& stops, const std::string& text,
                          bool include) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      const bool here =
          end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (here) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, include ? end : end - longest);
  }
  return text;
}

TEST(StopMatcher, LetsAllThroughWithoutStops) {
  StopMatcher matcher({}, false);

  EXPECT_EQ(matcher.feed("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.matched().has_value());
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  StopMatcher matcher({"\n\nQ:"}, false);

  EXPECT_EQ(matcher.feed("one\n"), "one");
  EXPECT_EQ(matcher.feed("two"), "\ntwo");
  EXPECT_EQ(matcher.feed("\n\n\n"), "\n");
  EXPECT_EQ(matcher.feed("Q"), "");
  EXPECT_EQ(matcher.feed(": what"), "");
  EXPECT_EQ(matcher.matched(), 0);
  EXPECT_EQ(matcher.feed("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, GivesBackAnUnfinishedStopAtTheEnd) {
  StopMatcher matcher({"STOP"}, false);

  EXPECT_EQ(matcher.feed("a STO"), "a ");
  EXPECT_EQ(matcher.finish(), "STO");
}

TEST(StopMatcher, IncludesTheStopWhereAsked) {
  EXPECT_EQ(stream({{"END"}, true}, "the END of it", 1), "the END");
  EXPECT_EQ(stream({{"END"}, false}, "the END of it", 1), "the ");
}

TEST(StopMatcher, TakesTheFirstToBeCompleteAndTheLongestOfThose) {
  StopMatcher matcher({"bc", "abcd", "abc"}, false);

  EXPECT_EQ(matcher.feed("xabcd"), "x");
  EXPECT_EQ(matcher.matched(), 2);
}

TEST(StopMatcher, DoesNotDependOnHowTheTextIsCut) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    std::int64_t at = 0;
    const auto random_text = [&](std::size_t size) {
      std::string text;
      while (text.size() < size) {
        text += uniform({seed, 0}, at++, RandomStream::kDraw) < 0.6 ? 'a' : 'b';
      }
      return text;
    };
    const std::vector<std::string> stops{random_text(4 + seed % 4), random_text(6),
                                         random_text(3 + seed % 5)};
    const std::string text = random_text(60);
    for (const bool include : {false, true}) {
      for (const std::size_t size : {1U, 2U, 3U, 7U, 60U}) {
        EXPECT_EQ(stream({stops, include}, text, size), expected_text(stops, text, include));
      }
    }
  }
}

TEST(StopMatcher, NeverCutsACharacter) {
  const std::string text = "na\u00efve \u20ac \U0001F600!";
  StopMatcher matcher({"\u20ad", "\U0001F601"}, false);  // share first bytes with the text's own
  std::string out;

  for (const char byte : text) {
    const std::string_view piece = matcher.feed({&byte, 1});
    if (!piece.empty()) {
      EXPECT_NE(static_cast<unsigned char>(piece.front()) & 0xC0U, 0x80U);
    }
    out += piece;
  }

  out += matcher.finish();
  EXPECT_EQ(out, text);
}

TEST(StopMatcher, LooksForNothingInPassedText) {
  StopMatcher matcher({"ab"}, false);

  EXPECT_EQ(matcher.pass("xaba"), "xaba");
  EXPECT_EQ(matcher.feed("b"), "b");
  EXPECT_EQ(matcher.feed("ab"), "");
  EXPECT_TRUE(matcher.matched().has_value());
}

}  // namespace
}  // namespace spate
