// Sampling on the device against the definition of each rule (chi-square), and its edges.
#include <algorithm>
#include <cmath>

#include "tests/cuda/sample_problem.h"
#include "tests/reference/sampling.h"

namespace spate::cuda_test {
namespace {

constexpr int kVocab = 700, kRows = 1024, kSteps = 24;

struct Case {
  const char* name;
  float temperature;
  std::int64_t top_k;
  float top_p, min_p;
};
class DistributionTest : public testing::TestWithParam<Case> {};

// With d degrees of freedom the statistic is about d +- sqrt(2 d); five deviations are a false
// alarm in a few millions.
TEST_P(DistributionTest, FollowsTheDefinition) {
  const Case& c = GetParam();
  SamplingParams params;
  params.temperature = c.temperature;
  params.top_k = c.top_k;
  params.top_p = c.top_p;
  params.min_p = c.min_p;
  Requests requests;
  requests.params.assign(kRows, params);
  SampleProblem problem(kVocab, requests);
  const std::vector<float> logits = noise(kVocab, 5, 1.5F);
  const std::vector<double> want = reference::distribution(logits, params).p;
  std::vector<int> count(kVocab, 0);
  for (int step = 0; step < kSteps; ++step) {
    for (const auto& row : problem.step(logits, 0)) ++count[static_cast<std::size_t>(row.id)];
  }
  const double draws = double{kRows} * kSteps;
  double statistic = 0, rest_expected = 0;
  int degrees = -1, rest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (want[i] == 0) ASSERT_EQ(count[i], 0) << "token " << i << " was filtered";
    if (want[i] * draws < 5) {
      rest_expected += want[i] * draws;
      rest += count[i];
      continue;
    }
    statistic += std::pow(count[i] - want[i] * draws, 2) / (want[i] * draws);
    ++degrees;
  }
  if (rest_expected >= 5) {
    statistic += std::pow(rest - rest_expected, 2) / rest_expected;
    ++degrees;
  }
  ASSERT_GT(degrees, 0);
  EXPECT_LT(statistic, degrees + 5 * std::sqrt(2.0 * degrees));
}

INSTANTIATE_TEST_SUITE_P(Rules, DistributionTest,
                         testing::Values(Case{"temperature", 0.6F, 0, 1, 0},
                                         Case{"temperature_high", 2, 0, 1, 0},
                                         Case{"top_k", 1, 20, 1, 0}, Case{"top_p", 1, 0, 0.8F, 0},
                                         Case{"min_p", 1, 0, 1, 0.1F},
                                         Case{"together", 1.2F, 60, 0.9F, 0.05F}),
                         [](const auto& one) { return std::string(one.param.name); });

SamplingParams warm() {
  SamplingParams p;
  p.temperature = 1;
  return p;
}

TEST(DeviceSampling, FlagsBadRowsAndLeavesOthersAlone) {
  Requests requests;
  requests.params.assign(6, warm());
  requests.params[4].top_k = 10;
  SampleProblem bad(2000, requests), good(2000, requests);
  std::vector<float> logits = noise(6 * 2000, 1, 2);
  const auto clean = good.step(logits, 2000);
  logits[2000 + 1999] = std::nanf("");
  logits[2 * 2000] = kInf;
  std::fill(logits.begin() + 3 * 2000, logits.begin() + 4 * 2000, -kInf);
  const auto rows = bad.step(logits, 2000);
  using Outcome = DeviceSampler::Outcome;
  EXPECT_EQ(rows[1].outcome, Outcome::kNotFinite);
  EXPECT_EQ(rows[2].outcome, Outcome::kNotFinite);
  EXPECT_EQ(rows[3].outcome, Outcome::kNoTokenLeft);
  for (const std::size_t r : {1, 2, 3}) EXPECT_EQ(rows[r].id, 0);
  for (const std::size_t r : {0, 4, 5}) {
    EXPECT_EQ(rows[r].outcome, Outcome::kToken);
    EXPECT_EQ(rows[r].id, clean[r].id);
  }
}

TEST(DeviceSampling, TiesGoToTheLowestIds) {
  // 10000 equal logits do not fit into the list; the three lowest ids of the largest are kept.
  SamplingParams params = warm();
  params.top_k = 3;
  Requests requests;
  requests.params.assign(200, params);
  SampleProblem problem(12000, requests);
  std::vector<float> logits(12000, -5.F);
  std::fill(logits.begin() + 1000, logits.begin() + 11000, 2.F);
  std::vector<int> count(12000, 0);
  for (const auto& row : problem.step(logits, 0)) ++count[static_cast<std::size_t>(row.id)];
  EXPECT_EQ(count[1000] + count[1001] + count[1002], 200);
  for (const std::size_t id : {1000, 1001, 1002}) EXPECT_GT(count[id], 30);
}

TEST(DeviceSampling, FewerFiniteTokensThanTopKAreAllKept) {
  SamplingParams params = warm();
  params.top_k = 40;
  params.top_p = 0.6F;
  Requests requests;
  requests.params.assign(100, params);
  SampleProblem problem(9000, requests);
  std::vector<float> logits(9000, -kInf);
  for (const std::size_t id : {8999, 4, 4000}) logits[id] = 1;
  for (const auto& row : problem.step(logits, 0)) {
    EXPECT_TRUE(row.id == 4 || row.id == 4000) << row.id;  // two thirds reach 0.6
  }
}

TEST(DeviceSampling, ARowGetsTheSameTokenAloneAndInACrowd) {
  SamplingParams params = warm();
  params.top_p = 0.95F;
  Requests crowd;
  crowd.params.assign(40, params);
  SampleProblem all(32000, crowd);
  Requests single;
  single.params.assign(1, params);
  SampleProblem one(32000, single);
  const std::vector<float> logits = noise(40 * 32000, 3, 2);
  for (int step = 0; step < 4; ++step) {
    EXPECT_EQ(all.step(logits, 32000)[0].id, one.step(logits, 32000)[0].id);
  }
}

TEST(DeviceSampling, PlainGreedyRowsAgreeWithTheFasterKernel) {
  SamplingParams greedy;
  greedy.temperature = 0;
  Requests requests;
  requests.params.assign(20, greedy);
  SampleProblem problem(32000, requests);
  EXPECT_TRUE(problem.sampler().is_plain_greedy(3));
  std::vector<float> logits = noise(20 * 32000, 3, 1);
  for (float& x : logits) x = std::round(x * 4) / 4;
  const auto slow = problem.step(logits, 32000);
  const auto fast = problem.step(logits, 32000, true);
  for (std::size_t r = 0; r < 20; ++r) EXPECT_EQ(slow[r].id, fast[r].id);
}

TEST(DeviceSampling, ASlotGivenAnewForgetsItsTokens) {
  SamplingParams params;
  params.temperature = 0;
  params.presence_penalty = 2;
  Requests requests;
  requests.params.assign(1, params);
  const std::vector<float> logits = noise(1000, 9, 1);
  SampleProblem problem(1000, requests);
  const TokenId first = problem.step(logits, 1000)[0].id;
  EXPECT_NE(problem.step(logits, 1000)[0].id, first);
  problem.set(0, params, {});
  EXPECT_EQ(problem.step(logits, 1000)[0].id, first);
  const std::vector<TokenId> output{first};
  problem.set(0, params, output);  // resumed
  EXPECT_NE(problem.step(logits, 1000)[0].id, first);
}

TEST(DeviceSampling, KnowsWhatItDoesNotSupport) {
  const auto sampler = DeviceSampler::make({.vocab = 1000, .slots = 1, .rows = 1}).value();
  EXPECT_TRUE(sampler->supports(warm()));
  SamplingParams p = warm();
  p.typical_p = 0.9F;
  EXPECT_FALSE(sampler->supports(p));
  p = warm();
  p.logprobs = 2;
  EXPECT_FALSE(sampler->supports(p));
  p = warm();
  p.allowed_token_ids = {1};
  EXPECT_FALSE(sampler->supports(p));
  p = warm();
  p.logit_bias[1] = 1;
  EXPECT_FALSE(sampler->supports(p));
}

TEST(DeviceSampling, AVocabularyThatIsTooLargeIsAnError) {
  const auto made = DeviceSampler::make({.vocab = 300000, .slots = 1, .rows = 1});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("300000"), std::string::npos);
}

}  // namespace
}  // namespace spate::cuda_test
