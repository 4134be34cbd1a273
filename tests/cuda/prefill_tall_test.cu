// Prefill in tall tiles: query heads packed or not, masks, pages that blocks of 80 keys straddle.
#include "tests/cuda/nan_check.h"
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::KvLayout;
using cuda::Mask;
using cuda::PrefillPacking;
template <Mask kMask = Mask::kCausal, KvLayout kLayout = KvLayout::kStrided,
          class T = __nv_bfloat16>
using Tall = cuda::PrefillVariant<T, 128, kMask, kLayout, cuda::Score::kPlain,
                                  cuda::KvFormat::kElement, true>;

TEST(PrefillTall, MatchesTheReferenceForEveryGroupSize) {
  for (const int group : {1, 2, 3, 4, 8, 16, 64}) {
    SCOPED_TRACE(group);
    for (const PrefillPacking packing : {PrefillPacking::kNever, PrefillPacking::kAlways}) {
      check_prefill<Tall<>>({{{37, 501}, {1, 130}, {7, 7}, {129, 129}}, group, 1}, {},
                            {.packing = packing});
    }
  }
}

TEST(PrefillTall, MatchesTheReferenceOverRaggedBatches) {
  check_prefill<Tall<>>({odd_lengths(), 8, 2}, {}, {.packing = PrefillPacking::kAlways});
}

TEST(PrefillTall, MatchesTheReferenceForEveryPageSize) {
  for (const int page_tokens : {8, 16, 64, 128, 256}) {
    SCOPED_TRACE(page_tokens);
    check_prefill<Tall<Mask::kCausal, KvLayout::kPages>>(
        {odd_lengths(), 8, 2}, {},
        {.page_tokens = page_tokens, .packing = PrefillPacking::kAlways});
  }
}

TEST(PrefillTall, MatchesTheReferenceWithSlidingWindows) {
  for (const std::int32_t left : {0, 13, 79, 80, 300}) {
    SCOPED_TRACE(left);
    check_prefill<Tall<Mask::kWindow, KvLayout::kPages>>({odd_lengths(), 8, 2}, {.left = left},
                                                         {.packing = PrefillPacking::kAlways});
  }
}

TEST(PrefillTall, MatchesTheReferenceWithoutAMask) {
  check_prefill<Tall<Mask::kFull>>({odd_lengths()}, {.right = -1});
}

TEST(PrefillTall, MatchesTheReferenceInF16) {
  check_prefill<Tall<Mask::kCausal, KvLayout::kPages, __half>>(
      {odd_lengths(), 8, 2}, {}, {.packing = PrefillPacking::kAlways});
}

TEST(PrefillTall, MatchesTheReferenceOnALongSequence) {
  check_prefill<Tall<>>({{{577, 4001}}, 4, 1}, {}, {.packing = PrefillPacking::kAlways});
}

TEST(PrefillTall, SurvivesLargeScores) {
  check_prefill<Tall<>>({{{300, 300}}, 4, 1, 128, 60.0}, {}, {.packing = PrefillPacking::kAlways});
}

TEST(PrefillTall, KeepsNanInItsRequest) {
  using V = Tall<Mask::kCausal, KvLayout::kPages>;
  const Problem problem = problem_of<V>({odd_lengths(), 8, 2}, {});
  expect_nan_contained(problem, 2, tolerance_of<V>(), [](const Problem& p) {
    return run_prefill<V>(p, {.page_tokens = 16, .packing = PrefillPacking::kAlways});
  });
}

}  // namespace
}  // namespace spate::cuda_test
