#include "bench/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/profile.h"

namespace spate::bench {
namespace {

TEST(Trace, PairsAndEntriesAreLengths) {
  const auto pairs = parse_trace("[[19, 206], [8, 230]]", "t.json", 0);
  const auto entries =
      parse_trace(R"({"entries": [{"prompt_length": 19, "response_length": 206, "prompt": "x"}]})",
                  "t.json", 0);

  ASSERT_TRUE(pairs);
  ASSERT_EQ(pairs->size(), 2U);
  EXPECT_EQ((*pairs)[1].output, 230);
  ASSERT_TRUE(entries);
  EXPECT_EQ((*entries)[0].input, 19);
}

TEST(Trace, AShortOneStartsAgain) {
  const auto lengths = parse_trace("[[1, 2], [3, 4]]", "t.json", 5);

  ASSERT_TRUE(lengths);
  ASSERT_EQ(lengths->size(), 5U);
  EXPECT_EQ((*lengths)[4].input, 1);
}

TEST(Trace, ARequestWithoutLengthsIsNamed) {
  const auto lengths = parse_trace("[[1, 2], [3, 0]]", "t.json", 0);

  ASSERT_FALSE(lengths);
  EXPECT_THAT(lengths.error().message, testing::HasSubstr("t.json: request 1"));
}

TEST(RandomTokens, DependOnTheSeedAndStayInTheVocabulary) {
  const std::vector<TokenId> a = random_tokens(1000, 50, 1);

  EXPECT_EQ(a, random_tokens(1000, 50, 1));
  EXPECT_NE(a, random_tokens(1000, 50, 2));
  EXPECT_THAT(a, testing::Each(testing::AllOf(testing::Ge(0), testing::Lt(50))));
}

/// The built-in model, small enough to run here.
Result<std::unique_ptr<Engine>> small_engine() {
  return Engine::create({.model = "models/stories-12m",
                         .kv_memory = std::int64_t{64} << 20,
                         .threads = 1,
                         .max_batch_tokens = 64});
}

TEST(Workload, ThroughputCountsEveryToken) {
  auto engine = small_engine();
  ASSERT_TRUE(engine) << engine.error().message;

  const auto run =
      run_throughput(**engine, {{.input = 5, .output = 3}, {.input = 70, .output = 2}});

  ASSERT_TRUE(run);
  EXPECT_EQ(run->requests, 2);
  EXPECT_EQ(run->prompt_tokens, 75);
  EXPECT_EQ(run->output_tokens, 5);
  EXPECT_GT(run->mean_batch, 1.0);
}

TEST(Workload, DecodingTimesSoManyStepsAndLeavesNothingBehind) {
  auto engine = small_engine();
  ASSERT_TRUE(engine) << engine.error().message;
  Profile profile;

  const auto run =
      run_decode(**engine, {.batch = 3, .steps = 4, .depth = 50, .step_tokens = 64}, &profile);

  ASSERT_TRUE(run);
  EXPECT_EQ(run->step_seconds.size(), 4U);
  EXPECT_FALSE(run->device.any());  // there is none beside the host
  EXPECT_EQ(engine.value()->stats().running, 0);
  for (const Profile::Line& l : profile.lines()) EXPECT_EQ(l.calls % 4, 0) << l.cost.name;
}

TEST(Workload, PrefillProfilesThePartBehindItsDepth) {
  auto engine = small_engine();
  ASSERT_TRUE(engine) << engine.error().message;
  const ModelInfo& info = (*engine)->info();
  Profile profile;

  const auto run = run_prefill(**engine, {.tokens = 32, .depth = 64, .step_tokens = 64}, &profile);

  ASSERT_TRUE(run);
  const auto embed = profile.lines().front();
  EXPECT_EQ(embed.cost.name, "embed");
  EXPECT_EQ(static_cast<std::int64_t>(embed.cost.n_bytes) % (32 * info.hidden_size), 0);
  EXPECT_EQ(embed.calls, 1);
}

}  // namespace
}  // namespace spate::bench
