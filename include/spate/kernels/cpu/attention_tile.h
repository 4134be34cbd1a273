// The register tiles of attention: R rows times one panel of 32 columns of the cache. Scores are
// query rows times a key panel; the weighted sum is probability rows times a value panel. Every
// element is one chain over k in ascending order, so its bits do not depend on R.
#pragma once

#include "spate/kernels/cpu/kv_layout.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// k runs in words: 1, 2 or 4 elements that share 32 bits (an f16 value takes 16).
struct KvTile {
  const std::byte* panel = nullptr;  // [words][32 columns]
  const std::byte* rows = nullptr;   // [R][words], rows `row_bytes` apart
  std::int64_t row_bytes = 0;
  std::int64_t words = 0;
  bool odd = false;      // bf16: of the last word, only the first element counts
  float* out = nullptr;  // [R][32], rows `out_stride` apart
  std::int64_t out_stride = 0;
  const std::byte* prefetch = nullptr;  // as many bytes as the panel has, or null
};

template <KvFormat kFormat>
SPATE_KERNEL constexpr std::int64_t word_stride() {
  return kFormat == KvFormat::kF16 ? 64 : 128;
}

template <KvFormat kFormat>
SPATE_KERNEL I32x16 load_column_words(const std::byte* p) {
  if constexpr (kFormat == KvFormat::kF16) {
    return as_i32(load_f16(p));
  } else {
    return load_i32(p);
  }
}

template <KvFormat kFormat>
SPATE_KERNEL F32x16 dot_word(F32x16 sum, I32x16 column, I32x16 row) {
  if constexpr (kFormat == KvFormat::kBF16) {
    return dot2(sum, column, row);
  } else {
    return fma(as_f32(column), as_f32(row), sum);
  }
}

SPATE_KERNEL void prefetch_word(const KvTile& t, std::int64_t word, std::int64_t stride) {
  prefetch(t.prefetch + word * stride);
  if (stride > 64) prefetch(t.prefetch + word * stride + 64);
}

/// out = rows * panel, or out += with kAdd. Float formats.
template <KvFormat kFormat, bool kAdd, int R>
static void float_tile(const KvTile& t) {
  constexpr std::int64_t kStride = word_stride<kFormat>();
  F32x16 left[R];
  F32x16 right[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    left[r] = kAdd ? load_f32(t.out + r * t.out_stride) : set1_f32(0.0F);
    right[r] = kAdd ? load_f32(t.out + r * t.out_stride + 16) : set1_f32(0.0F);
  }
  const auto step = [&](std::int64_t w, I32x16 a, I32x16 b) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const I32x16 x = broadcast4(t.rows + r * t.row_bytes + w * 4);
      left[r] = dot_word<kFormat>(left[r], a, x);
      right[r] = dot_word<kFormat>(right[r], b, x);
    }
  };
  const std::int64_t whole = t.odd ? t.words - 1 : t.words;
  for (std::int64_t w = 0; w < whole; ++w) {
    if (t.prefetch != nullptr) prefetch_word(t, w, kStride);
    const std::byte* p = t.panel + w * kStride;
    step(w, load_column_words<kFormat>(p), load_column_words<kFormat>(p + kStride / 2));
  }
  if (t.odd) {  // what lies beyond the sequence may be NaN, and 0 x NaN is NaN
    const std::byte* p = t.panel + whole * kStride;
    const I32x16 low = set1_i32(0xffff);
    step(whole, bit_and(load_i32(p), low), bit_and(load_i32(p + kStride / 2), low));
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    store_f32(t.out + r * t.out_stride, left[r]);
    store_f32(t.out + r * t.out_stride + 16, right[r]);
  }
}

/// Integer products of bytes, widened and scaled on the way out.
struct Int8Scales {
  const float* rows = nullptr;              // [R]
  const std::int32_t* row_start = nullptr;  // [R]: -128 times the sum of a query; scores only
  const float* columns = nullptr;           // [32]: scales of the keys; scores only
};

/// Scores: keys are u8 = q + 128, queries s8; out = (dot - 128 sum) * column scale * row scale.
/// Values (kAdd): probabilities are u8, values s8; out += dot * row scale.
template <bool kAdd, int R>
static void int8_tile(const KvTile& t, const Int8Scales& scales) {
  I32x16 left[R];
  I32x16 right[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    left[r] = set1_i32(kAdd ? 0 : scales.row_start[r]);
    right[r] = left[r];
  }
  for (std::int64_t w = 0; w < t.words; ++w) {
    if (t.prefetch != nullptr) prefetch_word(t, w, 128);
    const I32x16 a = load_i32(t.panel + w * 128);
    const I32x16 b = load_i32(t.panel + w * 128 + 64);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const I32x16 x = broadcast4(t.rows + r * t.row_bytes + w * 4);
      left[r] = kAdd ? dot4(left[r], x, a) : dot4(left[r], a, x);
      right[r] = kAdd ? dot4(right[r], x, b) : dot4(right[r], b, x);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    float* out = t.out + r * t.out_stride;
    const F32x16 scale = set1_f32(scales.rows[r]);
    if constexpr (kAdd) {
      store_f32(out, fma(to_f32(left[r]), scale, load_f32(out)));
      store_f32(out + 16, fma(to_f32(right[r]), scale, load_f32(out + 16)));
    } else {
      store_f32(out, mul(mul(to_f32(left[r]), load_f32(scales.columns)), scale));
      store_f32(out + 16, mul(mul(to_f32(right[r]), load_f32(scales.columns + 16)), scale));
    }
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
