// What the tests of the kernels for sm_80, sm_86 and sm_89 share. They are compiled for sm_80's
// virtual architecture: later GPUs run them too, so they are tested wherever there is a GPU.
#pragma once
#include "spate/kernels/cuda/decode_mma.cuh"
#include "spate/kernels/cuda/prefill_mma.cuh"
#include "tests/cuda/decode_check.h"
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {

using cuda::KvFormat;
using cuda::KvLayout;
using cuda::Mask;
using cuda::Score;

template <int kDim, KvFormat kFormat = KvFormat::kElement, int kColumns = 8,
          class T = __nv_bfloat16, Score kScore = Score::kPlain>
using Decode = cuda::DecodeVariant<T, kDim, kFormat, kColumns, kScore>;
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

}  // namespace spate::cuda_test
