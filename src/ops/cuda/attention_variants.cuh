// Instantiates the attention kernels of one head dim that models need; every variant costs two to
// three seconds of compilation. Score changes only where such models exist: soft caps in Gemma 2
// (128, 256), ALiBi in Bloom, MPT, Baichuan and Falcon-RW (64, 80, 128).
#pragma once

#include "ops/cuda/attention_kernels.h"
#include "spate/kernels/cuda/decode_sm90.cuh"
#include "spate/kernels/cuda/prefill_sm90.cuh"

namespace spate::ops::cuda {

using spate::cuda::Score;

template <class V>
void use_decode(AttentionKernels& kernels) {
  kernels.decode = [](const spate::cuda::DecodeParams& p, CUstream_st* stream) {
    return static_cast<int>(spate::cuda::launch_decode<V>(p, stream));
  };
  kernels.decode_columns = V::kColumns;
  kernels.decode_block_tokens = spate::cuda::DecodeKernel<V>::kBlockTokens;
}
template <class V>
void use_prefill(AttentionKernels& kernels) {
  kernels.prefill = [](const spate::cuda::PrefillParams& p, CUstream_st* stream) {
    return static_cast<int>(spate::cuda::launch_prefill<V>(p, stream));
  };
  kernels.prefill_tile_rows = spate::cuda::PrefillKernel<V>::kTileRows;
}

template <int kDim, bool kFp8, int kColumns = 8, Score kScore = Score::kPlain>
using Decode = spate::cuda::DecodeVariant<__nv_bfloat16, kDim, kFp8, kColumns, kScore>;
template <int kDim, spate::cuda::Mask kMask, Score kScore = Score::kPlain>
using Prefill =
    spate::cuda::PrefillVariant<__nv_bfloat16, kDim, kMask, spate::cuda::KvLayout::kPages, kScore>;

template <int kDim>
struct AttentionVariants {
  static constexpr bool kSoftCap = kDim == 128 || kDim == 256;
  static constexpr bool kAlibi = kDim == 64 || kDim == 80 || kDim == 128;
  static constexpr bool kFp8 = kDim % 128 == 0;
  static constexpr bool kWide = kDim == 64 || kDim == 128;  // groups of 9 to 16

  static void decode(const AttentionChoice& c, AttentionKernels& kernels) {
    if (c.group > 16 || (c.group > 8 && !kWide)) return;
    if (c.score != AttentionScore::kPlain) return decode_score(c, kernels);
    if (c.fp8) {
      if constexpr (kFp8) {
        if (c.group <= 8) use_decode<Decode<kDim, true>>(kernels);
      }
    } else if (c.group <= 8) {
      use_decode<Decode<kDim, false>>(kernels);
    } else if constexpr (kWide) {
      use_decode<Decode<kDim, false, 16>>(kernels);
    }
  }
  static void decode_score(const AttentionChoice& c, AttentionKernels& kernels) {
    if (c.fp8 || c.group > 8) return;
    if constexpr (kSoftCap) {
      if (c.score == AttentionScore::kSoftCap)
        use_decode<Decode<kDim, false, 8, Score::kSoftCap>>(kernels);
    }
    if constexpr (kAlibi) {
      if (c.score == AttentionScore::kAlibi)
        use_decode<Decode<kDim, false, 8, Score::kAlibi>>(kernels);
    }
  }
  static void prefill(const AttentionChoice& c, AttentionKernels& kernels) {
    using spate::cuda::Mask;
    if (c.fp8) return;
    if (c.score == AttentionScore::kPlain) {
      if (c.window) {
        use_prefill<Prefill<kDim, Mask::kWindow>>(kernels);
      } else {
        use_prefill<Prefill<kDim, Mask::kCausal>>(kernels);
      }
    }
    if constexpr (kSoftCap) {
      // A window of everything serves the layers that have none.
      if (c.score == AttentionScore::kSoftCap)
        use_prefill<Prefill<kDim, Mask::kWindow, Score::kSoftCap>>(kernels);
    }
    if constexpr (kAlibi) {
      if (c.score == AttentionScore::kAlibi && !c.window)
        use_prefill<Prefill<kDim, Mask::kCausal, Score::kAlibi>>(kernels);
    }
  }
};

template <int kDim>
AttentionKernels attention_kernels(const AttentionChoice& choice) {
  AttentionKernels kernels;
  AttentionVariants<kDim>::decode(choice, kernels);
  AttentionVariants<kDim>::prefill(choice, kernels);
  return kernels;
}

}  // namespace spate::ops::cuda
