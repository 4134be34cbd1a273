// From scores to probabilities: online softmax (Dao et al., 2022) of a tile of keys, for every
// format of the cache.
#pragma once

#include "spate/kernels/cpu/attention_work.h"
#include "spate/kernels/cpu/softmax.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// The larger one; NaN stays.
SPATE_KERNEL float larger_scale(float peak, float scale) {
  return scale <= peak || peak != peak ? peak : scale;
}

/// Copies the tile's value scales and their running maxima; zeros where a stale NaN may be.
template <class Kernel>
static void load_value_scales(const Attention<Kernel>& a, const KeyTile& k) {
  const KvLayout& kv = a.task.layout;
  const auto* scales = reinterpret_cast<const float*>(k.block + kv.value_scale_offset());
  const std::int64_t keys = a.s.last[k.end - 1] + 1 - k.first_key;
  float peak = 0.0F;
  for (std::int64_t i = 0; i < kKvTokens; ++i) {
    const float scale = i < keys ? scales[i] : 0.0F;
    peak = larger_scale(peak, scale);
    a.s.value_scales[i] = scale;
    a.s.value_peaks[i] = peak;
  }
}

/// The largest scale of the values that a row sees.
template <class Kernel>
SPATE_KERNEL float value_peak(const Attention<Kernel>& a, const KeyTile& k, std::int64_t row) {
  const std::int64_t first = a.s.first[row] - k.first_key;
  const std::int64_t last = a.s.last[row] - k.first_key;
  const std::int64_t end = last < kKvTokens ? last : kKvTokens - 1;
  if (first <= 0) return a.s.value_peaks[end];
  float peak = 0.0F;
  for (std::int64_t i = first; i <= end; ++i) peak = larger_scale(peak, a.s.value_scales[i]);
  return peak;
}

/// Raises the maxima of rows r .. r + n - 1 (n <= 16) to those of their new scores and scales what
/// they have summed so far accordingly. Returns the scores' maxima.
template <class Kernel>
static F32x16 raise_maxima(const Attention<Kernel>& a, const AttentionState& state,
                           const float* scores, std::int64_t r, int n) {
  F32x16 rows[16];
  for (int i = 0; i < n; ++i) {
    const float* row = scores + (r + i) * kKvTokens;
    rows[i] =
        max(max(load_f32(row), load_f32(row + 16)), max(load_f32(row + 32), load_f32(row + 48)));
  }
  const F32x16 top = row_maxima(rows, n);
  const F32x16 before = load_f32(state.maxima + r);
  const F32x16 now = max(before, top);
  // Lanes from n on belong to no row: what an earlier task left there says nothing.
  std::uint32_t grown = lanes_not_le(now, before) & ((1U << n) - 1U);
  if (grown == 0) return top;
  alignas(64) float factors[16];
  store_f32(factors, exp2_below(sub(before, now), kExp2Fine));
  store_f32(state.maxima + r, now);
  for (; grown != 0; grown &= grown - 1) {
    const int i = __builtin_ctz(grown);
    const F32x16 f = set1_f32(factors[i]);
    float* sums = state.sums + (r + i) * 16;
    float* values = state.values + (r + i) * a.padded;
    store_f32(sums, mul(load_f32(sums), f));
    for (std::int64_t d = 0; d < a.padded; d += 16) {
      store_f32(values + d, mul(load_f32(values + d), f));
    }
  }
  return top;
}

/// 2^(score - base) of one row's 64 keys; returns the sum in 16 lanes.
template <unsigned kTerms>
SPATE_KERNEL F32x16 exponentials(const float* scores, float base, const float (&c)[kTerms],
                                 F32x16 (&p)[4]) {
  const F32x16 m = set1_f32(base);
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < 4; ++i) p[i] = exp2_below(sub(load_f32(scores + 16 * i), m), c);
  return add(add(p[0], p[1]), add(p[2], p[3]));
}

/// Scores to probabilities, relative to the running maximum; f32 in place, or bf16.
template <class Kernel>
static void float_weights(const Attention<Kernel>& a, const AttentionState& state, const KeyTile& k,
                          std::int64_t r, int n) {
  raise_maxima(a, state, k.scores, r, n);
  for (std::int64_t i = r; i < r + n; ++i) {
    F32x16 p[4];
    float* scores = k.scores + i * kKvTokens;
    float* sums = state.sums + i * 16;
    if constexpr (Kernel::kFormat == KvFormat::kBF16) {
      const F32x16 sum = exponentials(scores, state.maxima[i], kExp2Coarse, p);
      store_f32(sums, add(load_f32(sums), sum));
      std::byte* weights = a.s.weights + i * kKvTokens * 2;
      store_bf16(weights, p[0], p[1]);
      store_bf16(weights + 64, p[2], p[3]);
    } else {
      const F32x16 sum = exponentials(scores, state.maxima[i], kExp2Fine, p);
      store_f32(sums, add(load_f32(sums), sum));
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < 4; ++j) store_f32(scores + 16 * j, p[j]);
    }
  }
}

/// Scores to u8: probabilities relative to the tile's own maximum (a tile far below the running
/// maximum keeps its precision), times the values' scales, relative to the largest of these that
/// the row may see.
template <class Kernel>
static void int8_weights(const Attention<Kernel>& a, const AttentionState& state, const KeyTile& k,
                         std::int64_t r, int n) {
  alignas(64) float tops[16];
  alignas(64) float factors[16];
  const F32x16 top = raise_maxima(a, state, k.scores, r, n);
  store_f32(tops, top);
  store_f32(factors, exp2_below(sub(top, load_f32(state.maxima + r)), kExp2Fine));
  for (int i = 0; i < n; ++i) {
    const std::int64_t row = r + i;
    const float peak = value_peak(a, k, row);
    const F32x16 inverse = set1_f32(peak > 1e-30F ? 255.0F / peak : 0.0F);
    F32x16 p[4];
    const F32x16 sum = exponentials(k.scores + row * kKvTokens, tops[i], kExp2Coarse, p);
    float* sums = state.sums + row * 16;
    store_f32(sums, fma(set1_f32(factors[i]), sum, load_f32(sums)));
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < 4; ++j) {
      const F32x16 w = mul(mul(p[j], load_f32(a.s.value_scales + 16 * j)), inverse);
      store_low8(a.s.weights + row * kKvTokens + 16 * j, round_i32(w));
    }
    a.s.row_scales[row] = factors[i] * peak * (1.0F / 255.0F);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
