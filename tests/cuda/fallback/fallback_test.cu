// The kernels for sm_80, sm_86 and sm_89: rules, page sizes, lengths and groups.
#include "tests/cuda/fallback/fallback_check.h"
#include "tests/cuda/nan_check.h"

namespace spate::cuda_test {
namespace {

TEST(DecodeFallback, MatchesTheReferenceForEveryPageSize) {
  for (const int page_tokens : {16, 64, 128}) {
    SCOPED_TRACE(page_tokens);
    decodes<Decode<128>>({decode_lengths(), 8, 2}, {}, {.page_tokens = page_tokens});
  }
}

TEST(DecodeFallback, MatchesTheReferenceForSeveralQueriesAndWindows) {
  decodes<Decode<128>>({speculative_lengths(), 4, 2});
  decodes<Decode<64, KvFormat::kElement, 16>>({speculative_lengths(), 24, 2}, {.left = 127});
}

TEST(DecodeFallback, MatchesTheReferenceAtHeadDim256) {
  decodes<Decode<256>>({decode_lengths(), 8, 2});
}

TEST(DecodeFallback, MatchesTheReferenceInF16) {
  decodes<Decode<128, KvFormat::kElement, 8, __half>>({decode_lengths(), 8, 2});
}

TEST(DecodeFallback, MatchesTheReferenceOverE4M3) {
  decodes<Decode<128, KvFormat::kE4M3>>({decode_lengths(), 8, 2});
}

TEST(DecodeFallback, MatchesTheReferenceWithFixedSplits) {
  decodes<Decode<128>>({decode_lengths(), 8, 2}, {}, {.split_tokens = 256});
}

TEST(PrefillFallback, MatchesTheReferenceOverPages) {
  for (const int page_tokens : {8, 16, 128}) {
    SCOPED_TRACE(page_tokens);
    prefills<Paged<128>>({odd_lengths()}, {}, {.page_tokens = page_tokens});
  }
}

TEST(PrefillFallback, MatchesTheReferenceForEveryGroupSize) {
  for (const int group : {1, 3, 4, 8}) {
    SCOPED_TRACE(group);
    prefills<Paged<64>>({{{37, 501}, {1, 130}, {7, 7}, {129, 129}}, group * 2, 2, 64}, {});
  }
}

TEST(PrefillFallback, MatchesTheReferenceAtHeadDims80And256) {
  prefills<Paged<80, Mask::kWindow>>({odd_lengths(), 4, 2, 80}, {.left = 100});
  prefills<Paged<256>>({odd_lengths(), 4, 2, 256}, {});
}

TEST(PrefillFallback, MatchesTheReferenceInF16) {
  prefills<Paged<128, Mask::kCausal, Score::kPlain, __half>>({odd_lengths()}, {});
}

TEST(PrefillFallback, MatchesTheReferenceWithASoftCap) {
  prefills<Paged<128, Mask::kWindow, Score::kSoftCap>>({odd_lengths(), 4, 2, 128, 8.0},
                                                       {.left = 200, .soft_cap = 30});
}

TEST(PrefillFallback, MatchesTheReferenceOverStridedKeysAndTrees) {
  prefills<cuda::PrefillVariant<__nv_bfloat16, 128>>({odd_lengths()}, {});
  prefills<cuda::PrefillVariant<__nv_bfloat16, 128, Mask::kBits>>(
      {{{16, 300}, {33, 33}, {64, 700}, {7, 129}}, 8, 2},
      {.right = -1, .random_bits = true, .mask_columns = 33});
}

TEST(DecodeFallback, KeepsNanInItsRequest) {
  using V = Decode<128>;
  const Problem problem = problem_of<V>({many_requests(), 4, 2}, {});
  expect_nan_contained(problem, 31, tolerance_of<V>(),
                       [](const Problem& p) { return run_decode<V, FallbackDecode>(p); });
}

TEST(PrefillFallback, KeepsNanInItsRequest) {
  using V = Paged<128>;
  const Problem problem = problem_of<V>({odd_lengths(), 4, 2}, {});
  expect_nan_contained(problem, 2, tolerance_of<V>(), [](const Problem& p) {
    return run_prefill<V, FallbackPrefill>(p, {.packing = cuda::PrefillPacking::kAlways});
  });
}

TEST(DecodeFallback, SurvivesLogitsOfEverySize) {
  for (const bool negative : {false, true}) {
    const Problem problem = large_problem<Decode<128>>(decode_lengths(), 6e4, negative);
    check_decode<Decode<128>, FallbackDecode>(problem);
  }
}

TEST(PrefillFallback, SurvivesLogitsOfEverySize) {
  for (const bool negative : {false, true}) {
    const Problem problem = large_problem<Paged<128>>(odd_lengths(), 6e4, negative);
    check_prefill<Paged<128>, FallbackPrefill>(problem);
  }
}

TEST(Fallback, TakesRowsWithGaps) {
  decodes<Decode<128>>({speculative_lengths(), 4, 2}, {}, {.query_gap = 512, .out_gap = 24});
  prefills<Paged<128>>({odd_lengths(), 8, 2}, {}, {.query_gap = 512, .out_gap = 24});
}

}  // namespace
}  // namespace spate::cuda_test
