// The device samples what the CPU samples: same logits, same keys, same rules, many steps. A token
// may differ where a mass lies within rounding of the uniform number or of a bound, at most once in
// a thousand.
#include <cmath>

#include "tests/cuda/sample_problem.h"

namespace spate::cuda_test {
namespace {

struct Case {
  const char* name;
  std::int64_t vocab;
  float spread;
  SamplingParams params;
  int rows = 32, steps = 8;
};

SamplingParams with(float temperature, std::int64_t top_k = 0, float top_p = 1, float min_p = 0) {
  SamplingParams p;
  p.temperature = temperature;
  p.top_k = top_k;
  p.top_p = top_p;
  p.min_p = min_p;
  return p;
}
SamplingParams penalized(SamplingParams p, float repetition, float presence, float frequency) {
  p.repetition_penalty = repetition;
  p.presence_penalty = presence;
  p.frequency_penalty = frequency;
  return p;
}
SamplingParams masked(SamplingParams p) {
  p.min_tokens = 4;
  p.stop_token_ids = {3, 5};
  p.banned_token_ids = {0, 17, 999};
  return p;
}
SamplingParams with_logprob(SamplingParams p) {
  p.logprobs = 0;
  return p;
}

class AgreeTest : public testing::TestWithParam<Case> {};

TEST_P(AgreeTest, DeviceAndHostChooseTheSameTokens) {
  const Case& c = GetParam();
  Requests requests;
  requests.params.assign(static_cast<std::size_t>(c.rows), c.params);
  requests.prompts.assign(static_cast<std::size_t>(c.rows), {1, 2, 3, 2, 700, 701});
  requests.eos_ids = {2, 1 << 28};
  SampleProblem problem(c.vocab, requests);
  HostSamplers host(problem);
  int different = 0;
  for (int step = 0; step < c.steps; ++step) {
    std::vector<float> logits =
        noise(c.rows * c.vocab, static_cast<std::uint32_t>(step + 1), c.spread);
    // A few likely tokens among the low ids, as in real vocabularies; some logits are equal.
    for (std::size_t i = 0; i < logits.size(); i += 97) {
      if (i % static_cast<std::size_t>(c.vocab) < 3000) logits[i] += 2 * c.spread;
      logits[i] = std::round(logits[i] * 8) / 8;
    }
    const auto rows = problem.step(logits, c.vocab);
    for (int r = 0; r < c.rows; ++r) {
      const std::span<const float> row(logits.data() + r * c.vocab,
                                       static_cast<std::size_t>(c.vocab));
      const SampledToken want = host.sample(r, row);
      const DeviceSampler::Row& got = rows[static_cast<std::size_t>(r)];
      ASSERT_EQ(got.outcome, DeviceSampler::Outcome::kToken);
      host.add_output(r, got.id);
      if (got.id != want.id) {
        ++different;
        continue;
      }
      // Log-sum-exp: a relative error of 2^-20 each.
      if (want.logprob) ASSERT_NEAR(got.logprob, *want.logprob, 4e-6);
    }
  }
  EXPECT_LE(different * 1000, c.rows * c.steps) << different << " tokens differ";
}

constexpr std::int64_t kLarge = 128256;
INSTANTIATE_TEST_SUITE_P(
    Rules, AgreeTest,
    testing::Values(Case{"greedy", 32000, 2, with(0)}, Case{"plain", 32000, 3, with(1)},
                    Case{"warm", kLarge, 2, with(1.7F)}, Case{"cool", kLarge, 4, with(0.3F)},
                    Case{"top_k", kLarge, 3, with(1, 50)}, Case{"top_k_1", 1003, 1, with(1, 1)},
                    Case{"top_k_many", 32000, 1, with(1, 20000)},
                    Case{"top_k_500_flat", 5000, 0.01F, with(1, 500)},
                    Case{"top_k_beyond", 1000, 2, with(1, 100000)},
                    Case{"top_p", kLarge, 4, with(1, 0, 0.9F)},
                    Case{"top_p_wide", 32000, 0.7F, with(1, 0, 0.97F)},
                    Case{"top_p_tiny", 32000, 2, with(1, 0, 1e-6F)},
                    Case{"top_p_most", 1003, 3, with(0.8F, 0, 0.9999F)},
                    Case{"top_k_p", kLarge, 3, with(0.7F, 200, 0.8F)},
                    Case{"min_p", 32000, 3, with(1, 0, 1, 0.05F)},
                    Case{"all", kLarge, 3, with(0.9F, 1000, 0.95F, 0.02F)},
                    Case{"largest", 262144, 3, with(1, 40, 0.9F), 8, 4},
                    Case{"one", 1, 1, with(1, 0, 0.5F), 4, 2}, Case{"tiny", 7, 1, with(1, 3, 0.9F)},
                    Case{"penalties", 32000, 2, penalized(with(0.8F), 1.3F, 0.5F, 0.25F), 16, 12},
                    Case{"penalties_greedy", 1000, 1, penalized(with(0), 1.5F, 0.5F, 1.F), 16, 20},
                    Case{"penalties_filters", kLarge, 3,
                         penalized(with(1, 100, 0.9F), 1.1F, 0, -0.5F), 8, 8},
                    Case{"masks", 1003, 1, masked(with(1, 50)), 32, 8},
                    Case{"masks_greedy", 32000, 1, masked(with(0)), 32, 8},
                    Case{"logprob", 32000, 3, with_logprob(with(0.7F, 50, 0.9F))},
                    Case{"logprob_penalties", 1003, 2,
                         with_logprob(penalized(masked(with(1)), 1.2F, 0.1F, 0.1F))}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace spate::cuda_test
