// Prefill over caches of e4m3 with a scale a kv head.
#include "tests/cuda/nan_check.h"
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::Mask;
template <int kDim, Mask kMask = Mask::kCausal>
using Fp8 = cuda::PrefillVariant<__nv_bfloat16, kDim, kMask, cuda::KvLayout::kPages,
                                 cuda::Score::kPlain, cuda::KvFormat::kE4M3>;

TEST(PrefillFp8, MatchesTheReferenceForEveryPageSize) {
  for (const int page_tokens : {8, 16, 64, 128, 256}) {
    SCOPED_TRACE(page_tokens);
    check_prefill<Fp8<128>>({odd_lengths(), 8, 4}, {}, {.page_tokens = page_tokens});
  }
}

TEST(PrefillFp8, MatchesTheReferenceForEveryGroupSize) {
  for (const int group : {1, 3, 8, 16}) {
    SCOPED_TRACE(group);
    check_prefill<Fp8<128>>({{{37, 501}, {1, 130}, {7, 7}, {129, 129}}, group * 2, 2}, {});
  }
}

TEST(PrefillFp8, MatchesTheReferenceAtHeadDims64And256) {
  check_prefill<Fp8<64>>({odd_lengths(), 6, 2}, {});
  check_prefill<Fp8<256>>({odd_lengths(), 4, 2}, {}, {.page_tokens = 64});
}

TEST(PrefillFp8, MatchesTheReferenceWithAWindowAndWithoutAMask) {
  check_prefill<Fp8<128, Mask::kWindow>>({odd_lengths(), 4, 2}, {.left = 100});
  check_prefill<Fp8<128, Mask::kFull>>({odd_lengths(), 4, 2}, {.right = -1});
}

TEST(PrefillFp8, SurvivesLargeScores) {
  check_prefill<Fp8<128>>({{{300, 300}}, 4, 2, 128, 60.0}, {});
}

TEST(PrefillFp8, KeepsNanInItsRequest) {
  const Problem problem = problem_of<Fp8<128>>({odd_lengths(), 4, 2}, {});
  expect_nan_contained(problem, 2, tolerance_of<Fp8<128>>(),
                       [](const Problem& p) { return run_prefill<Fp8<128>>(p); });
}

TEST(PrefillFp8, SurvivesLogitsOfEverySize) {
  for (const double size : {3e3, 6e4}) {
    for (const bool negative : {false, true}) {
      SCOPED_TRACE(testing::Message() << size << negative);
      check_prefill<Fp8<128>>(large_problem<Fp8<128>>(odd_lengths(), size, negative));
    }
  }
}

}  // namespace
}  // namespace spate::cuda_test
