// Prefill's masks and score changes.
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::KvLayout;
using cuda::Mask;
using cuda::Score;
template <Mask kMask, Score kScore = Score::kPlain>
using Strided = cuda::PrefillVariant<__nv_bfloat16, 128, kMask, KvLayout::kStrided, kScore>;

TEST(PrefillVariants, MatchesTheReferenceWithSlidingWindows) {
  for (const std::int32_t left : {0, 13, 127, 128, 300}) {
    SCOPED_TRACE(left);
    check_prefill<Strided<Mask::kWindow>>({odd_lengths()}, {.left = left});
  }
}

TEST(PrefillVariants, MatchesTheReferenceWithTwoSidedWindows) {
  check_prefill<Strided<Mask::kWindow>>({odd_lengths()}, {.left = 40, .right = 70});
}

TEST(PrefillVariants, MatchesTheReferenceWithASoftCapAndAWindow) {
  for (const double cap : {1.0, 30.0, 50.0}) {
    SCOPED_TRACE(cap);
    check_prefill<Strided<Mask::kWindow, Score::kSoftCap>>({odd_lengths(), 4, 2, 128, 8.0},
                                                           {.left = 200, .soft_cap = cap});
  }
}

TEST(PrefillVariants, MatchesTheReferenceWithAlibi) {
  check_prefill<Strided<Mask::kCausal, Score::kAlibi>>({odd_lengths(), 8, 2}, {.alibi = true});
}

TEST(PrefillVariants, MatchesTheReferenceWithTreeMasks) {
  for (const std::int32_t columns : {1, 16, 33, 64, 500}) {
    SCOPED_TRACE(columns);
    check_prefill<Strided<Mask::kBits>>(
        {{{16, 300}, {33, 33}, {64, 700}, {7, 129}}, 8, 2},
        {.right = -1, .random_bits = true, .mask_columns = columns});
  }
}

}  // namespace
}  // namespace spate::cuda_test
