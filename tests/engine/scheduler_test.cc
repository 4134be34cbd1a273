// Tables of arrivals and the plans expected of them.
#include "engine/scheduler.h"

#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kBlockTokens = 4;

// A scheduler over pages of four tokens, and the tokens it is told were sampled.
class SchedulerTest : public testing::Test {
 protected:
  void make(std::int64_t n_blocks, const SchedulerOptions& options = {}) {
    cache_ = make_kv_allocator(KvCacheKind::kPaged,
                               {.n_blocks = n_blocks, .block_tokens = kBlockTokens});
    scheduler_ = std::make_unique<Scheduler>(options, *cache_);
  }

  SequenceId add(std::int64_t n_prompt, std::int64_t max_new_tokens) {
    std::vector<TokenId> prompt(static_cast<std::size_t>(n_prompt));
    std::iota(prompt.begin(), prompt.end(), 1);
    return *scheduler_->add({.prompt = prompt,
                             .max_new_tokens = max_new_tokens,
                             .priority = priority_,
                             .arrival_ns = ++clock_});
  }

  void make_two_for_five_blocks(std::int64_t first_logits = 2) {
    make(5, {.admission = {.expected_new_tokens = 1}});
    elder_ = add(4, 13);
    younger_ = *scheduler_->add({.prompt = {1, 2, 3},
                                 .max_new_tokens = 13,
                                 .first_logits = first_logits,
                                 .arrival_ns = ++clock_});
  }

  Plan next() {
    Plan plan;
    scheduler_->next(plan, {});
    return plan;
  }
  std::vector<SequenceId> commit(const Plan& plan, Outcome outcome = {.token = 7}) {
    const std::vector<Outcome> outcomes(static_cast<std::size_t>(plan.n_samples), outcome);
    const auto finished = scheduler_->commit(plan, outcomes);
    return {finished.begin(), finished.end()};
  }
  Plan step() {
    Plan plan = next();
    commit(plan);
    return plan;
  }

  static Chunk sampling(SequenceId id, std::int64_t first, std::int64_t count) {
    return {.sequence = id, .first = first, .count = count, .n_logits = 1, .samples = true};
  }
  static Chunk silent(SequenceId id, std::int64_t first, std::int64_t count) {
    return {.sequence = id, .first = first, .count = count};
  }

  std::unique_ptr<KvAllocator> cache_{};
  std::unique_ptr<Scheduler> scheduler_{};
  std::int64_t clock_ = 0;
  std::int64_t priority_ = 0;
  SequenceId elder_{};
  SequenceId younger_{};
};

TEST_F(SchedulerTest, HasNothingToDoAtFirst) {
  make(10);

  EXPECT_TRUE(next().empty());
  EXPECT_FALSE(scheduler_->has_work());
}

TEST_F(SchedulerTest, APromptIsOneChunkAndDecodingAChunkOfOne) {
  make(10);
  const SequenceId a = add(5, 3);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 0, 5)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 5, 1)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 6, 1)));
  EXPECT_TRUE(next().empty());
  EXPECT_EQ(scheduler_->find(a)->tokens, (std::vector<TokenId>{1, 2, 3, 4, 5, 7, 7, 7}));
}

TEST_F(SchedulerTest, ALongPromptIsCutAtBlockEnds) {
  make(10, {.max_batch_tokens = 10});
  const SequenceId a = add(21, 1);

  EXPECT_THAT(step().chunks, ElementsAre(silent(a, 0, 8)));
  EXPECT_THAT(step().chunks, ElementsAre(silent(a, 8, 8)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 16, 5)));
}

TEST_F(SchedulerTest, ABudgetSmallerThanABlockStillMovesThePromptOn) {
  make(10, {.max_batch_tokens = 3});
  const SequenceId a = add(5, 1);

  EXPECT_THAT(step().chunks, ElementsAre(silent(a, 0, 3)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 3, 2)));
}

TEST_F(SchedulerTest, MixesNextTokensAndPromptsInOnePlan) {
  make(20, {.max_batch_tokens = 9});
  const SequenceId a = add(4, 9);
  step();
  const SequenceId b = add(12, 9);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 4, 1), silent(b, 0, 8)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 5, 1), sampling(b, 8, 4)));
}

TEST_F(SchedulerTest, AStepMayHaveASmallerBudget) {
  make(20);
  const SequenceId a = add(12, 1);
  Plan plan;

  scheduler_->next(plan, {.n_tokens = 4});

  EXPECT_THAT(plan.chunks, ElementsAre(silent(a, 0, 4)));
}

TEST_F(SchedulerTest, PromptsGoFirstUnderPrefillFirst) {
  make(20, {.max_batch_tokens = 8, .policy = prefill_first_policy()});
  const SequenceId a = add(4, 9);
  step();
  const SequenceId b = add(8, 9);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(b, 0, 8)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 4, 1), sampling(b, 8, 1)));
}

TEST_F(SchedulerTest, ShortRequestsGoFirstUnderShortestFirst) {
  make(20, {.max_requests = 1, .policy = shortest_first_policy()});
  add(12, 9);
  const SequenceId b = add(4, 9);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(b, 0, 4)));
}

TEST_F(SchedulerTest, TheLowerNumberGoesFirstUnderPriority) {
  make(20, {.max_requests = 1, .policy = priority_policy()});
  add(4, 9);
  priority_ = -1;
  const SequenceId b = add(4, 9);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(b, 0, 4)));
}

TEST_F(SchedulerTest, RunsNoMoreRequestsThanAllowed) {
  make(20, {.max_requests = 2});
  const SequenceId a = add(4, 2);
  const SequenceId b = add(4, 9);
  const SequenceId c = add(4, 9);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 0, 4), sampling(b, 0, 4)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 4, 1), sampling(b, 4, 1)));
  EXPECT_THAT(step().chunks, ElementsAre(sampling(b, 5, 1), sampling(c, 0, 4)));
}

TEST_F(SchedulerTest, RefusesWhatExceedsTheContextWithTheNumbers) {
  make(100, {.context_length = 50});

  const auto verdict = scheduler_->admissible(40, 11);

  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(verdict.error().message, HasSubstr("40 tokens"));
  EXPECT_THAT(verdict.error().message, HasSubstr("context of 50"));
  EXPECT_TRUE(scheduler_->admissible(40, 10));
}

TEST_F(SchedulerTest, RefusesWhatExceedsTheWholeCacheWithTheNumbers) {
  make(10);

  const auto verdict = scheduler_->admissible(30, 12);

  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().code, ErrorCode::kOutOfMemory);
  EXPECT_THAT(verdict.error().message, HasSubstr("11 blocks"));
  EXPECT_THAT(verdict.error().message, HasSubstr("has 10 of 4 tokens"));
  EXPECT_TRUE(scheduler_->admissible(30, 11));  // the last token is never written
}

TEST_F(SchedulerTest, RefusesEmptyPromptsAndOverflowingLimits) {
  make(10);

  EXPECT_FALSE(scheduler_->admissible(0, 5));
  EXPECT_FALSE(scheduler_->admissible(5, -1));
  EXPECT_FALSE(scheduler_->admissible(5, std::numeric_limits<std::int64_t>::max()));
}

TEST_F(SchedulerTest, TheLargestAdmissibleRequestRunsToItsEnd) {
  make(10);
  const SequenceId a = add(30, 11);

  for (int i = 0; i < 11; ++i) ASSERT_FALSE(step().empty());

  EXPECT_EQ(scheduler_->find(a)->status, SequenceStatus::kFinished);
  EXPECT_EQ(cache_->free_blocks(), 10);
}

TEST_F(SchedulerTest, WhatDoesNotFitNowWaits) {
  make(4);
  add(12, 2);
  const SequenceId b = add(8, 2);
  step();
  EXPECT_EQ(scheduler_->stats().n_waiting, 1);

  step();  // the first ends

  EXPECT_THAT(step().chunks, ElementsAre(sampling(b, 0, 8)));
}

TEST_F(SchedulerTest, TheSmallDoNotOvertakeALargeOneThatWaits) {
  make(4);
  add(8, 3);
  add(12, 2);
  add(1, 1);

  EXPECT_EQ(step().chunks.size(), 1U);
  EXPECT_EQ(step().chunks.size(), 1U);
}

// Two sequences that each may come to need four of the five blocks. From the seventh step on the
// younger has no block for its next token; in the tenth the elder takes those that it has.
TEST_F(SchedulerTest, TheYoungestStandsStillWhileNobodyNeedsItsMemory) {
  make_two_for_five_blocks();
  for (int i = 1; i <= 6; ++i) EXPECT_EQ(step().chunks.size(), 2U);

  const Plan plan = step();

  EXPECT_THAT(plan.chunks, ElementsAre(sampling(elder_, 9, 1)));
  EXPECT_THAT(plan.preempted, IsEmpty());
}

TEST_F(SchedulerTest, PreemptsTheYoungestAndComputesItAnew) {
  make_two_for_five_blocks();
  for (int i = 1; i <= 9; ++i) step();

  const Plan plan = step();

  EXPECT_THAT(plan.preempted, ElementsAre(younger_));
  EXPECT_THAT(plan.chunks, ElementsAre(sampling(elder_, 12, 1)));
  EXPECT_EQ(scheduler_->find(younger_)->status, SequenceStatus::kPreempted);
  for (int i = 11; i <= 13; ++i) step();  // the elder ends
  EXPECT_THAT(step().chunks, ElementsAre(sampling(younger_, 0, 9)));
}

// A prompt of 3 and 6 generated tokens; chunks end at blocks of 4 where they can.
TEST_F(SchedulerTest, ComputesSoManyGeneratedTokensAnewInAStep) {
  make(5, {.max_recomputed = 2, .admission = {.expected_new_tokens = 1}});
  elder_ = add(4, 13);
  younger_ = add(3, 13);
  for (int i = 1; i <= 13; ++i) step();

  std::vector<std::int64_t> counts;
  for (int i = 0; i < 3; ++i) {
    for (const Chunk& chunk : step().chunks) counts.push_back(chunk.count);
  }

  EXPECT_THAT(counts, ElementsAre(4, 3, 2));
}

TEST_F(SchedulerTest, ThePreemptedGoesBeforeThoseWhoWait) {
  make_two_for_five_blocks();
  for (int i = 1; i <= 9; ++i) step();
  const SequenceId c = add(1, 1);
  for (int i = 10; i <= 13; ++i) EXPECT_EQ(step().chunks.size(), 1U);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(younger_, 0, 9), sampling(c, 0, 1)));
}

TEST_F(SchedulerTest, ExactAdmissionReservesTheLongestContinuation) {
  make(4, {.admission = {.kind = AdmissionKind::kExact}});
  const SequenceId a = add(4, 9);
  add(4, 9);

  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 0, 4)));
  EXPECT_EQ(cache_->free_blocks(), 3);
}

TEST_F(SchedulerTest, CancellingFreesTheCacheAtOnce) {
  make(10);
  const SequenceId a = add(8, 9);
  step();

  EXPECT_TRUE(scheduler_->cancel(a));

  EXPECT_EQ(cache_->free_blocks(), 10);
  EXPECT_EQ(scheduler_->find(a), nullptr);
  EXPECT_FALSE(scheduler_->has_work());
  EXPECT_FALSE(scheduler_->cancel(a));
}

TEST_F(SchedulerTest, CancellingDropsWhatIsStillSampled) {
  make(10);
  const SequenceId a = add(8, 9);
  const SequenceId b = add(8, 1);
  const Plan plan = next();

  scheduler_->cancel(a);

  EXPECT_EQ(cache_->free_blocks(), 8);
  EXPECT_THAT(commit(plan), ElementsAre(b));
}

TEST_F(SchedulerTest, AStopEndsTheSequenceWithThatToken) {
  make(10);
  const SequenceId a = add(2, 9);

  EXPECT_THAT(commit(next(), {.token = 5, .stop = true}), ElementsAre(a));

  EXPECT_EQ(scheduler_->find(a)->tokens, (std::vector<TokenId>{1, 2, 5}));
  EXPECT_EQ(cache_->free_blocks(), 10);
}

TEST_F(SchedulerTest, PlansOneStepAheadWithTokensInFlight) {
  make(10);
  const SequenceId a = add(2, 9);
  const Plan first = next();

  const Plan second = next();

  EXPECT_THAT(second.chunks, ElementsAre(sampling(a, 2, 1)));
  EXPECT_EQ(scheduler_->find(a)->tokens,
            (std::vector<TokenId>{1, 2, kTokenInFlight, kTokenInFlight}));
  commit(first, {.token = 5});
  EXPECT_EQ(scheduler_->find(a)->tokens, (std::vector<TokenId>{1, 2, 5, kTokenInFlight}));
}

TEST_F(SchedulerTest, AStopSeenOneStepLateDropsTheExtraToken) {
  make(10);
  const SequenceId a = add(2, 9);
  const Plan first = next();
  const Plan second = next();

  EXPECT_THAT(commit(first, {.token = 5, .stop = true}), ElementsAre(a));
  EXPECT_FALSE(scheduler_->is_live(a));
  EXPECT_THAT(commit(second, {.token = 6}), IsEmpty());

  EXPECT_EQ(scheduler_->find(a)->tokens, (std::vector<TokenId>{1, 2, 5}));
}

TEST_F(SchedulerTest, DoesNotPlanPastTheLengthLimitWhenAhead) {
  make(10);
  add(2, 2);
  next();
  next();

  EXPECT_TRUE(next().empty());
}

TEST_F(SchedulerTest, ATokenInFlightReachesThePreempted) {
  make(6, {.admission = {.expected_new_tokens = 1}});
  elder_ = add(4, 13);
  for (int i = 0; i < 7; ++i) step();  // 11 tokens, 3 blocks
  younger_ = add(2, 3);
  step();  // 12 and 3 tokens
  const Plan before = next();
  ASSERT_THAT(before.chunks, ElementsAre(sampling(elder_, 11, 1), sampling(younger_, 2, 1)));
  ASSERT_TRUE(cache_->admit(SequenceId{99}, {.n_tokens = 8}));  // takes the rest

  const Plan plan = next();

  EXPECT_THAT(plan.preempted, ElementsAre(younger_));
  EXPECT_EQ(scheduler_->find(younger_)->tokens.back(), kTokenInFlight);
  commit(before, {.token = 9});
  EXPECT_EQ(scheduler_->find(younger_)->tokens.back(), 9);
  EXPECT_EQ(scheduler_->find(younger_)->n_computed, 0);
}

TEST_F(SchedulerTest, ScoringGivesLogitsOfEveryPositionAndSamplesNothing) {
  make(10, {.max_batch_tokens = 4});
  const SequenceId a =
      *scheduler_->add({.prompt = {1, 2, 3, 4, 5, 6}, .max_new_tokens = 0, .first_logits = 0});
  const Plan first = next();
  commit(first);
  const Plan second = next();

  EXPECT_THAT(first.chunks,
              ElementsAre(Chunk{.sequence = a, .first = 0, .count = 4, .n_logits = 4}));
  EXPECT_THAT(second.chunks,
              ElementsAre(Chunk{.sequence = a, .first = 4, .count = 2, .n_logits = 2}));
  EXPECT_THAT(commit(second), ElementsAre(a));
}

TEST_F(SchedulerTest, LogitsStartWhereTheRequestWantsThem) {
  make(10);
  const SequenceId a =
      *scheduler_->add({.prompt = {1, 2, 3, 4, 5, 6}, .max_new_tokens = 1, .first_logits = 2});

  EXPECT_THAT(
      next().chunks,
      ElementsAre(Chunk{.sequence = a, .first = 0, .count = 6, .n_logits = 4, .samples = true}));
}

TEST_F(SchedulerTest, LogitsAreNotGivenTwiceAfterPreemption) {
  make_two_for_five_blocks(/*first_logits=*/0);
  for (int i = 1; i <= 13; ++i) step();

  EXPECT_THAT(step().chunks, ElementsAre(sampling(younger_, 0, 9)));
}

TEST_F(SchedulerTest, CompletionsOfOnePromptShareItsBlocks) {
  make(10);
  const std::vector<TokenId> prompt = {1, 2, 3, 4, 5, 6};
  const SequenceId a = *scheduler_->add({.prompt = prompt, .max_new_tokens = 9});
  const SequenceId b =
      *scheduler_->add({.prompt = prompt, .max_new_tokens = 9, .same_prompt_as = a});

  EXPECT_THAT(step().chunks, ElementsAre(sampling(a, 0, 6)));  // not yet in the cache
  const Plan plan = step();

  EXPECT_THAT(plan.chunks, ElementsAre(sampling(a, 6, 1), sampling(b, 5, 1)));
  EXPECT_EQ(plan.copies.size(), 1U);
  EXPECT_EQ(cache_->free_blocks(), 7);
}

TEST_F(SchedulerTest, ForgetsOnlyWhatHasFinished) {
  make(10);
  const SequenceId a = add(2, 1);
  step();

  scheduler_->forget(a);

  EXPECT_EQ(scheduler_->find(a), nullptr);
  EXPECT_DEATH(scheduler_->forget(a), "check failed");
}

TEST_F(SchedulerTest, PlansMustBeCommittedInOrder) {
  make(10);
  add(2, 9);
  const Plan first = next();
  const Plan second = next();

  EXPECT_DEATH(commit(second), "check failed");
}

TEST(Policies, AreFoundByName) {
  EXPECT_EQ(find_policy("prefill-first")->name, "prefill-first");
  EXPECT_FALSE(find_policy("fastest-first"));
}

TEST(Policies, WaitingOutweighsLengthAndPriorityInTheEnd) {
  const Candidate old{.arrival_ns = 0, .priority = 5, .max_tokens = 100'000};
  const Candidate fresh{.arrival_ns = 3'600'000'000'000, .priority = 0, .max_tokens = 10};

  EXPECT_LT(shortest_first_policy().seniority(old), shortest_first_policy().seniority(fresh));
  EXPECT_LT(priority_policy().seniority(old), priority_policy().seniority(fresh));
}

}  // namespace
}  // namespace spate
