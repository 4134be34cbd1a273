// Instantiates the attention kernels of one head dim that models need; every variant costs one to
// three seconds of compilation. Score changes only where such models exist: soft caps in Gemma 2
// (128, 256), ALiBi in Bloom, MPT, Baichuan and Falcon-RW (64, 80, 128), all in bf16.
#pragma once

#include <type_traits>

#include "device/gpu.h"
#include "ops/cuda/attention_kernels.h"
#include "spate/kernels/cuda/decode_mma.cuh"
#include "spate/kernels/cuda/decode_sm90.cuh"
#include "spate/kernels/cuda/prefill_mma.cuh"
#include "spate/kernels/cuda/prefill_sm90.cuh"

namespace spate::ops::cuda {

using spate::cuda::KvFormat;
using spate::cuda::Mask;
using spate::cuda::Score;

// Where there is no device to ask, sizes are those of Hopper.
inline bool on_hopper() {
  const int architecture = code_architecture();
  return architecture == 0 || architecture == 90;
}

template <class V>
void use_decode(AttentionKernels& kernels) {
  kernels.decode_columns = V::kColumns;
  if (on_hopper()) {
    kernels.decode = [](const spate::cuda::DecodeParams& p, CUstream_st* stream) {
      return static_cast<int>(spate::cuda::launch_decode<V>(p, stream));
    };
    kernels.decode_block_tokens = spate::cuda::DecodeKernel<V>::kBlockTokens;
  } else {
    kernels.decode = [](const spate::cuda::DecodeParams& p, CUstream_st* stream) {
      return static_cast<int>(spate::cuda::launch_decode_fallback<V>(p, stream));
    };
    kernels.decode_block_tokens = spate::cuda::DecodeFallback<V>::kBlockTokens;
  }
}
template <class V>
void use_prefill(AttentionKernels& kernels) {
  if (on_hopper()) {
    kernels.prefill = [](const spate::cuda::PrefillParams& p, CUstream_st* stream) {
      return static_cast<int>(spate::cuda::launch_prefill<V>(p, stream));
    };
    kernels.prefill_tile_rows = spate::cuda::PrefillKernel<V>::kTileRows;
  } else if constexpr (!V::kConvert && !V::kTall) {
    kernels.prefill = [](const spate::cuda::PrefillParams& p, CUstream_st* stream) {
      return static_cast<int>(spate::cuda::launch_prefill_fallback<V>(p, stream));
    };
    kernels.prefill_tile_rows = spate::cuda::PrefillFallback<V>::kTileRows;
  }
}

template <class T, int kDim, KvFormat kFormat = KvFormat::kElement, int kColumns = 8,
          Score kScore = Score::kPlain>
using Decode = spate::cuda::DecodeVariant<T, kDim, kFormat, kColumns, kScore>;
template <class T, int kDim, Mask kMask, Score kScore = Score::kPlain,
          KvFormat kFormat = KvFormat::kElement, bool kTall = false>
using Prefill = spate::cuda::PrefillVariant<T, kDim, kMask, spate::cuda::KvLayout::kPages, kScore,
                                            kFormat, kTall>;

// T: bf16 or f16.
template <class T, int kDim>
struct AttentionVariants {
  static constexpr bool kScores = std::is_same_v<T, __nv_bfloat16>;
  static constexpr bool kSoftCap = kScores && (kDim == 128 || kDim == 256);
  static constexpr bool kAlibi = kScores && (kDim == 64 || kDim == 80 || kDim == 128);
  static constexpr bool kWide = kDim == 64 || kDim == 128;  // groups of 9 to 16

  static void plain(const AttentionChoice& c, AttentionKernels& kernels) {
    if (c.group <= 8) {
      use_decode<Decode<T, kDim>>(kernels);
    } else if constexpr (kWide) {
      if (c.group <= 16) use_decode<Decode<T, kDim, KvFormat::kElement, 16>>(kernels);
    }
    if constexpr (kDim == 128) {
      if (spate::cuda::prefers_tall_tiles(c.group) && on_hopper())
        return plain_prefill<true>(c, kernels);
    }
    plain_prefill<false>(c, kernels);
  }
  template <bool kTall>
  static void plain_prefill(const AttentionChoice& c, AttentionKernels& kernels) {
    constexpr auto kFormat = KvFormat::kElement;
    if (c.window) {
      use_prefill<Prefill<T, kDim, Mask::kWindow, Score::kPlain, kFormat, kTall>>(kernels);
    } else {
      use_prefill<Prefill<T, kDim, Mask::kCausal, Score::kPlain, kFormat, kTall>>(kernels);
    }
  }
  static void soft_cap(const AttentionChoice& c, AttentionKernels& kernels) {
    if constexpr (kSoftCap) {
      if (c.group <= 8)
        use_decode<Decode<T, kDim, KvFormat::kElement, 8, Score::kSoftCap>>(kernels);
      // A window of everything serves the layers that have none.
      use_prefill<Prefill<T, kDim, Mask::kWindow, Score::kSoftCap>>(kernels);
    }
  }
  static void alibi(const AttentionChoice& c, AttentionKernels& kernels) {
    if constexpr (kAlibi) {
      if (c.group <= 8) use_decode<Decode<T, kDim, KvFormat::kElement, 8, Score::kAlibi>>(kernels);
      if (!c.window) use_prefill<Prefill<T, kDim, Mask::kCausal, Score::kAlibi>>(kernels);
    }
  }
};

template <class T, int kDim>
AttentionKernels attention_kernels_of(const AttentionChoice& choice) {
  using Variants = AttentionVariants<T, kDim>;
  AttentionKernels kernels;
  switch (choice.score) {
    case AttentionScore::kPlain:
      Variants::plain(choice, kernels);
      break;
    case AttentionScore::kSoftCap:
      Variants::soft_cap(choice, kernels);
      break;
    case AttentionScore::kAlibi:
      Variants::alibi(choice, kernels);
      break;
  }
  return kernels;
}

template <int kDim>
AttentionKernels attention_kernels(const AttentionChoice& choice) {
  return attention_kernels_of<__nv_bfloat16, kDim>(choice);
}
template <int kDim>
AttentionKernels attention_f16_kernels(const AttentionChoice& choice) {
  return attention_kernels_of<__half, kDim>(choice);
}

template <int kDim, KvFormat kFormat>
void use_bytes(const AttentionChoice& c, AttentionKernels& kernels) {
  using T = __nv_bfloat16;
  if (c.group <= 8) use_decode<Decode<T, kDim, kFormat>>(kernels);
  if (c.window) {
    use_prefill<Prefill<T, kDim, Mask::kWindow, Score::kPlain, kFormat>>(kernels);
  } else {
    use_prefill<Prefill<T, kDim, Mask::kCausal, Score::kPlain, kFormat>>(kernels);
  }
}

template <int kDim>
AttentionKernels attention_byte_kernels(const AttentionChoice& choice) {
  AttentionKernels kernels;
  if (choice.score != AttentionScore::kPlain) return kernels;
  if (choice.cache == AttentionCache::kInt8) {
    use_bytes<kDim, KvFormat::kInt8>(choice, kernels);
  } else {
    use_bytes<kDim, KvFormat::kE4M3>(choice, kernels);
  }
  return kernels;
}

}  // namespace spate::ops::cuda
