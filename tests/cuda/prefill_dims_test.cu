// Prefill at head dims that fill their last 128 bytes only in part or need other tiles, and in f16.
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

template <int kDim>
using Bf16 = cuda::PrefillVariant<__nv_bfloat16, kDim>;

TEST(PrefillDims, MatchesTheReferenceAtHeadDim80) {
  check_prefill<Bf16<80>>({odd_lengths(), 4, 2, 80}, {});
}

TEST(PrefillDims, MatchesTheReferenceAtHeadDim96) {
  check_prefill<Bf16<96>>({odd_lengths(), 4, 4, 96}, {});
}

TEST(PrefillDims, MatchesTheReferenceAtHeadDim112) {
  check_prefill<Bf16<112>>({odd_lengths(), 4, 1, 112}, {});
}

TEST(PrefillDims, MatchesTheReferenceAtHeadDim192) {
  check_prefill<Bf16<192>>({odd_lengths(), 4, 2, 192}, {});
}

TEST(PrefillF16, MatchesTheReferenceAtHeadDim128) {
  check_prefill<cuda::PrefillVariant<__half, 128>>({odd_lengths()}, {});
}

}  // namespace
}  // namespace spate::cuda_test
