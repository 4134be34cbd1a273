// Tiles of AVX2 for the formats whose products it has no instruction for.
//
//   bf16  Rows are widened to f32, once for all columns, so that a product costs only its two
//         multiply-adds: the higher k of a pair first.
//   q8    |w| times the row with w's sign. Any other exact way (int16 pairs, nibbles) also takes
//         four operations for 32 products, and more loads.
//   q4    Pairs of products are at most 2 x 15 x 127, so a group's eight add up in int16 and become
//         int32 once.
//
// Integer sums are exact in whatever order; what follows them is gemm_tile.h's.
#pragma once

#include "spate/kernels/cpu/gemm_tile.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

SPATE_KERNEL void prefetch_ahead(const TileArgs& a, std::int64_t step) {
  const std::uint8_t* ahead = a.ahead + step * a.ahead_lines * kLine;
  for (std::int64_t i = 0; i < a.ahead_lines; ++i) prefetch(ahead + i * kLine);
}

SPATE_KERNEL __m256i load_half(const std::uint8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
SPATE_KERNEL __m256i broadcast_half(const std::uint8_t* p) { return broadcast4(p).lo; }

/// Ends an addition here. Left alone, GCC first adds the integer products of a whole step to each
/// other, for which there are no registers.
SPATE_KERNEL void settle(__m256i& x) { asm("" : "+x"(x)); }

/// Columns are taken in fours of eight. Those of q4 begin at 0, 16, 8 and 24, for its nibbles hold
/// columns 16 apart.
template <PanelFormat F>
SPATE_KERNEL constexpr int column_of(int eight) {
  return F == PanelFormat::kQ4 ? eight / 2 * 8 + eight % 2 * 16 : eight * 8;
}

/// A step of q8 from `w` on: sums[r][c] = kMagic and the products of row r with the c-th eight.
template <int R, int C>
SPATE_KERNEL void multiply_q8(const TileArgs& a, const std::uint8_t* w, std::int64_t step,
                              __m256i (&sums)[R][C]) {
  const std::uint8_t* x = a.rows + step * kStep;
  SPATE_UNROLL
  for (int quad = 0; quad < kStep / 4; ++quad) {
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m256i value = broadcast_half(x + r * a.row_stride + quad * 4);
      SPATE_UNROLL
      for (int c = 0; c < C; ++c) {
        const __m256i start = quad == 0 ? _mm256_set1_epi32(kMagic) : sums[r][c];
        sums[r][c] = dot4_q8_half(start, load_half(w + quad * 128 + c * 32), value);
        settle(sums[r][c]);
      }
    }
  }
}

/// The same of q4.
template <int R, int C>
SPATE_KERNEL void multiply_q4(const TileArgs& a, const std::uint8_t* w, std::int64_t step,
                              __m256i (&sums)[R][C]) {
  const std::uint8_t* x = a.rows + step * kStep;
  const __m256i nibble = _mm256_set1_epi8(15);
  SPATE_UNROLL
  for (int quad = 0; quad < kStep / 4; ++quad) {
    __m256i weights[C];
    SPATE_UNROLL
    for (int c = 0; c < C; c += 2) {
      const __m256i both = load_half(w + quad * 64 + c / 2 * 32);
      weights[c] = _mm256_and_si256(both, nibble);
      weights[c + 1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
    }
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m256i value = broadcast_half(x + r * a.row_stride + quad * 4);
      SPATE_UNROLL
      for (int c = 0; c < C; ++c) {
        const __m256i pairs = _mm256_maddubs_epi16(weights[c], value);
        sums[r][c] = quad == 0 ? pairs : _mm256_add_epi16(sums[r][c], pairs);
        settle(sums[r][c]);
      }
    }
  }
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const __m256i start = broadcast_half(a.starts_8 + r * a.row_stride + step * 4);
    SPATE_UNROLL
    for (int c = 0; c < C; ++c) {
      sums[r][c] = _mm256_add_epi32(start, _mm256_madd_epi16(sums[r][c], _mm256_set1_epi16(1)));
    }
  }
}

/// Eights first .. first + C of one step, into the sums in memory.
template <PanelFormat F, int R, int C>
SPATE_KERNEL void int8_eights(const TileArgs& a, std::int64_t step, int first) {
  const std::uint8_t* w = a.weights + step * step_bytes(F);
  __m256i sums[R][C];
  if constexpr (F == PanelFormat::kQ8) {
    multiply_q8<R, C>(a, w + first * 32, step, sums);
  } else {
    multiply_q4<R, C>(a, w + first / 2 * 32, step, sums);
  }
  SPATE_UNROLL
  for (int c = 0; c < C; ++c) {
    const int column = column_of<F>(first + c);
    const auto* half = reinterpret_cast<const __m128i*>(w + step_bytes(F) - 64) + column / 8;
    const __m256 scales = _mm256_cvtph_ps(_mm_load_si128(half));
    const __m256 offsets = _mm256_mul_ps(scales, _mm256_set1_ps(-kMagicValue));
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const std::uint8_t* scale = a.scales + r * a.row_stride + step * 4;
      float* f = a.sums + r * a.sum_stride + column;
      const __m256 sum = _mm256_fmadd_ps(_mm256_castsi256_ps(sums[r][c]), scales, offsets);
      _mm256_storeu_ps(
          f, _mm256_fmadd_ps(sum, _mm256_castsi256_ps(broadcast_half(scale)), _mm256_loadu_ps(f)));
    }
  }
}

template <PanelFormat F, int R>
SPATE_KERNEL void int8_tile(const TileArgs& a) {
  constexpr int kEights = R <= 2 ? 4 : 2;
  for (int r = 0; a.first && r < R; ++r) {
    store_f32(a.sums + r * a.sum_stride, set1_f32(0.0F));
    store_f32(a.sums + r * a.sum_stride + 16, set1_f32(0.0F));
  }
  for (int first = 0; first < 4; first += kEights) {
    for (std::int64_t s = 0; s < a.n_steps; ++s) {
      if (first == 0) prefetch_ahead(a, s);
      int8_eights<F, R, kEights>(a, s, first);
    }
  }
}

/// A step of a row in f32: 16 values of even k, then 16 of odd k.
inline constexpr std::int64_t kWideStep = 32;

template <int R>
SPATE_KERNEL void widen_rows(const TileArgs& a, float* to) {
  for (std::int64_t s = 0; s < a.n_steps; ++s) {
    SPATE_UNROLL
    for (int r = 0; r < R; ++r, to += kWideStep) {
      const I32x16 pairs = load_i32(a.rows + r * a.row_stride + s * row_step_bytes(RowKind::kBF16));
      store_f32(to, low_bf16(pairs));
      store_f32(to + kWideStep / 2, high_bf16(pairs));
    }
  }
}

/// One k of a pair: the higher one, or the lower.
template <bool kHigh, int R>
SPATE_KERNEL void multiply_wide(const std::uint8_t* w, const float* x, F32x16 (&f)[R]) {
  const I32x16 pairs = load_i32(w);
  const F32x16 weights = kHigh ? high_bf16(pairs) : low_bf16(pairs);
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) f[r] = fma(weights, set1_f32(x[r * kWideStep]), f[r]);
}

template <int R>
SPATE_KERNEL void bf16_vector(const TileArgs& a, const float* wide, int vector) {
  F32x16 f[R];
  float* sums = a.sums + vector * 16;
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) f[r] = a.first ? set1_f32(0.0F) : load_f32(sums + r * a.sum_stride);
  const std::uint8_t* w = a.weights + vector * 64;
  for (std::int64_t s = 0; s < a.n_steps; ++s, wide += R * kWideStep) {
    if (vector == 0) prefetch_ahead(a, s);
    for (int pair = 0; pair < kStep / 2; ++pair, w += 128) {
      multiply_wide<true>(w, wide + pair + kWideStep / 2, f);
      multiply_wide<false>(w, wide + pair, f);
    }
  }
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) store_f32(sums + r * a.sum_stride, f[r]);
}

template <int R>
SPATE_KERNEL void bf16_tile(const TileArgs& a) {
  alignas(64) float wide[kSliceSteps<PanelFormat::kBF16> * R * kWideStep];
  widen_rows<R>(a, wide);
  for (int v = 0; v < 2; ++v) bf16_vector<R>(a, wide, v);
}

template <PanelFormat F>
inline constexpr bool kHasOwnTile = row_kind(F) != RowKind::kF32;

/// R rows by the 32 columns of a panel, over at most kSliceSteps<F> steps.
template <PanelFormat F, int R>
static inline void own_tile(const TileArgs& a) {
  if constexpr (F == PanelFormat::kBF16) {
    bf16_tile<R>(a);
  } else {
    int8_tile<F, R>(a);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
