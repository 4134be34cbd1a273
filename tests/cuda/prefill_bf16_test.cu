// Prefill in bf16 over strided keys: head dims with tuned tiles, causal and full, any group size.
#include "tests/cuda/nan_check.h"
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::Mask;
template <int kDim, Mask kMask = Mask::kCausal>
using Bf16 = cuda::PrefillVariant<__nv_bfloat16, kDim, kMask>;

TEST(PrefillBf16, MatchesTheReferenceOverRaggedBatches) {
  check_prefill<Bf16<128>>({odd_lengths()}, {});
}

TEST(PrefillBf16, MatchesTheReferenceForEveryGroupSize) {
  for (const int group : {1, 3, 4, 5, 7, 8, 16}) {
    SCOPED_TRACE(group);
    check_prefill<Bf16<128>>({{{37, 501}, {1, 130}, {7, 7}, {129, 129}}, group * 2, 2}, {});
  }
}

TEST(PrefillBf16, GivesTheSameWithAndWithoutPackedHeads) {
  using cuda::PrefillPacking;
  for (const PrefillPacking packing : {PrefillPacking::kNever, PrefillPacking::kAlways}) {
    check_prefill<Bf16<128>>({{{37, 501}, {5, 7}, {300, 300}}, 8, 1}, {}, {.packing = packing});
  }
}

TEST(PrefillBf16, SurvivesLargeScores) {
  check_prefill<Bf16<128>>({{{300, 300}}, 2, 2, 128, 60.0}, {});
}

TEST(PrefillBf16, MatchesTheReferenceWithoutAMask) {
  check_prefill<Bf16<128, Mask::kFull>>({odd_lengths()}, {.right = -1});
}

TEST(PrefillBf16, MatchesTheReferenceAtHeadDim64) {
  check_prefill<Bf16<64>>({odd_lengths(), 6, 2, 64}, {});
}

TEST(PrefillBf16, MatchesTheReferenceAtHeadDim256) {
  check_prefill<Bf16<256>>({odd_lengths(), 4, 2, 256}, {});
}

TEST(PrefillBf16, MatchesTheReferenceOnALongSequence) {
  check_prefill<Bf16<128>>({{{577, 4001}}, 2, 1}, {});
}

TEST(PrefillBf16, KeepsNanInItsRequest) {
  using cuda::PrefillPacking;
  for (const PrefillPacking packing : {PrefillPacking::kNever, PrefillPacking::kAlways}) {
    const Problem problem = problem_of<Bf16<128>>({odd_lengths(), 4, 2}, {});
    expect_nan_contained(problem, 2, tolerance_of<Bf16<128>>(), [packing](const Problem& p) {
      return run_prefill<Bf16<128>>(p, {.packing = packing});
    });
  }
}

TEST(PrefillBf16, SurvivesLogitsOfEverySize) {
  for (const double size : {3e3, 6e4}) {
    for (const bool negative : {false, true}) {
      SCOPED_TRACE(testing::Message() << size << negative);
      check_prefill<Bf16<128>>(large_problem<Bf16<128>>(odd_lengths(), size, negative));
    }
  }
}

// Rows of a fused product of queries, keys and values, and an output with a gap.
TEST(PrefillBf16, TakesRowsWithGaps) {
  using cuda::PrefillPacking;
  for (const PrefillPacking packing : {PrefillPacking::kNever, PrefillPacking::kAlways}) {
    check_prefill<Bf16<128>>({odd_lengths(), 8, 2}, {},
                             {.packing = packing, .query_gap = 2 * 2 * 128, .out_gap = 24});
  }
}

TEST(PrefillBf16, TakesRequestsOfVeryDifferentLengths) {
  check_prefill<Bf16<64>>(
      {{{1, 1}, {70, 8190}, {1, 2}, {129, 129}, {1, 8190}, {2, 2}, {3, 1}, {1, 1}}, 2, 1}, {});
}

}  // namespace
}  // namespace spate::cuda_test
