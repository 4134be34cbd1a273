// The kernels for sm_80, sm_86 and sm_89, compiled for sm_80's virtual architecture: later GPUs run
// them too, so they are tested wherever there is a GPU.
#include "spate/kernels/cuda/decode_mma.cuh"
#include "spate/kernels/cuda/prefill_mma.cuh"
#include "tests/cuda/decode_check.h"
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::KvFormat;
using cuda::KvLayout;
using cuda::Mask;
using cuda::Score;

template <int kDim, KvFormat kFormat = KvFormat::kElement, int kColumns = 8,
          class T = __nv_bfloat16>
using Decode = cuda::DecodeVariant<T, kDim, kFormat, kColumns>;
template <int kDim, Mask kMask = Mask::kCausal, Score kScore = Score::kPlain,
          class T = __nv_bfloat16>
using Paged = cuda::PrefillVariant<T, kDim, kMask, KvLayout::kPages, kScore>;

struct FallbackDecode {
  template <class V>
  using Config = cuda::DecodeFallback<V>;
  template <class V>
  static cudaError_t launch(const cuda::DecodeParams& p) {
    return cuda::launch_decode_fallback<V>(p, nullptr);
  }
};
struct FallbackPrefill {
  template <class V>
  using Config = cuda::PrefillFallback<V>;
  template <class V>
  static cudaError_t launch(const cuda::PrefillParams& p) {
    return cuda::launch_prefill_fallback<V>(p, nullptr);
  }
};
template <class V>
void decodes(const ProblemSpec& spec, const Rules& rules = {}, DecodeCheckOptions options = {}) {
  check_decode<V, FallbackDecode>(spec, rules, options);
}
template <class V>
void prefills(const ProblemSpec& spec, const Rules& rules, PrefillCheckOptions options = {}) {
  check_prefill<V, FallbackPrefill>(spec, rules, options);
}

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

}  // namespace
}  // namespace spate::cuda_test
