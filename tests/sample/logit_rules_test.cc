#include "sample/logit_rules.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "sample/sampler.h"
#include "tests/reference/sampling.h"
#include "tests/sample/rows.h"

namespace spate {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kVocab = 40;

// The prompt is 1 2 2 3; the output 3 4 4 4.
TokenHistory seen_history() {
  TokenHistory history(true);
  history.add_prompt(std::vector<TokenId>{1, 2, 2, 3});
  for (const TokenId id : {3, 4, 4, 4}) history.add_output(id);
  return history;
}

std::vector<float> edited(const SamplingParams& params, const std::vector<TokenId>& eos = {0}) {
  std::vector<float> row = normal_row(kVocab, 2, 8);
  const TokenHistory history = seen_history();
  for (const LogitRule& rule : make_logit_rules(params, kVocab, eos)) apply(rule, history, row);
  return row;
}

// What the fields mean, token by token, in double precision.
double expected_logit(const SamplingParams& p, const std::vector<TokenId>& eos, TokenId id) {
  const auto has = [id](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  double x = normal_row(kVocab, 2, 8)[static_cast<std::size_t>(id)];
  const int outputs = id == 3 ? 1 : id == 4 ? 3 : 0;
  const bool seen = id >= 1 && id <= 4;
  if (!p.allowed_token_ids.empty() && !has(p.allowed_token_ids)) return kMasked;
  if (has(p.banned_token_ids)) return kMasked;
  const bool ends = has(p.stop_token_ids) || (!p.ignore_eos && has(eos));
  if (4 < p.min_tokens && ends) return kMasked;
  if (p.logit_bias.count(id) != 0) x += double{p.logit_bias.at(id)};
  if (seen) x = x > 0 ? x / double{p.repetition_penalty} : x * double{p.repetition_penalty};
  if (outputs > 0) x -= double{p.presence_penalty};
  return x - double{p.frequency_penalty} * outputs;
}

void expect_definition(const SamplingParams& params, const std::vector<TokenId>& eos = {0}) {
  const std::vector<float> row = edited(params, eos);
  for (TokenId id = 0; id < kVocab; ++id) {
    const double expected = expected_logit(params, eos, id);
    const float actual = row[static_cast<std::size_t>(id)];
    if (expected == kMasked) {
      EXPECT_EQ(actual, kMasked) << id;
    } else {
      // Four roundings at most, each half an ulp of something under 16.
      EXPECT_NEAR(actual, expected, 4 * 0x1p-21) << id;
    }
  }
}

TEST(LogitRules, AreNoneByDefault) { EXPECT_TRUE(make_logit_rules({}, kVocab, {}).empty()); }

TEST(LogitRules, AllowOnlyMasksAllOthers) {
  expect_definition({.allowed_token_ids = {39, 0, 7, 7, 8}});
}

TEST(LogitRules, BanMasksTheNamed) { expect_definition({.banned_token_ids = {0, 9, 39, 9}}); }

TEST(LogitRules, MinTokensMasksEndAndStopTokens) {
  expect_definition({.min_tokens = 5, .stop_token_ids = {11}}, {0, 6});
}

TEST(LogitRules, MinTokensLeavesAnIgnoredEndAlone) {
  expect_definition({.min_tokens = 5, .stop_token_ids = {11}, .ignore_eos = true}, {0, 6});
}

TEST(LogitRules, MinTokensIsOverWhenTheOutputIsLongEnough) {
  expect_definition({.min_tokens = 4, .stop_token_ids = {11}}, {0, 6});
}

TEST(LogitRules, AnEndTokenOutsideTheVocabularyIsHarmless) {
  expect_definition({.min_tokens = 5}, {0, 100000, -1});
}

TEST(LogitRules, BiasIsAdded) { expect_definition({.logit_bias = {{0, -2.5F}, {39, 4.0F}}}); }

TEST(LogitRules, RepetitionCountsPromptAndOutput) {
  expect_definition({.repetition_penalty = 1.7F});
  expect_definition({.repetition_penalty = 0.6F});
}

TEST(LogitRules, PresenceCountsTheOutputOnce) { expect_definition({.presence_penalty = 1.5F}); }

TEST(LogitRules, FrequencyCountsEachOutput) {
  expect_definition({.frequency_penalty = 0.5F});
  expect_definition({.frequency_penalty = -0.5F});
}

TEST(LogitRules, ApplyInTheDocumentedOrder) {
  expect_definition({.min_tokens = 9,
                     .repetition_penalty = 1.3F,
                     .presence_penalty = 0.4F,
                     .frequency_penalty = 0.3F,
                     .logit_bias = {{1, 3.0F}, {3, -1.0F}, {4, 8.0F}, {6, 9.0F}},
                     .allowed_token_ids = {0, 1, 2, 3, 4, 5, 6},
                     .banned_token_ids = {2}});
}

struct Rule {
  const char* name;
  SamplingParams params;
};

void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.name; }

class EveryRule : public ::testing::TestWithParam<Rule> {};

// Pearson's test at a level of 1e-6, with the quantile of Wilson and Hilferty (1931). The expected
// frequencies are those of `expected_logit`, not of the rules' own code.
TEST_P(EveryRule, ChangesTheFrequenciesAsDefined) {
  constexpr std::int64_t kDraws = 20000;
  const std::vector<TokenId> eos{0};
  const SamplingParams& params = GetParam().params;
  const std::vector<float> row = normal_row(kVocab, 2, 8);
  std::vector<float> logits;
  for (TokenId id = 0; id < kVocab; ++id) {
    logits.push_back(static_cast<float>(expected_logit(params, eos, id)));
  }
  const reference::Filtered expected = reference::distribution(logits, params);
  const auto sampler = Sampler::make(params, kVocab, eos);
  const TokenHistory history = seen_history();
  SamplerScratch scratch;
  std::vector<double> counts(row.size(), 0);

  for (std::uint32_t i = 0; i < kDraws; ++i) {
    SampledToken token;
    ASSERT_TRUE(sampler->sample(row, history, {4, i}, &scratch, &token));
    ++counts[static_cast<std::size_t>(token.id)];
  }

  double statistic = 0;
  double rare_off = 0;
  double rare = 0;
  int cells = 0;
  for (std::size_t id = 0; id < row.size(); ++id) {
    const double mean = expected.p[id] * kDraws;
    const double off = counts[id] - mean;
    ASSERT_TRUE(mean > 0 || counts[id] == 0) << id;
    statistic += mean >= 5 ? off * off / mean : 0;
    cells += mean >= 5 ? 1 : 0;
    rare += mean >= 5 ? 0 : mean;
    rare_off += mean >= 5 ? 0 : off;
  }
  if (rare > 0) statistic += rare_off * rare_off / rare;
  const double freedom = std::max(rare > 0 ? cells : cells - 1, 1);
  const double spread = 2 / (9 * freedom);
  EXPECT_LT(statistic, freedom * std::pow(1 - spread + 4.75 * std::sqrt(spread), 3));
}

INSTANTIATE_TEST_SUITE_P(Rules, EveryRule,
                         ::testing::Values(Rule{"Allowed", {.allowed_token_ids = {3, 4, 9, 30}}},
                                           Rule{"Banned", {.banned_token_ids = {3, 4, 9, 30}}},
                                           Rule{"MinTokens",
                                                {.min_tokens = 5, .stop_token_ids = {4}}},
                                           Rule{"Bias", {.logit_bias = {{5, 2.0F}, {6, -2.0F}}}},
                                           Rule{"Repetition", {.repetition_penalty = 1.8F}},
                                           Rule{"Presence", {.presence_penalty = 1.5F}},
                                           Rule{"Frequency", {.frequency_penalty = -0.7F}},
                                           Rule{"AllWithTopP",
                                                {.min_tokens = 5,
                                                 .top_p = 0.95F,
                                                 .repetition_penalty = 1.2F,
                                                 .presence_penalty = -1.0F,
                                                 .frequency_penalty = 0.3F,
                                                 .logit_bias = {{5, 2.0F}},
                                                 .banned_token_ids = {7}}}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace spate
