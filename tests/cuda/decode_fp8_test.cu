// Decode over e4m3 caches, and the changes of scores.
#include "tests/cuda/decode_check.h"
#include "tests/cuda/nan_check.h"

namespace spate::cuda_test {
namespace {

using cuda::Score;
template <int kDim = 128, int kColumns = 8>
using Fp8 = cuda::DecodeVariant<__nv_bfloat16, kDim, cuda::KvFormat::kE4M3, kColumns>;

TEST(DecodeFp8, MatchesTheReferenceForEveryPageSize) {
  for (const int page_tokens : {16, 64, 128}) {
    SCOPED_TRACE(page_tokens);
    check_decode<Fp8<>>({decode_lengths(), 8, 2}, {}, {.page_tokens = page_tokens});
  }
}

TEST(DecodeFp8, MatchesTheReferenceForSeveralQueries) {
  check_decode<Fp8<128, 16>>({speculative_lengths(), 8, 2});
}

TEST(DecodeFp8, MatchesTheReferenceAtHeadDims64And256) {
  check_decode<Fp8<64>>({decode_lengths(), 8, 2}, {}, {.page_tokens = 64});
  check_decode<Fp8<64>>({speculative_lengths(), 8, 2});
  check_decode<Fp8<256>>({decode_lengths(), 4, 2});
}

TEST(DecodeFp8, SurvivesLargeScores) { check_decode<Fp8<>>({decode_lengths(), 8, 2, 128, 100.0}); }

TEST(DecodeScores, MatchesTheReferenceWithASoftCap) {
  using V = cuda::DecodeVariant<__nv_bfloat16, 128, cuda::KvFormat::kElement, 8, Score::kSoftCap>;
  for (const double cap : {1.0, 5.0, 30.0, 50.0}) {
    SCOPED_TRACE(cap);
    check_decode<V>({speculative_lengths(), 4, 2, 128, 8.0}, {.soft_cap = cap});
  }
  check_decode<V>({decode_lengths(), 4, 2, 128, 200.0}, {.soft_cap = 50});
}

TEST(DecodeScores, MatchesTheReferenceWithAlibi) {
  using V = cuda::DecodeVariant<__nv_bfloat16, 128, cuda::KvFormat::kElement, 8, Score::kAlibi>;
  check_decode<V>({speculative_lengths(), 8, 2}, {.alibi = true});
}

TEST(DecodeFp8, KeepsNanInItsRequest) {
  const Problem problem = problem_of<Fp8<>>({many_requests(), 4, 2}, {});
  expect_nan_contained(problem, 31, tolerance_of<Fp8<>>(),
                       [](const Problem& p) { return run_decode<Fp8<>>(p); });
}

TEST(DecodeFp8, SurvivesLogitsOfEverySize) {
  for (const double size : {3e3, 6e4}) {
    for (const bool negative : {false, true}) {
      SCOPED_TRACE(testing::Message() << size << negative);
      check_decode<Fp8<>>(large_problem<Fp8<>>(decode_lengths(), size, negative));
    }
  }
}

}  // namespace
}  // namespace spate::cuda_test
