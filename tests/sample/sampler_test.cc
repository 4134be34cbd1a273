#include "sample/sampler.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/reference/sampling.h"
#include "tests/sample/rows.h"

namespace spate {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Positions are random numbers here: `sequence` plays the part of the draw's number.
TokenId draw(const std::vector<float>& row, const SamplingParams& params, std::uint32_t sequence,
             SamplerScratch* scratch) {
  const auto sampler = Sampler::make(params, static_cast<std::int64_t>(row.size()), {});
  SampledToken token;
  const auto done = sampler->sample(row, TokenHistory(false), {99, sequence}, scratch, &token);
  EXPECT_TRUE(done) << done.error().message;
  return token.id;
}

struct Filters {
  const char* name;
  SamplingParams params;
};

void PrintTo(const Filters& filters, std::ostream* out) { *out << filters.name; }

class EveryFilter : public ::testing::TestWithParam<Filters> {};

// The sampler must invert the same cumulated distribution as the reference. Where the random
// number is closer to a step than the masses are right, either side will do; typical_p also
// orders by a float, which can exchange two tokens at the cut: together less than 2e-4.
TEST_P(EveryFilter, DrawsWhatTheReferenceDraws) {
  const SamplingParams& params = GetParam().params;
  const double tolerance = params.typical_p < 1 ? 2e-4 : 4e-6;
  SamplerScratch scratch;
  for (const std::int64_t n : {1, 2, 64, 1000, 1025, 5000, 32000}) {
    for (const double deviation : {0.5, 2.0, 5.0}) {
      const std::vector<float> row = normal_row(n, deviation, static_cast<std::uint64_t>(n));
      const reference::Filtered expected = reference::distribution(row, params);
      if (expected.margin < 3e-6) continue;
      for (std::uint32_t i = 0; i < 8; ++i) {
        const double u = uniform({99, i}, 0, RandomStream::kDraw);

        const auto id = static_cast<std::size_t>(draw(row, params, i, &scratch));

        const double end = std::accumulate(
            expected.p.begin(), expected.p.begin() + static_cast<std::int64_t>(id) + 1, 0.0);
        ASSERT_GT(expected.p[id], 0) << "n=" << n << " deviation=" << deviation << " id=" << id;
        ASSERT_LT(u, end + tolerance) << "n=" << n << " deviation=" << deviation;
        ASSERT_GE(u, end - expected.p[id] - tolerance) << "n=" << n << " deviation=" << deviation;
      }
    }
  }
}

// Equal logits everywhere: only the ids decide, and they must decide as in the reference.
TEST_P(EveryFilter, KeepsTheSameTokensAmongTies) {
  const SamplingParams& params = GetParam().params;
  SamplerScratch scratch;
  for (const std::int64_t n : {3, 64, 700, 3000}) {
    const std::vector<float> row = tied_row(n, 1.0, static_cast<std::uint64_t>(n));
    const reference::Filtered expected = reference::distribution(row, params);
    if (expected.margin < 3e-6) continue;

    for (std::uint32_t i = 0; i < 100; ++i) {
      const auto id = static_cast<std::size_t>(draw(row, params, i, &scratch));
      ASSERT_GT(expected.p[id], 0) << "n=" << n << " id=" << id;
    }
  }
}

// Pearson's test at a level of 1e-6, with the quantile of Wilson and Hilferty (1931).
TEST_P(EveryFilter, HasTheFrequenciesOfItsDefinition) {
  constexpr std::int64_t kDraws = 20000;
  const SamplingParams& params = GetParam().params;
  const std::vector<float> row = normal_row(60, 1.5, 3);
  const reference::Filtered expected = reference::distribution(row, params);
  std::vector<std::int64_t> counts(row.size(), 0);
  SamplerScratch scratch;

  for (std::uint32_t i = 0; i < kDraws; ++i) {
    ++counts[static_cast<std::size_t>(draw(row, params, i, &scratch))];
  }

  double statistic = 0;
  double rare = 0;
  std::int64_t rare_count = 0;
  int cells = 0;
  const auto add_cell = [&](double mean, std::int64_t count) {
    const double off = static_cast<double>(count) - mean;
    statistic += off * off / mean;
    ++cells;
  };
  for (std::size_t id = 0; id < row.size(); ++id) {
    const double mean = expected.p[id] * kDraws;
    if (mean == 0) {
      ASSERT_EQ(counts[id], 0);
    }
    if (mean >= 5) add_cell(mean, counts[id]);
    rare += mean >= 5 ? 0 : mean;
    rare_count += mean >= 5 ? 0 : counts[id];
  }
  if (rare > 0) add_cell(rare, rare_count);
  const double freedom = std::max(cells - 1, 1);
  const double spread = 2 / (9 * freedom);
  EXPECT_LT(statistic, freedom * std::pow(1 - spread + 4.75 * std::sqrt(spread), 3));
}

INSTANTIATE_TEST_SUITE_P(
    Filters, EveryFilter,
    ::testing::Values(
        Filters{"None", {}}, Filters{"LowTemperature", {.temperature = 0.3F}},
        Filters{"HighTemperature", {.temperature = 3.0F}}, Filters{"TopK", {.top_k = 7}},
        Filters{"TopKOfOne", {.top_k = 1}}, Filters{"LargeTopK", {.top_k = 900}},
        Filters{"TopP", {.top_p = 0.9F}}, Filters{"SmallTopP", {.top_p = 0.05F}},
        Filters{"NearlyAllTopP", {.top_p = 0.999F}}, Filters{"MinP", {.min_p = 0.1F}},
        Filters{"Typical", {.typical_p = 0.8F}}, Filters{"SmallTypical", {.typical_p = 0.2F}},
        Filters{"TopKThenTopP", {.top_k = 40, .top_p = 0.8F}},
        Filters{"LargeTopKThenTopP", {.temperature = 1.5F, .top_k = 600, .top_p = 0.7F}},
        Filters{"TypicalThenTopP", {.top_p = 0.7F, .typical_p = 0.9F}},
        Filters{"TypicalThenMinP", {.min_p = 0.3F, .typical_p = 0.5F}},
        Filters{
            "All",
            {.temperature = 0.8F, .top_k = 30, .top_p = 0.9F, .min_p = 0.02F, .typical_p = 0.95F}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Greedy, TakesTheLowestIdAmongTies) {
  std::vector<float> row(5000, 0.0F);
  row[4321] = row[1234] = row[2345] = 7;
  SamplerScratch scratch;

  EXPECT_EQ(draw(row, {.temperature = 0}, 0, &scratch), 1234);
}

TEST(Greedy, IsTheLimitOfEveryFilter) {
  SamplerScratch scratch;
  for (const std::int64_t n : {1, 100, 5000}) {
    const std::vector<float> row = tied_row(n, 3, 5);
    const TokenId greedy = draw(row, {.temperature = 0}, 0, &scratch);
    for (std::uint32_t i = 0; i < 20; ++i) {
      EXPECT_EQ(draw(row, {.top_k = 1}, i, &scratch), greedy);
      EXPECT_EQ(draw(row, {.top_p = 1e-9F}, i, &scratch), greedy);
      EXPECT_EQ(row[static_cast<std::size_t>(draw(row, {.min_p = 1}, i, &scratch))],
                row[static_cast<std::size_t>(greedy)]);
      EXPECT_EQ(row[static_cast<std::size_t>(draw(row, {.temperature = 2e-3F}, i, &scratch))],
                row[static_cast<std::size_t>(greedy)]);
    }
  }
}

TEST(Sampler, NeverDrawsAMaskedToken) {
  std::vector<float> row(3000, -kInf);
  row[17] = -3;
  row[2999] = -4;
  SamplerScratch scratch;
  for (std::uint32_t i = 0; i < 200; ++i) {
    for (const SamplingParams& params :
         {SamplingParams{}, SamplingParams{.top_k = 1000}, SamplingParams{.top_k = 10},
          SamplingParams{.typical_p = 0.9F}, SamplingParams{.top_p = 0.99F}}) {
      const TokenId id = draw(row, params, i, &scratch);
      EXPECT_TRUE(id == 17 || id == 2999) << id;
    }
  }
}

TEST(Sampler, NamesTheTokenWhoseLogitIsNotANumber) {
  std::vector<float> row = normal_row(5000, 1, 1);
  row[4097] = NAN;
  SamplerScratch scratch;
  for (const float temperature : {0.0F, 1.0F}) {
    const auto sampler = Sampler::make({.temperature = temperature}, 5000, {});
    SampledToken token;

    const auto done = sampler->sample(row, TokenHistory(false), {}, &scratch, &token);

    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message.find("token 4097 (of 5000) is nan"), std::string::npos)
        << done.error().message;
  }
}

TEST(Sampler, RefusesAnInfiniteLogit) {
  std::vector<float> row{0, kInf, 0};
  SamplerScratch scratch;
  SampledToken token;

  EXPECT_FALSE(Sampler::make({}, 3, {})->sample(row, TokenHistory(false), {}, &scratch, &token));
}

TEST(Sampler, SaysWhichRulesLeftNoToken) {
  const std::vector<TokenId> eos{2};
  const auto sampler = Sampler::make({.min_tokens = 3, .allowed_token_ids = {2}}, 10, eos);
  const std::vector<float> row(10, 0.0F);
  SamplerScratch scratch;
  SampledToken token;

  const auto done = sampler->sample(row, TokenHistory(false), {}, &scratch, &token);

  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("allowed_token_ids (1 ids)"), std::string::npos);
  EXPECT_NE(done.error().message.find("min_tokens (3)"), std::string::npos);
}

// Alone with fresh scratch, or in a crowd of other rows, sizes and rules with used scratch.
TEST(Sampler, DoesNotDependOnItsNeighbours) {
  const SamplingParams params{
      .top_k = 50, .top_p = 0.9F, .repetition_penalty = 1.3F, .logprobs = 3};
  const auto sampler = Sampler::make(params, 5000, {});
  const auto other = Sampler::make({.temperature = 2, .top_p = 0.99F}, 32000, {});
  TokenHistory history(true);
  history.add_prompt(std::vector<TokenId>{1, 2, 3});
  SamplerScratch crowded;
  for (std::uint32_t i = 0; i < 20; ++i) {
    const std::vector<float> row = normal_row(5000, 2, i);
    SamplerScratch fresh;
    SampledToken alone;
    SampledToken neighbour;
    SampledToken in_crowd;

    ASSERT_TRUE(sampler->sample(row, history, {5, i}, &fresh, &alone));
    ASSERT_TRUE(
        other->sample(normal_row(32000, 3, i), TokenHistory(false), {i, 0}, &crowded, &neighbour));
    ASSERT_TRUE(sampler->sample(row, history, {5, i}, &crowded, &in_crowd));

    EXPECT_EQ(in_crowd.id, alone.id);
    EXPECT_EQ(in_crowd.logprob, alone.logprob);
    ASSERT_EQ(in_crowd.top.size(), 3U);
    for (std::size_t j = 0; j < 3; ++j) {
      EXPECT_EQ(in_crowd.top[j].id, alone.top[j].id);
      EXPECT_EQ(in_crowd.top[j].logprob, alone.top[j].logprob);
    }
  }
}

TEST(Sampler, DrawsTheSameOnEveryInstructionSet) {
  SamplerScratch baseline(*internal::baseline_kernels());
  SamplerScratch best;
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.top_p = 0.95F}, SamplingParams{.typical_p = 0.9F}}) {
    for (std::uint32_t i = 0; i < 50; ++i) {
      const std::vector<float> row = normal_row(4000, 2, i);
      EXPECT_EQ(draw(row, params, i, &best), draw(row, params, i, &baseline));
    }
  }
}

TEST(Sampler, LeavesTheModelsLogitsAlone) {
  const std::vector<float> row = normal_row(100, 2, 1);
  std::vector<float> copy = row;
  SamplerScratch scratch;

  draw(copy, {.logit_bias = {{3, 50.0F}}, .banned_token_ids = {4}}, 0, &scratch);

  EXPECT_EQ(copy, row);
}

}  // namespace
}  // namespace spate
