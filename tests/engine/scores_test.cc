// Scored prompts want a row of logits per token: no plan has more of them than memory was planned
// for, and everybody is served nevertheless.
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "engine/memory_plan.h"
#include "tests/engine/fake_device.h"

namespace spate {
namespace {

constexpr std::int64_t kMaxScores = 6;

SequenceSpec scored(std::int64_t n_prompt, std::int64_t max_new_tokens, TokenId first) {
  SequenceSpec spec{.max_new_tokens = max_new_tokens, .first_logits = 0};
  spec.prompt.resize(static_cast<std::size_t>(n_prompt));
  std::iota(spec.prompt.begin(), spec.prompt.end(), first);
  return spec;
}

class Scores : public testing::Test {
 protected:
  Scores()
      : cache_(make_kv_allocator(KvCacheKind::kPaged, {.n_blocks = 100, .block_tokens = 4})),
        engine_({.max_batch_tokens = 32, .max_requests = 16, .max_scores = kMaxScores}, *cache_,
                FakeModel{}, 0) {}

  /// Runs to the end; the rows of each sequence in the order they came.
  std::map<SequenceId, std::vector<std::int64_t>> run() {
    std::map<SequenceId, std::vector<std::int64_t>> rows;
    while (engine_.scheduler.has_work() && engine_.n_steps < 1000) {
      const Plan& plan = engine_.step();
      EXPECT_FALSE(plan.empty());
      EXPECT_LE(plan.n_logits - plan.n_samples, kMaxScores);
      for (const Chunk& c : plan.chunks) {
        EXPECT_GT(c.count, 0);
        for (std::int64_t i = c.count - c.n_logits; i < c.count; ++i) {
          rows[c.sequence].push_back(c.first + i);
        }
      }
    }
    EXPECT_FALSE(engine_.scheduler.has_work());
    return rows;
  }

  static std::vector<std::int64_t> up_to(std::int64_t n) {
    std::vector<std::int64_t> positions(static_cast<std::size_t>(n));
    std::iota(positions.begin(), positions.end(), 0);
    return positions;
  }

  std::unique_ptr<KvAllocator> cache_;
  FakeEngine engine_;
};

TEST_F(Scores, APromptIsCutToTheRowsThereIsMemoryForAndEveryRowComesOnce) {
  const SequenceId id = *engine_.scheduler.add(scored(21, 0, 1));

  EXPECT_EQ(run().at(id), up_to(21));
}

TEST_F(Scores, SeveralPromptsShareTheRows) {
  std::vector<SequenceId> ids;
  for (const std::int64_t n : {1, 6, 7, 13, 30}) {
    ids.push_back(*engine_.scheduler.add(scored(n, 0, static_cast<TokenId>(n))));
  }

  const auto rows = run();
  std::size_t i = 0;
  for (const std::int64_t n : {1, 6, 7, 13, 30}) EXPECT_EQ(rows.at(ids[i++]), up_to(n));
}

TEST_F(Scores, AnAnswerAfterAScoredPromptIsThatOfThePromptAlone) {
  const SequenceSpec spec = scored(19, 5, 3);
  const SequenceId id = *engine_.scheduler.add(spec);

  EXPECT_EQ(run().at(id), up_to(19 + 4));
  EXPECT_EQ(engine_.done.at(id), FakeModel{}.complete(spec.prompt, 5));
}

TEST_F(Scores, WhoGeneratesGoesOnBesideThem) {
  const SequenceId writes = *engine_.scheduler.add({.prompt = {1, 2, 3}, .max_new_tokens = 10});
  engine_.step();
  const SequenceId scores = *engine_.scheduler.add(scored(60, 0, 5));

  const auto rows = run();
  EXPECT_EQ(rows.at(scores), up_to(60));
  EXPECT_EQ(engine_.done.at(writes), FakeModel{}.complete({1, 2, 3}, 10));
  EXPECT_EQ(engine_.n_steps, 1 + 60 / 4);  // cut at ends of blocks; none more for the other
}

TEST(LogitRows, StayAQuarterOfAGibibyteHoweverManyTokensAStepHas) {
  constexpr std::int64_t kVocab = 151'936;
  for (const std::int64_t tokens : {512, 8192, 65536}) {
    const LogitRows rows = logit_rows({.max_batch_tokens = tokens, .max_requests = 16}, kVocab);

    EXPECT_LE(rows.scored * logit_row_bytes(kVocab), std::int64_t{256} << 20);
    EXPECT_EQ(rows.scored % 64, 0);
    EXPECT_EQ(rows.total, rows.scored + 16);
  }
}

TEST(LogitRows, AreNoMoreThanTheTokensOfAStepAndOneForEverySequence) {
  EXPECT_EQ(logit_rows({.max_batch_tokens = 512, .max_requests = 256}, 4096).total, 512);
  EXPECT_EQ(logit_rows({.max_batch_tokens = 3, .max_requests = 256}, 4096).total, 3);
  EXPECT_GE(logit_rows({.max_batch_tokens = 8192, .max_requests = 4096}, 256'000).total, 4096);
}

}  // namespace
}  // namespace spate
