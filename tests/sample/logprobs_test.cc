#include "sample/logprobs.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "sample/sampler.h"
#include "tests/reference/sampling.h"
#include "tests/sample/rows.h"

namespace spate {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(LogSumExp, IsWithinOneMillionth) {
  SamplerScratch scratch;
  for (const std::int64_t n : {1, 2, 63, 1000, 1025, 32000, 151936}) {
    for (const double deviation : {0.01, 1.0, 4.0, 20.0}) {
      const std::vector<float> row = normal_row(n, deviation, static_cast<std::uint64_t>(n));

      const auto sum = log_sum_exp(row, &scratch);

      ASSERT_TRUE(sum);
      EXPECT_NEAR(*sum, reference::log_sum_exp(row), 1e-6) << n << " " << deviation;
    }
  }
}

TEST(LogSumExp, RefusesARowWithoutProbability) {
  SamplerScratch scratch;

  EXPECT_FALSE(log_sum_exp(std::vector<float>(70, -kInf), &scratch));
  EXPECT_FALSE(log_sum_exp(std::vector<float>{0, NAN}, &scratch));
}

// One rounding to float is added to the error of the sum: half an ulp of numbers under 64.
TEST(AddLogprobs, ListsTheMostLikelyByProbabilityThenId) {
  SamplerScratch scratch;
  for (const std::int64_t n : {5, 100, 5000, 32000}) {
    const std::vector<float> row = tied_row(n, 3, 21);
    const auto ids = reference::ranking({row.begin(), row.end()});
    const double log_sum = reference::log_sum_exp(row);
    SampledToken token{.id = 4};

    ASSERT_TRUE(add_logprobs(row, 20, &scratch, &token));

    EXPECT_NEAR(*token.logprob, row[4] - log_sum, 1e-6 + 0x1p-19);
    ASSERT_EQ(token.top.size(), static_cast<std::size_t>(std::min<std::int64_t>(n, 20)));
    for (std::size_t i = 0; i < token.top.size(); ++i) {
      EXPECT_EQ(token.top[i].id, static_cast<TokenId>(ids[i])) << n << " " << i;
      EXPECT_NEAR(token.top[i].logprob, row[ids[i]] - log_sum, 1e-6 + 0x1p-19);
    }
  }
}

TEST(AddLogprobs, LeavesOutTokensWithoutProbability) {
  std::vector<float> row(500, -kInf);
  row[77] = 1;
  row[400] = 2;
  SamplerScratch scratch;
  SampledToken token{.id = 3};

  ASSERT_TRUE(add_logprobs(row, 5, &scratch, &token));

  EXPECT_EQ(*token.logprob, -kInf);
  ASSERT_EQ(token.top.size(), 2U);
  EXPECT_EQ(token.top[0].id, 400);
  EXPECT_EQ(token.top[1].id, 77);
}

TEST(AddLogprobs, AreThoseOfTheModelAndNotOfTheRules) {
  const std::vector<float> row = normal_row(300, 2, 4);
  const SamplingParams params{.temperature = 0.5F,
                              .top_k = 3,
                              .logit_bias = {{7, 90.0F}},
                              .banned_token_ids = {8},
                              .logprobs = 300};
  SamplerScratch scratch;
  SampledToken token;

  ASSERT_TRUE(
      Sampler::make(params, 300, {})->sample(row, TokenHistory(false), {}, &scratch, &token));

  EXPECT_EQ(token.id, 7);
  EXPECT_NEAR(*token.logprob, row[7] - reference::log_sum_exp(row), 1e-6 + 0x1p-19);
  EXPECT_EQ(token.top.size(), 300U);
}

TEST(AddLogprobs, AreAbsentWhereNotAskedFor) {
  const std::vector<float> row = normal_row(300, 2, 4);
  SamplerScratch scratch;
  SampledToken token;

  ASSERT_TRUE(Sampler::make({}, 300, {})->sample(row, TokenHistory(false), {}, &scratch, &token));

  EXPECT_FALSE(token.logprob.has_value());
  EXPECT_TRUE(token.top.empty());
}

}  // namespace
}  // namespace spate
