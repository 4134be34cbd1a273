#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kv/allocator.h"
#include "kv/free_extents.h"

namespace spate {
namespace {

SequenceId id(std::int64_t number) { return SequenceId{number}; }

std::unique_ptr<KvAllocator> make_segments(std::int64_t n_blocks, std::int64_t max_reserved) {
  return make_kv_allocator(
      KvCacheKind::kSegment,
      {.n_blocks = n_blocks, .block_tokens = 1, .max_reserved_blocks = max_reserved});
}

std::vector<KvSpan> spans_of(const KvAllocator& cache, std::int64_t number) {
  const auto spans = cache.spans(id(number));
  return {spans.begin(), spans.end()};
}

TEST(SegmentAllocator, GivesAPromptOneSpan) {
  const auto cache = make_segments(100, 0);

  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 60}));

  EXPECT_EQ(spans_of(*cache, 1), (std::vector<KvSpan>{{0, 60}}));
}

TEST(SegmentAllocator, GrowsInPlaceIntoItsReservedTail) {
  const auto cache = make_segments(100, 4);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 10, .n_expected = 50}));
  ASSERT_TRUE(cache->admit(id(2), {.n_tokens = 10, .n_expected = 50}));

  std::vector<KvCopy> copies;
  ASSERT_TRUE(cache->grow(id(1), 14, copies));

  EXPECT_EQ(spans_of(*cache, 1), (std::vector<KvSpan>{{0, 14}}));
  EXPECT_EQ(spans_of(*cache, 2), (std::vector<KvSpan>{{14, 10}}));
}

TEST(SegmentAllocator, ReservesNoMoreThanTheExpectedGrowth) {
  const auto cache = make_segments(100, 8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 10, .n_expected = 12}));
  ASSERT_TRUE(cache->admit(id(2), {.n_tokens = 10}));

  EXPECT_EQ(spans_of(*cache, 2), (std::vector<KvSpan>{{12, 10}}));
}

TEST(SegmentAllocator, AppendsASegmentWhenTheNeighbourIsTaken) {
  const auto cache = make_segments(100, 0);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 10}));
  ASSERT_TRUE(cache->admit(id(2), {.n_tokens = 10}));

  std::vector<KvCopy> copies;
  ASSERT_TRUE(cache->grow(id(1), 15, copies));

  EXPECT_EQ(spans_of(*cache, 1), (std::vector<KvSpan>{{0, 10}, {20, 5}}));
}

TEST(SegmentAllocator, GrowsIntoTheSpaceOfAReleasedNeighbour) {
  const auto cache = make_segments(30, 0);
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 10}));
  cache->release(id(2));

  std::vector<KvCopy> copies;
  ASSERT_TRUE(cache->grow(id(1), 18, copies));

  EXPECT_EQ(spans_of(*cache, 1), (std::vector<KvSpan>{{0, 18}}));
}

TEST(SegmentAllocator, PicksTheTightestHole) {
  const auto cache = make_segments(100, 0);
  const std::vector<std::int64_t> lengths = {20, 5, 10, 5, 60};
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    ASSERT_TRUE(cache->admit(id(static_cast<std::int64_t>(i)), {.n_tokens = lengths[i]}));
  }
  cache->release(id(0));  // a hole of 20 at 0
  cache->release(id(2));  // a hole of 10 at 25

  ASSERT_TRUE(cache->admit(id(9), {.n_tokens = 9}));

  EXPECT_EQ(spans_of(*cache, 9), (std::vector<KvSpan>{{25, 9}}));
}

TEST(SegmentAllocator, CoalescesWhatIsReleasedInAnyOrder) {
  const auto cache = make_segments(50, 2);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 8, .n_expected = 20}));
  for (const int i : {3, 0, 4, 1, 2}) cache->release(id(i));

  ASSERT_TRUE(cache->admit(id(9), {.n_tokens = 50}));

  EXPECT_EQ(spans_of(*cache, 9), (std::vector<KvSpan>{{0, 50}}));
}

TEST(SegmentAllocator, TakesBackReservedTailsUnderPressure) {
  const auto cache = make_segments(20, 5);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 5, .n_expected = 100}));
  ASSERT_TRUE(cache->admit(id(2), {.n_tokens = 5, .n_expected = 100}));

  ASSERT_TRUE(cache->admit(id(3), {.n_tokens = 10}));

  EXPECT_EQ(spans_of(*cache, 3), (std::vector<KvSpan>{{15, 5}, {5, 5}}));
  EXPECT_EQ(cache->free_blocks(), 0);
}

TEST(SegmentAllocator, EverybodyMayGrowUntilTheLastBlockIsUsed) {
  // All want to grow at once in a full cache: each call is answered, none waits for another.
  const auto cache = make_segments(64, 8);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 2, .n_expected = 64}));

  std::vector<KvCopy> copies;
  std::int64_t n_granted = 0;
  for (int length = 3; length <= 20; ++length) {
    for (int i = 0; i < 8; ++i) n_granted += cache->grow(id(i), length, copies) ? 1 : 0;
  }

  EXPECT_EQ(n_granted, 64 - 16);
  EXPECT_EQ(cache->free_blocks(), 0);
}

TEST(SegmentAllocator, TailsKeepGrowingSequencesInFewSpans) {
  // 32 sequences that grow in turn, one block at a time. Without tails every block would be a
  // span of its own (64 each); with tails of 8 a span is at least that long.
  const auto cache = make_segments(32 * 64, 8);
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 1, .n_expected = 64}));

  std::vector<KvCopy> copies;
  for (int length = 2; length <= 64; ++length) {
    for (int i = 0; i < 32; ++i) ASSERT_TRUE(cache->grow(id(i), length, copies));
  }

  for (int i = 0; i < 32; ++i) EXPECT_LE(spans_of(*cache, i).size(), 8U);
}

TEST(PagedAllocator, HandsOutTheBlockGivenBackLast) {
  const auto cache = make_kv_allocator(KvCacheKind::kPaged, {.n_blocks = 8, .block_tokens = 1});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 1}));
  cache->release(id(1));
  cache->release(id(3));

  ASSERT_TRUE(cache->admit(id(9), {.n_tokens = 2}));

  EXPECT_EQ(spans_of(*cache, 9), (std::vector<KvSpan>{{3, 1}, {1, 1}}));
}

TEST(FreeExtents, FindsTheShortestThatSuffices) {
  FreeExtents extents(20);
  extents.take(0, 20);
  extents.give({.first_block = 0, .n_blocks = 6});
  extents.give({.first_block = 8, .n_blocks = 3});
  extents.give({.first_block = 15, .n_blocks = 3});

  EXPECT_EQ(extents.best_fit(2), (KvSpan{8, 3}));
  EXPECT_EQ(extents.best_fit(4), (KvSpan{0, 6}));
  EXPECT_EQ(extents.best_fit(7), std::nullopt);
}

TEST(FreeExtents, JoinsBothNeighbours) {
  FreeExtents extents(9);
  extents.take(0, 9);
  extents.give({.first_block = 0, .n_blocks = 3});
  extents.give({.first_block = 6, .n_blocks = 3});
  ASSERT_EQ(extents.count(), 2);

  extents.give({.first_block = 3, .n_blocks = 3});

  EXPECT_EQ(extents.count(), 1);
  EXPECT_EQ(extents.length_at(0), 9);
}

}  // namespace
}  // namespace spate
