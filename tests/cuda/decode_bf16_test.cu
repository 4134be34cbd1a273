// Decode in bf16 and f16.
#include "tests/cuda/decode_check.h"
#include "tests/cuda/nan_check.h"

namespace spate::cuda_test {
namespace {

template <int kDim, int kColumns = 8>
using Bf16 = cuda::DecodeVariant<__nv_bfloat16, kDim, cuda::KvFormat::kElement, kColumns>;

TEST(DecodeBf16, MatchesTheReferenceForEveryPageSize) {
  for (const int page_tokens : {16, 32, 64, 128, 256}) {
    SCOPED_TRACE(page_tokens);
    check_decode<Bf16<128>>({decode_lengths(), 8, 2}, {}, {.page_tokens = page_tokens});
  }
}

TEST(DecodeBf16, MatchesTheReferenceForEveryGroupSize) {
  for (const int group : {1, 3, 4, 5, 6, 7, 8}) {
    SCOPED_TRACE(group);
    check_decode<Bf16<128>>({{{1, 1000}, {1, 130}, {1, 7}}, group * 2, 2});
  }
}

TEST(DecodeBf16, MatchesTheReferenceForSeveralQueries) {
  check_decode<Bf16<128>>({speculative_lengths(), 4, 2});
  check_decode<Bf16<128>>({speculative_lengths(), 8, 1});
}

TEST(DecodeBf16, MatchesTheReferenceWithSixteenColumns) {
  for (const int group : {9, 12, 16}) {
    SCOPED_TRACE(group);
    check_decode<Bf16<128, 16>>({speculative_lengths(), group * 2, 2});
  }
  check_decode<Bf16<128, 16>>({decode_lengths(), 32, 2});
  check_decode<Bf16<128, 16>>({speculative_lengths(), 8, 2}, {}, {.page_tokens = 64});
}

TEST(DecodeBf16, MatchesTheReferenceWithSlidingWindows) {
  for (const std::int32_t left : {0, 12, 127, 533}) {
    SCOPED_TRACE(left);
    check_decode<Bf16<128>>({speculative_lengths(), 4, 2}, {.left = left}, {.page_tokens = 16});
  }
}

TEST(DecodeBf16, MatchesTheReferenceOnOneLongRequest) {
  check_decode<Bf16<128>>({{{1, 33001}}, 8, 2}, {}, {.page_tokens = 16});
}

TEST(DecodeBf16, MatchesTheReferenceAtHeadDim64) {
  check_decode<Bf16<64>>({decode_lengths(), 8, 2});
}

TEST(DecodeBf16, MatchesTheReferenceAtHeadDim80) {
  check_decode<Bf16<80>>({decode_lengths(), 8, 2});
}

TEST(DecodeBf16, MatchesTheReferenceAtHeadDim256) {
  check_decode<Bf16<256>>({decode_lengths(), 8, 2});
}

TEST(DecodeF16, MatchesTheReferenceAtHeadDim128) {
  check_decode<cuda::DecodeVariant<__half, 128>>({decode_lengths(), 8, 2});
}

// Bits of each request's rows alone and in a batch, for whole rows and for fixed splits.
TEST(DecodeBf16, GivesTheSameBitsWhateverTheBatchWithFixedSplits) {
  using V = Bf16<128>;
  const std::vector<Lengths> lengths = {{1, 3000}, {1, 129}, {3, 2048}, {1, 1}, {1, 1025}};
  const Problem all = problem_of<V>({lengths, 8, 2}, {});
  const AttentionResult together = DecodeRun<V>(all, {.split_tokens = 512}).run();

  for (std::size_t b = 0; b < lengths.size(); ++b) {
    Problem one = all;
    const cuda::AttentionRequest& r = all.requests[b];
    one.requests = {r};
    const AttentionResult alone = DecodeRun<V>(one, {.split_tokens = 512}).run();
    EXPECT_TRUE(same_bits(rows_of(together, all, r), rows_of(alone, all, r))) << "request " << b;
  }
}

TEST(DecodeBf16, MatchesTheReferenceWithFixedSplits) {
  check_decode<Bf16<128>>({decode_lengths(), 8, 2}, {}, {.split_tokens = 256});
}

// Looks for a ring slot refilled under its readers: the same bits, many times, under full load.
TEST(DecodeBf16, GivesTheSameBitsManyTimesUnderLoad) {
  using V = Bf16<128>;
  const Problem problem = problem_of<V>({std::vector<Lengths>(32, {1, 1000}), 32, 8}, {});
  DecodeRun<V> run(problem, {});
  const AttentionResult first = run.run();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(same_bits(first, run.run())) << "run " << i;
}

// Thread blocks have several requests, or a request has several thread blocks.
TEST(DecodeBf16, KeepsNanInItsRequest) {
  using V = Bf16<128>;
  const Problem many = problem_of<V>({many_requests(), 4, 2}, {});
  expect_nan_contained(many, 31, tolerance_of<V>(),
                       [](const Problem& p) { return run_decode<V>(p); });
  const Problem cut = problem_of<V>({{{1, 3000}, {2, 3000}, {1, 700}}, 4, 2}, {});
  for (const int split_tokens : {0, 256}) {
    expect_nan_contained(cut, 1, tolerance_of<V>(), [split_tokens](const Problem& p) {
      return run_decode<V>(p, {.split_tokens = split_tokens});
    });
  }
}

TEST(DecodeBf16, SurvivesLogitsOfEverySize) {
  using V = Bf16<128>;
  for (const double size : {3e3, 6e4}) {
    for (const bool negative : {false, true}) {
      SCOPED_TRACE(testing::Message() << size << negative);
      check_decode<V>(large_problem<V>(decode_lengths(), size, negative));
      check_decode<V>(large_problem<V>({{1, 8000}, {4, 3000}}, size, negative));
    }
  }
}

// Rows of a fused product of queries, keys and values, and an output with a gap.
TEST(DecodeBf16, TakesRowsWithGaps) {
  const DecodeCheckOptions gaps{.query_gap = 2 * 2 * 128, .out_gap = 24};
  check_decode<Bf16<128>>({speculative_lengths(), 4, 2}, {}, gaps);
  check_decode<Bf16<128, 16>>({speculative_lengths(), 24, 2}, {}, gaps);
}

TEST(DecodeBf16, TakesRequestsOfVeryDifferentLengths) {
  std::vector<Lengths> lengths(70, {1, 1});
  lengths[3] = lengths[40] = {1, 8190};
  lengths[41] = {2, 8190};
  lengths[69] = {1, 4001};
  check_decode<Bf16<64>>({lengths, 4, 2});
  check_decode<Bf16<64>>({lengths, 4, 2}, {}, {.split_tokens = 1024});
}

}  // namespace
}  // namespace spate::cuda_test
