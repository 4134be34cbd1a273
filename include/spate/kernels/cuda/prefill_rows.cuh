// The query rows of the current tile that a consumer thread of prefill has: which keys they see,
// and how masks, soft caps and ALiBi change their scores.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/prefill_params.cuh"

namespace spate::cuda {

template <class C>
struct PrefillRows {
  static constexpr int kScores = C::kBlock / 2;  // registers of a thread

  const PrefillParams& p;
  const int group;  // which consumer warpgroup
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = (static_cast<int>(threadIdx.x) / 32) & 3;
  int first_row;         // this thread's rows of the tile: first_row and first_row + 8
  PrefillTile tile;      // the current tile
  float slope0, slope1;  // Score::kAlibi, in units of raw scores

  __device__ __forceinline__ PrefillRows(const PrefillParams& params, int warpgroup)
      : p(params), group(warpgroup) {
    first_row = group * 64 + warp * 16 + lane / 4;
  }

  // ---- the tile

  __device__ __forceinline__ void start_tile() {
    if constexpr (C::kScore == Score::kAlibi) {
      slope0 = __ldg(p.alibi_slopes + head_of(first_row)) / p.scale;
      slope1 = __ldg(p.alibi_slopes + head_of(first_row + 8)) / p.scale;
    }
  }
  __device__ __forceinline__ int token_of(int row) const { return row >> p.pack_shift; }
  __device__ __forceinline__ int head_of(int row) const {
    const int packed = 1 << p.pack_shift;
    return tile.head * packed + (row & (packed - 1));
  }
  __device__ __forceinline__ KeyRange keys_of(int row) const {
    return visible_keys<C::kMask>(tile.position + token_of(row), tile.kv_len, p.window_left,
                                  p.window_right);
  }
  // The KV blocks that need no mask for any row of this warpgroup.
  __device__ __forceinline__ BlockRange full_blocks() const {
    const KeyRange first = keys_of(group * 64), last = keys_of(group * 64 + 63);
    const int end = C::kMask == Mask::kBits ? min(tile.kv_len, tile.mask_begin) : first.end;
    return {(last.begin + C::kBlock - 1) / C::kBlock, max(0, end) / C::kBlock};
  }

  // ---- scores. Element i of a thread is key 8 * (i / 4) + i % 2 of the block + 2 * (lane % 4), in
  // row first_row + (i & 2 ? 8 : 0).

  __device__ __forceinline__ void transform(float (&x)[kScores], int j) const {
    if constexpr (C::kScore == Score::kSoftCap) {
      const float inner = p.scale / p.soft_cap;
#pragma unroll
      for (int i = 0; i < kScores; i++) x[i] = tanh_exp(x[i] * inner);
    }
    if constexpr (C::kScore == Score::kAlibi) {
      const int key = j * C::kBlock + (lane & 3) * 2 - tile.position;
      const float base0 = slope0 * static_cast<float>(key - token_of(first_row));
      const float base1 = slope1 * static_cast<float>(key - token_of(first_row + 8));
#pragma unroll
      for (int i = 0; i < kScores; i++) {
        const auto column = static_cast<float>((i / 4) * 8 + (i & 1));
        x[i] += (i & 2) != 0 ? fmaf(slope1, column, base1) : fmaf(slope0, column, base0);
      }
    }
  }
  __device__ __forceinline__ void mask(float (&x)[kScores], int j) const {
    const int key = j * C::kBlock + (lane & 3) * 2;
    const KeyRange r0 = keys_of(first_row), r1 = keys_of(first_row + 8);
    const int end0 = r0.end - key, end1 = r1.end - key;
#pragma unroll
    for (int i = 0; i < kScores; i++) {
      const int column = (i / 4) * 8 + (i & 1);
      if (column >= ((i & 2) != 0 ? end1 : end0)) x[i] = -kInfinity;
      if constexpr (C::kMask == Mask::kWindow) {
        if (column < ((i & 2) != 0 ? r1.begin : r0.begin) - key) x[i] = -kInfinity;
      }
    }
    if constexpr (C::kMask == Mask::kBits) mask_bits(x, j);
  }
  __device__ __forceinline__ void mask_bits(float (&x)[kScores], int j) const {
    const int last = max(0, tile.rows - 1);
    const std::int64_t token0 = tile.q_token + token_of(min(first_row, last));
    const std::int64_t token1 = tile.q_token + token_of(min(first_row + 8, last));
#pragma unroll
    for (int w = 0; w < (C::kBlock + 31) / 32; w++) {
      const int first = j * C::kBlock + w * 32 - tile.mask_begin;
      const std::uint32_t bits0 =
          mask_word(p.mask_bits + token0 * p.mask_words, p.mask_words, first) >> ((lane & 3) * 2);
      const std::uint32_t bits1 =
          mask_word(p.mask_bits + token1 * p.mask_words, p.mask_words, first) >> ((lane & 3) * 2);
#pragma unroll
      for (int e = 0; e < 16; e++) {
        const int i = w * 16 + e;
        if (i >= kScores) break;
        const std::uint32_t bit = 1u << ((e / 4) * 8 + (e & 1));
        if ((((e & 2) != 0 ? bits1 : bits0) & bit) == 0) x[i] = -kInfinity;
      }
    }
  }
};

}  // namespace spate::cuda
