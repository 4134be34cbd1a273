// Whole lives of many requests in caches too small for them: everybody finishes, with the tokens
// it would have got alone.
#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/engine/fake_device.h"

namespace spate {
namespace {

constexpr std::int64_t kBlockTokens = 4;

struct Job {
  std::vector<TokenId> prompt{};
  std::int64_t max_new_tokens = 0;
};

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  std::int64_t roll(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  std::vector<TokenId> text(std::int64_t length) {
    std::vector<TokenId> tokens(static_cast<std::size_t>(length));
    for (TokenId& token : tokens) token = static_cast<TokenId>(roll(0, 49'999));
    return tokens;
  }

 private:
  std::mt19937_64 random_;
};

// A plan keeps to the limits and names each sequence once, running.
void check_plan(const Plan& plan, const Scheduler& scheduler, const SchedulerOptions& options) {
  std::vector<SequenceId> ids;
  std::int64_t n_tokens = 0;
  for (const Chunk& chunk : plan.chunks) {
    ids.push_back(chunk.sequence);
    n_tokens += chunk.count;
    ASSERT_GT(chunk.count, 0);
    ASSERT_LE(chunk.n_logits, chunk.count);
    ASSERT_TRUE(!chunk.samples || chunk.n_logits > 0);
  }
  ASSERT_EQ(n_tokens, plan.n_tokens);
  ASSERT_LE(n_tokens, options.max_batch_tokens);
  ASSERT_LE(scheduler.stats().n_running, options.max_requests);
  std::ranges::sort(ids);
  ASSERT_TRUE(std::ranges::adjacent_find(ids) == ids.end());
}

using Setting = std::tuple<KvCacheKind, std::int64_t, AdmissionKind, std::string>;

class Simulation : public testing::TestWithParam<Setting> {
 protected:
  KvCacheKind kind() const { return std::get<0>(GetParam()); }
  std::int64_t n_ahead() const { return std::get<1>(GetParam()); }
  AdmissionKind admission() const { return std::get<2>(GetParam()); }
  Policy policy() const { return *find_policy(std::get<3>(GetParam())); }

  std::unique_ptr<KvAllocator> make_cache(std::int64_t n_blocks) const {
    return make_kv_allocator(kind(), {.n_blocks = n_blocks, .block_tokens = kBlockTokens});
  }
  SchedulerOptions options(std::int64_t max_batch_tokens, std::int64_t max_requests) const {
    return {.max_batch_tokens = max_batch_tokens,
            .max_requests = max_requests,
            .admission = {.kind = admission(), .expected_new_tokens = 8},
            .policy = policy()};
  }
};

TEST_P(Simulation, EveryRequestEndsWithTheTokensItWouldGetAlone) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    Dice dice(seed);
    const std::int64_t n_blocks = dice.roll(16, 40);
    const auto cache = make_cache(n_blocks);
    const SchedulerOptions limits = options(dice.roll(5, 48), dice.roll(2, 24));
    const FakeModel model{.mean_length = dice.roll(5, 60)};
    FakeEngine engine(limits, *cache, model, n_ahead());
    std::map<SequenceId, Job> jobs;
    std::int64_t now = 0;
    std::int64_t n_left = 300;
    while (n_left > 0 || engine.scheduler.has_work()) {
      for (std::int64_t n = n_left > 0 ? dice.roll(0, 2) : 0; n > 0; --n, --n_left) {
        Job job{.prompt = dice.text(dice.roll(1, 30)), .max_new_tokens = dice.roll(0, 34)};
        const auto id = engine.scheduler.add({.prompt = job.prompt,
                                              .max_new_tokens = job.max_new_tokens,
                                              .priority = dice.roll(-2, 2),
                                              .arrival_ns = now});
        ASSERT_TRUE(id);
        jobs[*id] = std::move(job);
      }
      now += 20'000'000;
      const Plan& plan = engine.step();
      check_plan(plan, engine.scheduler, limits);
      ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
      ASSERT_LT(engine.n_steps, 60'000) << "seed " << seed;
    }
    ASSERT_TRUE(engine.run_until_idle(60'000));

    ASSERT_EQ(engine.done.size(), jobs.size());
    for (const auto& [id, job] : jobs) {
      ASSERT_EQ(engine.done[id], model.complete(job.prompt, job.max_new_tokens));
    }
    ASSERT_EQ(cache->free_blocks(), n_blocks);
    if (admission() == AdmissionKind::kExact) {
      ASSERT_EQ(engine.scheduler.stats().n_preemptions, 0);
    }
  }
}

TEST_P(Simulation, WhenAllWantToGrowAtOnceTheyAllEnd) {
  // Eight sequences of one full block each fill the cache, and each may need all of it.
  const auto cache = make_cache(8);
  FakeEngine engine(options(64, 8), *cache, {}, n_ahead());
  Dice dice(1);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(engine.scheduler.add(
        {.prompt = dice.text(kBlockTokens), .max_new_tokens = 7 * kBlockTokens + 1}));
  }

  ASSERT_TRUE(engine.run_until_idle(8 * 40));

  EXPECT_EQ(engine.done.size(), 8U);
}

TEST_P(Simulation, AGiantIsNotStarvedByManySmall) {
  const auto cache = make_cache(20);
  FakeEngine engine(options(32, 16), *cache, {}, n_ahead());
  Dice dice(2);
  std::int64_t now = 0;
  const auto add = [&](std::int64_t n_prompt, std::int64_t n_new) {
    now += 1'000'000;
    return *engine.scheduler.add(
        {.prompt = dice.text(n_prompt), .max_new_tokens = n_new, .arrival_ns = now});
  };
  for (int i = 0; i < 10; ++i) add(6, 6);
  const SequenceId giant = add(70, 11);
  std::int64_t n_waited = 0;
  while (!engine.done.contains(giant)) {
    add(6, 6);  // one more each step, for as long as it takes
    engine.step();
    ASSERT_LT(++n_waited, 2'000);
  }

  SUCCEED();
}

TEST_P(Simulation, CancelsAtAnyMomentAndLosesNothing) {
  const auto cache = make_cache(24);
  const FakeModel model{.mean_length = 40};
  FakeEngine engine(options(24, 12), *cache, model, n_ahead());
  Dice dice(3);
  std::map<SequenceId, Job> jobs;
  std::vector<SequenceId> ids;
  for (int i = 0; i < 400; ++i) {
    Job job{.prompt = dice.text(dice.roll(1, 20)), .max_new_tokens = dice.roll(1, 30)};
    ids.push_back(*engine.scheduler.add(
        {.prompt = job.prompt, .max_new_tokens = job.max_new_tokens, .arrival_ns = i}));
    jobs[ids.back()] = std::move(job);
    engine.step();
    const SequenceId victim =
        ids[static_cast<std::size_t>(dice.roll(std::max<std::int64_t>(0, i - 20), i))];
    if (dice.roll(0, 2) == 0 && engine.scheduler.cancel(victim)) jobs.erase(victim);
  }

  ASSERT_TRUE(engine.run_until_idle(20'000));

  ASSERT_EQ(engine.done.size(), jobs.size());
  for (const auto& [id, job] : jobs) {
    ASSERT_EQ(engine.done[id], model.complete(job.prompt, job.max_new_tokens));
  }
  EXPECT_EQ(cache->free_blocks(), 24);
}

TEST_P(Simulation, CompletionsOfOnePromptShareItAndDifferFromNothing) {
  const auto cache = make_cache(30);
  const FakeModel model{.mean_length = 30};
  FakeEngine engine(options(20, 12), *cache, model, n_ahead());
  Dice dice(4);
  std::map<SequenceId, Job> jobs;
  for (int i = 0; i < 40; ++i) {
    const Job job{.prompt = dice.text(dice.roll(1, 30)), .max_new_tokens = dice.roll(1, 30)};
    std::optional<SequenceId> first;
    for (std::int64_t n = dice.roll(1, 4); n > 0; --n) {
      const SequenceId id = *engine.scheduler.add({.prompt = job.prompt,
                                                   .max_new_tokens = job.max_new_tokens,
                                                   .arrival_ns = i,
                                                   .same_prompt_as = first});
      if (!first) first = id;
      jobs[id] = job;
    }
  }

  ASSERT_TRUE(engine.run_until_idle(20'000));

  for (const auto& [id, job] : jobs) {
    ASSERT_EQ(engine.done[id], model.complete(job.prompt, job.max_new_tokens));
  }
  EXPECT_EQ(cache->free_blocks(), 30);
}

INSTANTIATE_TEST_SUITE_P(
    Settings, Simulation,
    testing::Combine(testing::Values(KvCacheKind::kSegment, KvCacheKind::kPaged),
                     testing::Values(0, 1, 2),
                     testing::Values(AdmissionKind::kLookahead, AdmissionKind::kExact),
                     testing::Values("fifo", "prefill-first", "shortest-first", "priority")),
    [](const auto& setting) {
      std::string name = std::get<0>(setting.param) == KvCacheKind::kSegment ? "Segment" : "Paged";
      name += "Ahead" + std::to_string(std::get<1>(setting.param));
      name += std::get<2>(setting.param) == AdmissionKind::kExact ? "Exact" : "Optimistic";
      for (const char c : std::get<3>(setting.param)) {
        if (c != '-') name += c;
      }
      return name;
    });

TEST(Preemption, NobodyIsPreemptedMoreThanTwiceUnderFifo) {
  // Answers far longer than expected, in a cache for three of them at most.
  const auto cache = make_kv_allocator(KvCacheKind::kSegment, {.n_blocks = 24, .block_tokens = 4});
  FakeEngine engine(
      {.max_batch_tokens = 64, .max_requests = 16, .admission = {.expected_new_tokens = 1}}, *cache,
      {.mean_length = 25}, 1);
  Dice dice(5);
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(engine.scheduler.add(
        {.prompt = dice.text(4), .max_new_tokens = dice.roll(40, 80), .arrival_ns = i}));
  }

  ASSERT_TRUE(engine.run_until_idle(100'000));

  EXPECT_GT(engine.scheduler.stats().n_preemptions, 0);
  EXPECT_LE(engine.max_preemptions, 2);
}

TEST(Preemption, IsRareWhereLengthsAreCertain) {
  std::int64_t n_preemptions[2] = {};
  for (const bool fixed : {false, true}) {
    const auto cache = make_kv_allocator(KvCacheKind::kPaged, {.n_blocks = 60, .block_tokens = 4});
    FakeEngine engine({.max_batch_tokens = 64, .max_requests = 32}, *cache,
                      {.mean_length = 1'000'000}, 1);
    Dice dice(7);
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(engine.scheduler.add({.prompt = dice.text(4),
                                        .max_new_tokens = dice.roll(40, 80),
                                        .fixed_length = fixed,
                                        .arrival_ns = i}));
    }
    ASSERT_TRUE(engine.run_until_idle(100'000));
    n_preemptions[fixed ? 1 : 0] = engine.scheduler.stats().n_preemptions;
  }

  EXPECT_GT(n_preemptions[0], 20);
  EXPECT_LT(n_preemptions[1], n_preemptions[0] / 4);
}

TEST(Preemption, BothKindsOfCacheGiveTheSamePlans) {
  const auto segments =
      make_kv_allocator(KvCacheKind::kSegment, {.n_blocks = 30, .block_tokens = 4});
  const auto pages = make_kv_allocator(KvCacheKind::kPaged, {.n_blocks = 30, .block_tokens = 4});
  const SchedulerOptions options{.max_batch_tokens = 32, .max_requests = 12};
  FakeEngine one(options, *segments, {.mean_length = 20}, 1);
  FakeEngine two(options, *pages, {.mean_length = 20}, 1);
  Dice dice(6);
  for (int i = 0; i < 200; ++i) {
    const SequenceSpec spec{
        .prompt = dice.text(dice.roll(1, 40)), .max_new_tokens = 40, .arrival_ns = i};
    ASSERT_TRUE(one.scheduler.add(spec));
    ASSERT_TRUE(two.scheduler.add(spec));
  }

  while (one.scheduler.has_work()) {
    ASSERT_EQ(one.step().chunks, two.step().chunks);
  }
}

}  // namespace
}  // namespace spate
