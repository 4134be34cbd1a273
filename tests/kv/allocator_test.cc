// The contract that every kind of allocator keeps, checked against a cache with contents: each
// slot is written with a value of its own and must be found again where the tables say.
#include "kv/allocator.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace spate {
namespace {

constexpr std::int64_t kBlockTokens = 4;

SequenceId id(std::int64_t number) { return SequenceId{number}; }

class AllocatorContract : public testing::TestWithParam<KvCacheKind> {
 protected:
  std::unique_ptr<KvAllocator> make(std::int64_t n_blocks) const {
    return make_kv_allocator(
        GetParam(), {.n_blocks = n_blocks, .block_tokens = kBlockTokens, .max_reserved_blocks = 3});
  }

  std::vector<KvCopy> copies_{};
};

TEST_P(AllocatorContract, StartsEmpty) {
  const auto cache = make(10);

  EXPECT_EQ(cache->free_blocks(), 10);
  EXPECT_EQ(cache->capacity_blocks(), 10);
  EXPECT_FALSE(cache->holds(id(1)));
}

TEST_P(AllocatorContract, CountsBlocksNotTokens) {
  const auto cache = make(10);

  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 5}));

  EXPECT_EQ(cache->block_ids(id(1)).size(), 2U);
  EXPECT_EQ(cache->free_blocks(), 8);
}

TEST_P(AllocatorContract, SaysWhatCanNeverFit) {
  const auto cache = make(10);

  EXPECT_TRUE(cache->can_ever_fit(40));
  EXPECT_FALSE(cache->can_ever_fit(41));
}

TEST_P(AllocatorContract, FailedAdmissionChangesNothing) {
  const auto cache = make(4);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 9}));

  EXPECT_FALSE(cache->admit(id(2), {.n_tokens = 5}));

  EXPECT_FALSE(cache->holds(id(2)));
  EXPECT_EQ(cache->free_blocks(), 1);
}

TEST_P(AllocatorContract, FailedGrowthChangesNothing) {
  const auto cache = make(4);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 9}));
  ASSERT_TRUE(cache->admit(id(2), {.n_tokens = 4}));

  EXPECT_FALSE(cache->grow(id(1), 13, copies_));

  EXPECT_EQ(cache->n_tokens(id(1)), 9);
  EXPECT_EQ(cache->block_ids(id(1)).size(), 3U);
}

TEST_P(AllocatorContract, GrowthWithinABlockTakesNone) {
  const auto cache = make(4);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 5}));

  ASSERT_TRUE(cache->grow(id(1), 8, copies_));

  EXPECT_EQ(cache->free_blocks(), 2);
}

TEST_P(AllocatorContract, AnExpectedLengthReservesNothing) {
  const auto cache = make(4);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 4, .n_expected = 16}));

  EXPECT_EQ(cache->free_blocks(), 3);
  EXPECT_TRUE(cache->admit(id(2), {.n_tokens = 12}));
}

TEST_P(AllocatorContract, ReturnsTheBlocksOfAReleasedSequence) {
  const auto cache = make(4);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 16}));

  cache->release(id(1));

  EXPECT_EQ(cache->free_blocks(), 4);
  EXPECT_TRUE(cache->admit(id(2), {.n_tokens = 16}));
}

TEST_P(AllocatorContract, KeepDropsWholeBlocksOnly) {
  const auto cache = make(8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 16}));
  const std::int32_t first = cache->block_ids(id(1))[0];

  cache->keep(id(1), 5);

  EXPECT_EQ(cache->n_tokens(id(1)), 5);
  EXPECT_EQ(cache->block_ids(id(1)).size(), 2U);
  EXPECT_EQ(cache->block_ids(id(1))[0], first);
  EXPECT_EQ(cache->free_blocks(), 6);
}

TEST_P(AllocatorContract, AForkTakesNoBlock) {
  const auto cache = make(8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 10}));

  cache->fork(id(1), id(2), 10);

  EXPECT_EQ(cache->free_blocks(), 5);
  EXPECT_TRUE(std::ranges::equal(cache->block_ids(id(1)), cache->block_ids(id(2))));
}

TEST_P(AllocatorContract, GrowthCopiesASharedPartlyFilledBlock) {
  const auto cache = make(8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 10}));
  cache->fork(id(1), id(2), 10);

  ASSERT_TRUE(cache->grow(id(2), 11, copies_));

  ASSERT_EQ(copies_.size(), 1U);
  EXPECT_EQ(copies_[0], (KvCopy{.source_block = cache->block_ids(id(1))[2],
                                .target_block = cache->block_ids(id(2))[2],
                                .n_tokens = 2}));
  EXPECT_EQ(cache->free_blocks(), 4);
}

TEST_P(AllocatorContract, TheLastHolderOfABlockWritesInPlace) {
  const auto cache = make(8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 10}));
  cache->fork(id(1), id(2), 10);
  cache->release(id(1));

  ASSERT_TRUE(cache->grow(id(2), 11, copies_));

  EXPECT_TRUE(copies_.empty());
}

TEST_P(AllocatorContract, WholeSharedBlocksAreNeverCopied) {
  const auto cache = make(8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 8}));
  cache->fork(id(1), id(2), 8);

  ASSERT_TRUE(cache->grow(id(2), 9, copies_));

  EXPECT_TRUE(copies_.empty());
  EXPECT_EQ(cache->free_blocks(), 5);
}

TEST_P(AllocatorContract, SharedBlocksStayUntilTheLastHolderLeaves) {
  const auto cache = make(8);
  ASSERT_TRUE(cache->admit(id(1), {.n_tokens = 16}));
  cache->fork(id(1), id(2), 8);

  cache->release(id(1));
  EXPECT_EQ(cache->free_blocks(), 6);

  cache->release(id(2));
  EXPECT_EQ(cache->free_blocks(), 8);
}

TEST_P(AllocatorContract, SpansAndBlockTableAgree) {
  const auto cache = make(32);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 4}));
  for (int round = 2; round <= 6; ++round) {
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(cache->grow(id(i), 4 * round, copies_));
  }

  std::vector<std::int32_t> from_spans;
  for (const KvSpan& span : cache->spans(id(2))) {
    for (std::int64_t block = span.first_block; block < span.end(); ++block) {
      from_spans.push_back(static_cast<std::int32_t>(block));
    }
  }
  EXPECT_TRUE(std::ranges::equal(from_spans, cache->block_ids(id(2))));
}

// A cache that remembers what was written, and sequences that know what they wrote.
class World {
 public:
  World(KvAllocator& cache, unsigned seed) : cache_(cache), random_(seed) {
    contents_.resize(static_cast<std::size_t>(cache.capacity_blocks() * cache.block_tokens()));
  }

  void step() {
    const std::int64_t choice = pick(100);
    if (choice < 25) {
      admit();
    } else if (written_.empty()) {
      return;
    } else if (choice < 65) {
      grow(any());
    } else if (choice < 75) {
      write(any());
    } else if (choice < 83) {
      fork(any());
    } else if (choice < 90) {
      keep(any());
    } else {
      release(any());
    }
  }

  void check_accounts() const {
    std::set<std::int32_t> used;
    for (const auto& [sequence, values] : written_) {
      const auto blocks = cache_.block_ids(sequence);
      ASSERT_EQ(static_cast<std::int64_t>(blocks.size()),
                cache_.blocks_for(cache_.n_tokens(sequence)));
      used.insert(blocks.begin(), blocks.end());
    }
    ASSERT_EQ(cache_.free_blocks() + static_cast<std::int64_t>(used.size()),
              cache_.capacity_blocks());
  }

  void check_contents() {
    for (const auto& [sequence, values] : written_) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(slot(sequence, static_cast<std::int64_t>(i)), values[i]);
      }
    }
  }

  void release_all() {
    while (!written_.empty()) release(written_.begin()->first);
  }

 private:
  std::int64_t pick(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  SequenceId any() {
    return std::next(written_.begin(), pick(static_cast<std::int64_t>(written_.size())))->first;
  }
  std::int64_t& slot(SequenceId sequence, std::int64_t position) {
    const std::int64_t block =
        cache_.block_ids(sequence)[static_cast<std::size_t>(position / cache_.block_tokens())];
    return contents_[static_cast<std::size_t>(block * cache_.block_tokens() +
                                              position % cache_.block_tokens())];
  }

  void admit() {
    const std::int64_t n = 1 + pick(30);
    const bool fits = cache_.blocks_for(n) <= cache_.free_blocks();
    ASSERT_EQ(cache_.admit(id(next_), {.n_tokens = n, .n_expected = n + pick(40)}), fits);
    if (fits) written_[id(next_)] = {};
    ++next_;
  }

  void grow(SequenceId sequence) {
    write(sequence);
    const std::int64_t n = cache_.n_tokens(sequence) + pick(9);
    const bool copies_last = n > cache_.n_tokens(sequence) && shares_partial_block(sequence);
    const std::int64_t n_needed =
        cache_.blocks_for(n) - cache_.blocks_for(cache_.n_tokens(sequence)) + (copies_last ? 1 : 0);
    const bool fits = n_needed <= cache_.free_blocks();
    std::vector<KvCopy> copies;
    ASSERT_EQ(cache_.grow(sequence, n, copies), fits);
    ASSERT_EQ(copies.size(), fits && copies_last ? 1U : 0U);
    for (const KvCopy& copy : copies) {
      for (std::int64_t i = 0; i < copy.n_tokens; ++i) {
        contents_[static_cast<std::size_t>(copy.target_block * kBlockTokens + i)] =
            contents_[static_cast<std::size_t>(copy.source_block * kBlockTokens + i)];
      }
    }
    if (pick(2) == 0) write(sequence);
  }

  bool shares_partial_block(SequenceId sequence) const {
    if (cache_.n_tokens(sequence) % kBlockTokens == 0) return false;
    const std::int32_t last = cache_.block_ids(sequence).back();
    return std::ranges::any_of(written_, [&](const auto& other) {
      const auto blocks = cache_.block_ids(other.first);
      return other.first != sequence && std::ranges::find(blocks, last) != blocks.end();
    });
  }

  // Fills the slots it holds and has not written, as a prompt computed in chunks does.
  void write(SequenceId sequence) {
    auto& values = written_[sequence];
    while (static_cast<std::int64_t>(values.size()) < cache_.n_tokens(sequence)) {
      slot(sequence, static_cast<std::int64_t>(values.size())) = ++next_value_;
      values.push_back(next_value_);
    }
  }

  void fork(SequenceId parent) {
    const auto n = pick(static_cast<std::int64_t>(written_[parent].size()) + 1);
    cache_.fork(parent, id(next_), n);
    written_[id(next_)].assign(written_[parent].begin(), written_[parent].begin() + n);
    ++next_;
  }

  void keep(SequenceId sequence) {
    const std::int64_t n = cache_.n_tokens(sequence) - pick(cache_.n_tokens(sequence) + 1) / 2;
    cache_.keep(sequence, n);
    auto& values = written_[sequence];
    if (static_cast<std::int64_t>(values.size()) > n) values.resize(static_cast<std::size_t>(n));
  }

  void release(SequenceId sequence) {
    cache_.release(sequence);
    written_.erase(sequence);
  }

  KvAllocator& cache_;
  std::mt19937_64 random_;
  std::vector<std::int64_t> contents_{};
  std::map<SequenceId, std::vector<std::int64_t>> written_{};
  std::int64_t next_ = 0;
  std::int64_t next_value_ = 0;
};

TEST_P(AllocatorContract, KeepsContentsAndAccountsThroughThousandsOfOperations) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    const auto cache = make(seed % 2 == 0 ? 24 : 90);
    World world(*cache, seed);
    for (int i = 0; i < 3000; ++i) {
      world.step();
      world.check_accounts();
      if (i % 10 == 0) world.check_contents();
      ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << ", operation " << i;
    }
    world.release_all();
    ASSERT_EQ(cache->free_blocks(), cache->capacity_blocks());
    ASSERT_TRUE(cache->admit(id(1 << 20), {.n_tokens = cache->capacity_blocks() * kBlockTokens}));
  }
}

TEST_P(AllocatorContract, IsDeterministic) {
  const auto one = make(40);
  const auto two = make(40);
  World first(*one, 7);
  World second(*two, 7);

  for (int i = 0; i < 500; ++i) {
    first.step();
    second.step();
  }

  for (std::int64_t i = 0; i < 500; ++i) {
    ASSERT_EQ(one->holds(id(i)), two->holds(id(i)));
    if (!one->holds(id(i))) continue;
    ASSERT_TRUE(std::ranges::equal(one->spans(id(i)), two->spans(id(i))));
  }
}

TEST_P(AllocatorContract, TenThousandSequencesGrowWithoutAQuadraticStep) {
  // 10k sequences, 20k growths across block ends: a scan per call would be 10^9 visits.
  const auto cache = make(40'000);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(cache->admit(id(i), {.n_tokens = 4, .n_expected = 16}));
  }
  for (int round = 2; round <= 3; ++round) {
    for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(cache->grow(id(i), 4 * round, copies_));
  }
  for (int i = 0; i < 10'000; ++i) cache->release(id(i));

  EXPECT_EQ(cache->free_blocks(), 40'000);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AllocatorContract,
                         testing::Values(KvCacheKind::kSegment, KvCacheKind::kPaged),
                         [](const auto& kind) -> std::string {
                           return kind.param == KvCacheKind::kSegment ? "Segment" : "Paged";
                         });

}  // namespace
}  // namespace spate
