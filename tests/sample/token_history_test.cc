#include "sample/token_history.h"

#include <map>

#include <gtest/gtest.h>

#include "sample/rng.h"

namespace spate {
namespace {

std::map<TokenId, std::pair<std::int32_t, bool>> contents(const TokenHistory& history) {
  std::map<TokenId, std::pair<std::int32_t, bool>> all;
  for (const auto& e : history.entries()) {
    EXPECT_TRUE(all.emplace(e.id, std::pair(e.outputs, e.in_prompt)).second) << e.id;
  }
  return all;
}

TEST(TokenHistory, CountsLikeAMap) {
  TokenHistory history(true);
  std::map<TokenId, std::pair<std::int32_t, bool>> expected;
  for (std::int64_t i = 0; i < 5000; ++i) {
    const double u = uniform({1, 0}, i, RandomStream::kDraw);
    const auto id = static_cast<TokenId>(u * u * 150000);
    if (i < 2000) {
      history.add_prompt(std::vector<TokenId>{id});
      expected[id].second = true;
    } else {
      history.add_output(id);
      ++expected[id].first;
    }
  }

  EXPECT_EQ(history.outputs(), 3000);
  EXPECT_EQ(contents(history), expected);
}

TEST(TokenHistory, TakesBackRejectedOutputs) {
  TokenHistory history(true);
  history.add_prompt(std::vector<TokenId>{5});
  history.add_output(5);
  history.add_output(6);

  history.remove_output(6);

  EXPECT_EQ(history.outputs(), 1);
  EXPECT_EQ(contents(history)[5], std::pair(1, true));
  EXPECT_EQ(contents(history)[6], std::pair(0, false));
}

TEST(TokenHistory, KeepsOnlyTheNumberWhereTokensAreNotTracked) {
  TokenHistory history(false);
  history.add_prompt(std::vector<TokenId>{1, 2});
  history.add_output(3);

  EXPECT_EQ(history.outputs(), 1);
  EXPECT_TRUE(history.entries().empty());
}

}  // namespace
}  // namespace spate
