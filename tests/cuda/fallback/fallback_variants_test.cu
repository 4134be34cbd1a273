// The kernels for sm_80, sm_86 and sm_89: head dims, score changes, INT8.
#include "tests/cuda/fallback/fallback_check.h"
#include "tests/cuda/int8_cache.h"

namespace spate::cuda_test {
namespace {

template <int kDim>
void takes_head_dim() {
  SCOPED_TRACE(kDim);
  decodes<Decode<kDim>>({decode_lengths(), 8, 2});
  prefills<Paged<kDim>>({odd_lengths(), 4, 2}, {});
}
TEST(Fallback, MatchesTheReferenceAtOddHeadDims) {
  takes_head_dim<96>();
  takes_head_dim<112>();
  takes_head_dim<192>();
}

TEST(DecodeFallback, MatchesTheReferenceWithScoreChanges) {
  using T = __nv_bfloat16;
  constexpr auto kElement = KvFormat::kElement;
  decodes<Decode<128, kElement, 8, T, Score::kAlibi>>({speculative_lengths(), 8, 2},
                                                      {.alibi = true});
  for (const double cap : {1.0, 50.0}) {
    SCOPED_TRACE(cap);
    decodes<Decode<128, kElement, 8, T, Score::kSoftCap>>({speculative_lengths(), 4, 2, 128, 8.0},
                                                          {.soft_cap = cap});
  }
}

TEST(PrefillFallback, MatchesTheReferenceWithAlibi) {
  prefills<Paged<64, Mask::kCausal, Score::kAlibi>>({odd_lengths(), 8, 2}, {.alibi = true});
}

template <int kDim>
void decodes_int8() {
  SCOPED_TRACE(kDim);
  using V = Decode<kDim, KvFormat::kInt8>;
  Problem problem = problem_of<V>({speculative_lengths(), 4, 2}, {});
  PagedCache cache = int8_cache<kDim>(problem);
  DecodeRun<V, FallbackDecode> run(problem, std::move(cache), {});
  const AttentionResult got = run.run();
  problem.expect_close(got.out, got.lse, kInt8Tolerance);
  EXPECT_TRUE(same_bits(got, run.run())) << "runs differ";
}
TEST(DecodeFallback, MatchesTheReferenceOverInt8) {
  decodes_int8<64>();
  decodes_int8<128>();
  decodes_int8<256>();
}

}  // namespace
}  // namespace spate::cuda_test
