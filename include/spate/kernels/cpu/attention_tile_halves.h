// Attention's tile of float formats where registers do not suffice for the sums of a whole panel's
// columns (AVX2 has 16, which hold six rows of half of them). Rows of bf16 are widened to f32
// first, so that a product costs only its two multiply-adds: the higher k of a pair first, as dot2
// has it.
#pragma once

#include <bit>
#include <cstring>

#include "spate/kernels/cpu/attention_tile.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// Few rows wait for memory, and read it better in one pass: those take float_tile, spills and all.
template <int R>
inline constexpr bool kByHalves = kTileVectors == 1 && R > 4;

/// Floats of a widened row: dimensions of a query, or keys of a tile.
inline constexpr std::int64_t kWideRow = kMaxHeadDim;

/// The elements of `words` pairs: those of odd k, then, kWideRow / 2 floats on, of even k.
template <int R>
SPATE_KERNEL void widen_pairs(const KvTile& t, float (&to)[R][kWideRow]) {
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const std::byte* row = t.rows + r * t.row_bytes;
    std::int64_t w = 0;
    for (; w + 16 <= t.words; w += 16) {
      const I32x16 pairs = load_i32(row + w * 4);
      store_f32(&to[r][w], high_bf16(pairs));
      store_f32(&to[r][w + kWideRow / 2], low_bf16(pairs));
    }
    for (; w < t.words; ++w) {
      std::uint32_t pair;
      std::memcpy(&pair, row + w * 4, 4);
      to[r][w] = std::bit_cast<float>(pair & 0xffff0000U);
      to[r][w + kWideRow / 2] = std::bit_cast<float>(pair << 16);
    }
  }
}

/// sums[r] += columns * k of row r.
template <int R>
SPATE_KERNEL void add_column(F32x16 columns, const float* k, std::int64_t stride,
                             F32x16 (&sums)[R]) {
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = fma(columns, set1_f32(k[r * stride]), sums[r]);
}

/// The first 16 columns of a panel of bf16.
template <int R>
SPATE_KERNEL void multiply_pairs(const KvTile& t, const float (&wide)[R][kWideRow],
                                 F32x16 (&sums)[R]) {
  const std::int64_t whole = t.odd ? t.words - 1 : t.words;
  for (std::int64_t w = 0; w < whole; ++w) {
    if (t.prefetch != nullptr) prefetch_word(t, w, 128);
    add_column(high_bf16(load_i32(t.panel + w * 128)), &wide[0][w], kWideRow, sums);
    add_column(low_bf16(load_i32(t.panel + w * 128)), &wide[0][w + kWideRow / 2], kWideRow, sums);
  }
  if (t.odd) {  // what lies beyond the sequence may be NaN: zero stands for it, as in float_tile
    add_column(set1_f32(0.0F), &wide[0][whole], kWideRow, sums);
    add_column(low_bf16(load_i32(t.panel + whole * 128)), &wide[0][whole + kWideRow / 2], kWideRow,
               sums);
  }
}

/// The same of f32 or f16.
template <KvFormat kFormat, int R>
SPATE_KERNEL void multiply_words(const KvTile& t, F32x16 (&sums)[R]) {
  constexpr std::int64_t kStride = word_stride<kFormat>();
  const auto* rows = reinterpret_cast<const float*>(t.rows);
  for (std::int64_t w = 0; w < t.words; ++w) {
    if (t.prefetch != nullptr) prefetch_word(t, w, kStride);
    const I32x16 columns = load_column_words<kFormat>(t.panel + w * kStride);
    add_column(as_f32(columns), rows + w, t.row_bytes / 4, sums);
  }
}

/// float_tile, half by half.
template <KvFormat kFormat, bool kAdd, int R>
static void float_tile_by_halves(const KvTile& t) {
  alignas(64) float wide[R][kWideRow];
  if constexpr (kFormat == KvFormat::kBF16) widen_pairs<R>(t, wide);
  KvTile half = t;
  for (int i = 0; i < 2; ++i) {
    F32x16 sums[R];
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      sums[r] = kAdd ? load_f32(half.out + r * t.out_stride) : set1_f32(0.0F);
    }
    if constexpr (kFormat == KvFormat::kBF16) {
      multiply_pairs<R>(half, wide, sums);
    } else {
      multiply_words<kFormat, R>(half, sums);
    }
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) store_f32(half.out + r * t.out_stride, sums[r]);
    half.panel += word_stride<kFormat>() / 2;
    half.out += 16;
    half.prefetch = nullptr;
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
