// What a prefill launch is given, which variant it is, and how the variant is tuned: tile shapes,
// registers and the map of shared memory. The kernel is prefill_sm90.cuh.
#pragma once
#include <cstdint>
#include <type_traits>

#include <cuda.h>

#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/mma.cuh"
#include "spate/kernels/cuda/prefill_plan.h"
#include "spate/kernels/cuda/ptx.cuh"
#include "spate/kernels/cuda/variant.cuh"

namespace spate::cuda {

// Device pointers; strides in elements, rows contiguous, base addresses and strides multiples of 16
// bytes. T is the variant's element type, D its head dim.
struct PrefillParams {
  const void* q = nullptr;  // T [total_q][q_heads][D]
  std::int64_t q_token_stride = 0, q_head_stride = 0;
  void* out = nullptr;  // T [total_q][q_heads][D]; rows without a visible key become 0
  std::int64_t out_token_stride = 0, out_head_stride = 0;
  float* lse =
      nullptr;  // [total_q][q_heads], natural logarithm, -inf without a visible key; or null
  std::int64_t total_q = 0;
  int q_heads = 1, kv_heads = 1;
  float scale = 1;  // of q k^T, usually 1 / sqrt(D)

  // KvLayout::kStrided
  const void* k = nullptr;  // T [total_kv][kv_heads][D]
  const void* v = nullptr;  // the same strides
  std::int64_t kv_token_stride = 0, kv_head_stride = 0;
  std::int64_t total_kv = 0;

  // KvLayout::kPages
  const void* pages = nullptr;               // blocks of kv_image.h; block b of kv head h is at
  std::int64_t page_stride = 0;              // pages + b * page_stride + h * head_stride, in bytes;
  std::int64_t head_stride = 0;              // 0: they lie [page][kv_head] without gaps
  const std::int32_t* page_table = nullptr;  // a request's pages from AttentionRequest::kv_begin on
  int page_tokens = 128;                     // a power of two from 8 up
  const float* k_scale = nullptr;  // KvFormat::kE4M3: [kv_heads], what stored keys and values are
  const float* v_scale = nullptr;  // multiplied by; null: by one

  // Mask::kWindow: keys before and after a query's position
  int window_left = 1 << 30, window_right = 0;
  float soft_cap = 0;                   // Score::kSoftCap
  const float* alibi_slopes = nullptr;  // Score::kAlibi, [q_heads]
  // Mask::kBits: [total_q][mask_words], bit i = the request's key kv_len - mask_columns + i is seen
  const std::uint32_t* mask_bits = nullptr;
  int mask_words = 0;

  const PrefillTile* tiles = nullptr;  // [n_tiles] of PrefillPlan, on the device
  int n_tiles = 0;
  const std::int32_t* tile_count = nullptr;  // on the device: how many there are this time, of
                                             // n_tiles at most; null: n_tiles
  int pack_shift = 0;                        // of PrefillPlan
  std::uint32_t* counters =
      nullptr;  // [2], zero before the first launch; the kernel leaves them zero
  int multiprocessors = 132;
  bool dependent_launch =
      false;  // programmatic dependent launch: start while the kernel before drains
};

template <class T_, int kHeadDim_, Mask kMask_ = Mask::kCausal,
          KvLayout kLayout_ = KvLayout::kStrided, Score kScore_ = Score::kPlain,
          KvFormat kFormat_ = KvFormat::kElement, bool kTall_ = false>
struct PrefillVariant {
  using T = T_;
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr Mask kMask = kMask_;
  static constexpr KvLayout kLayout = kLayout_;
  static constexpr Score kScore = kScore_;
  static constexpr KvFormat kFormat = kFormat_;
  // Tiles of 192 query rows past 80 keys instead of 128 past 128: K and V are copied a third less
  // often, but more is computed beyond the diagonal. See prefers_tall_tiles.
  static constexpr bool kTall = kTall_;
  // Caches of bytes: warps beside the producer turn blocks into f16 in shared memory.
  static constexpr bool kConvert = kFormat != KvFormat::kElement;
  static_assert(kHeadDim % 16 == 0 && kHeadDim >= 64 && kHeadDim <= 256);
  static_assert(!kConvert || (kLayout == KvLayout::kPages && kScore == Score::kPlain));
  static_assert(!kConvert || std::is_same_v<T, __nv_bfloat16>);
  static_assert(!kTall || (kHeadDim == 128 && !kConvert));
};

// Measured on an H200 (docs/benchmarks-gpu.md); what does not fit registers fails the build check.
template <class V>
struct PrefillTuning {
  // Three leave the converters of byte caches too few registers.
  static constexpr int kWarpgroups = V::kTall || (V::kHeadDim == 64 && !V::kConvert) ? 3 : 2;
  static constexpr bool kNarrow =
      V::kConvert ? V::kHeadDim > 128 : V::kHeadDim > 192 && V::kScore != Score::kPlain;
  static constexpr int kBlock = kNarrow                         ? 64  // keys
                                : V::kTall || V::kHeadDim > 192 ? 80
                                : V::kHeadDim > 128             ? 112
                                                                : 128;
  static constexpr int kStages = V::kHeadDim == 64 ? 4 : 2;  // of K, and of V
  static constexpr bool kPingPong = V::kHeadDim <= 128 && !V::kTall;
  static constexpr bool kRescaleFirst = V::kHeadDim > 128;  // scale O before its next product
  static constexpr bool kOutputDirect = V::kHeadDim > 128 || V::kConvert;  // no room to stage O
  static constexpr int kLazy = 8;
  static constexpr int kEmulate = 0;
  // 40 and 232 registers instead of 24 and 240: 1 % faster at head dim 128.
  static constexpr bool kWideProducer = V::kLayout == KvLayout::kPages || V::kHeadDim <= 128;
};

template <class V, class Tuning>
struct PrefillConfig : V, Tuning {
  using Tuning::kBlock, Tuning::kWarpgroups, Tuning::kStages, Tuning::kOutputDirect;
  using Tuning::kWideProducer;
  using V::kConvert, V::kFormat, V::kHeadDim, V::kLayout;
  // The element type of the matrix products: e4m3 and int8 become f16, e4m3 exactly.
  using M = std::conditional_t<kConvert, __half, typename V::T>;
  static constexpr int kTileRows = kWarpgroups * 64;
  // Warpgroups that copy and convert. A second one hides the converters' latencies; at head dim 256
  // it would leave wgmma too few registers.
  static constexpr int kHelpers = kConvert && kHeadDim <= 128 ? 2 : 1;
  static constexpr int kThreads = (kWarpgroups + kHelpers) * 128;
  static constexpr bool kImage = kLayout == KvLayout::kPages;
  // Of 64K in all; walking a page table takes more than issuing tensor copies.
  static constexpr int kProducerRegisters = kHelpers == 2      ? 48
                                            : kConvert         ? 56
                                            : kWarpgroups == 3 ? 32
                                            : kWideProducer    ? 40
                                                               : 24;
  static constexpr int kConsumerRegisters = kHelpers == 2      ? 208
                                            : kConvert         ? 224
                                            : kWarpgroups == 3 ? 160
                                            : kWideProducer    ? 232
                                                               : 240;
  static constexpr int kChunks = (kHeadDim + 63) / 64;  // of 64 columns, 128 bytes
  static constexpr std::uint32_t kRowBytes = kChunks * 128;
  static_assert(kRowBytes == kv_row_bytes(kHeadDim, 2));

  // K and V in shared memory: as tensor copies write them, [chunk][key][64], or as kv_image.h does.
  static constexpr std::uint32_t kChunkStride = kImage ? 1024 : kBlock * 128;
  static constexpr std::uint32_t kGroupStride = kImage ? 8 * kRowBytes : 1024;  // 8 keys

  static constexpr std::uint32_t kQueryBytes = kTileRows * kRowBytes,
                                 kBlockBytes = kBlock * kRowBytes;
  static constexpr std::uint32_t kOffsetK = kQueryBytes,
                                 kOffsetV = kOffsetK + kStages * kBlockBytes;
  static constexpr std::uint32_t kEnd = kOffsetV + kStages * kBlockBytes;
  static constexpr std::uint32_t kOffsetOut = kEnd;
  static constexpr std::uint32_t kOffsetTile = kOutputDirect ? kEnd : kEnd + kQueryBytes;
  // Blocks as the cache holds them: rows, then their scales, then how to read them.
  static constexpr int kRawStages = !kConvert ? 0 : kHeadDim > 128 ? 2 : 4;
  static constexpr int kConverters = kHelpers * 128 - 32;  // threads: all helpers but the producer
  static constexpr std::uint32_t kRawRowBytes = kv_row_bytes(kHeadDim, 1);
  static constexpr std::uint32_t kRawScaleBytes = kFormat == KvFormat::kInt8 ? kKvScaleBytes : 0;
  static constexpr std::uint32_t kRawBytes = kBlock * (kRawRowBytes + kRawScaleBytes);
  static constexpr std::uint32_t kOffsetRaw = kOffsetTile + 32;
  static constexpr std::uint32_t kOffsetRawInfo = kOffsetRaw + kRawStages * kRawBytes;
  static constexpr std::uint32_t kOffsetBars = kOffsetRawInfo + kRawStages * 8;
  static constexpr std::uint32_t kSharedBytes =
      kOffsetBars + 8 * (4 + 4 * kStages + 2 * kRawStages);
  static_assert(kBlockBytes % 1024 == 0 && kSharedBytes <= 232448);
};

struct PrefillArguments {
  CUtensorMap map_q, map_k, map_v, map_out;
  PrefillParams p;
  int page_shift;  // log2 of page_tokens
};

// Addresses of everything in shared memory.
template <class C>
struct PrefillShared {
  std::uint32_t q, k, v, out, tile, q_full, q_empty, tile_full, tile_empty, k_full, k_empty, v_full,
      v_empty, raw, raw_info, raw_full, raw_empty;
  __device__ __forceinline__ explicit PrefillShared(const void* smem) {
    q = smem_address(smem);
    k = q + C::kOffsetK;
    v = q + C::kOffsetV;
    out = q + C::kOffsetOut;
    tile = q + C::kOffsetTile;
    q_full = q + C::kOffsetBars;
    q_empty = q_full + 8;
    tile_full = q_full + 16;
    tile_empty = q_full + 24;
    k_full = q_full + 32;
    k_empty = k_full + 8 * C::kStages;
    v_full = k_empty + 8 * C::kStages;
    v_empty = v_full + 8 * C::kStages;
    raw = q + C::kOffsetRaw;
    raw_info = q + C::kOffsetRawInfo;
    raw_full = v_empty + 8 * C::kStages;
    raw_empty = raw_full + 8 * C::kRawStages;
  }
  __device__ __forceinline__ void init() const {
    constexpr int kWarps = C::kWarpgroups * 4;
    mbar_init(q_full, 1);
    mbar_init(q_empty, kWarps * 32);
    mbar_init(tile_full, 1);
    mbar_init(tile_empty, kWarps * 32);
    constexpr int kWriters = C::kConvert ? C::kConverters : 1;
    for (int i = 0; i < C::kRawStages; i++) {
      mbar_init(raw_full + 8 * i, 1);
      mbar_init(raw_empty + 8 * i, C::kConverters);
    }
    for (int i = 0; i < C::kStages; i++) {
      mbar_init(k_full + 8 * i, kWriters);
      mbar_init(k_empty + 8 * i, C::kWarpgroups);
      mbar_init(v_full + 8 * i, kWriters);
      mbar_init(v_empty + 8 * i, kWarps * 32);
    }
    mbar_init_fence();
  }
};

// The KV blocks [begin, end) that a tile visits; none if no row sees a key.
struct BlockRange {
  int begin, end;
};
template <class C>
__device__ __forceinline__ BlockRange tile_blocks(const PrefillTile& t, const PrefillParams& p) {
  const int last = t.position + ((t.rows - 1) >> p.pack_shift);
  const int end = visible_keys<C::kMask>(last, t.kv_len, p.window_left, p.window_right).end;
  const int begin =
      visible_keys<C::kMask>(t.position, t.kv_len, p.window_left, p.window_right).begin;
  if (end <= begin) return {0, 0};
  return {begin / C::kBlock, (end + C::kBlock - 1) / C::kBlock};
}

}  // namespace spate::cuda
