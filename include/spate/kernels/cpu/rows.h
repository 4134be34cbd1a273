// Activation rows: normalized if asked for, then rounded or quantized to what a panel's format
// multiplies. A row is the work of one thread and depends on nothing but itself.
#pragma once

#include "spate/kernels/cpu/arguments.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// 16 values from k on; zeros beyond the end.
SPATE_KERNEL F32x16 row_values(const float* x, std::int64_t k, std::int64_t n) {
  const std::int64_t left = n - k;
  if (left >= 16) return load_f32(x + k);
  return load_f32_first(x + k, left > 0 ? static_cast<int>(left) : 0);
}

/// One group of 32 in int8. Zero, and what is too small to invert, gives the scale 0; infinity and
/// NaN give the scale NaN.
SPATE_KERNEL void pack_group_int8(F32x16 lo, F32x16 hi, std::uint8_t* row, std::int64_t k,
                                  std::int64_t g) {
  const F32x16 zero = set1_f32(0.0F);
  float peak = reduce_max(max(abs(lo), abs(hi)));
  const float damage = reduce_add(fma(lo, zero, mul(hi, zero)));  // 0, or NaN
  if (!(peak >= 1e-30F)) peak = 0.0F;
  const float inverse = peak > 0.0F ? 127.0F / peak : 0.0F;
  const F32x16 low = set1_f32(-127.0F);
  const F32x16 high = set1_f32(127.0F);
  const I32x16 q_lo = round_i32(min(max(mul(lo, set1_f32(inverse)), low), high));
  const I32x16 q_hi = round_i32(min(max(mul(hi, set1_f32(inverse)), low), high));
  store_low8(row + g * kStep, q_lo);
  store_low8(row + g * kStep + 16, q_hi);
  reinterpret_cast<float*>(row + row_scales_offset(k))[g] = peak / 127.0F + damage;
  const std::int32_t sum = reduce_add(add(q_lo, q_hi));
  reinterpret_cast<std::int32_t*>(row + row_starts_8_offset(k))[g] = kMagic - 8 * sum;
  reinterpret_cast<std::int32_t*>(row + row_starts_128_offset(k))[g] = kMagic - 128 * sum;
}

/// Values 32 g .. 32 g + 31 of a row of k.
SPATE_KERNEL void pack_group(RowKind kind, F32x16 lo, F32x16 hi, std::uint8_t* row, std::int64_t k,
                             std::int64_t g) {
  std::uint8_t* dst = row + g * row_step_bytes(kind);
  if (kind == RowKind::kInt8) {
    pack_group_int8(lo, hi, row, k, g);
  } else if (kind == RowKind::kBF16) {
    store_low16(dst, bf16_bits(lo));
    store_low16(dst + 32, bf16_bits(hi));
  } else {
    store_i32(dst, as_i32(lo));
    store_i32(dst + 64, as_i32(hi));
  }
}

/// Sum of (x - shift)^2 in a fixed order: four chains over k, then their tree, then the lanes'.
static inline float sum_of_squares(const float* x, std::int64_t n, float shift) {
  F32x16 sums[4] = {set1_f32(0.0F), set1_f32(0.0F), set1_f32(0.0F), set1_f32(0.0F)};
  for (std::int64_t k = 0; k < n; k += 64) {
    SPATE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::int64_t left = n - k - i * 16;
      if (left <= 0) break;
      F32x16 d = sub(row_values(x, k + i * 16, n), set1_f32(shift));
      if (left < 16) {
        alignas(64) float lanes[16];
        store_f32(lanes, d);
        d = load_f32_first(lanes, static_cast<int>(left));
      }
      sums[i] = fma(d, d, sums[i]);
    }
  }
  return reduce_add(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

static inline float sum_of(const float* x, std::int64_t n) {
  F32x16 sum = set1_f32(0.0F);
  for (std::int64_t k = 0; k < n; k += 16) sum = add(sum, row_values(x, k, n));
  return reduce_add(sum);
}

SPATE_KERNEL float inverse_root(float mean_square, float eps) {
  return 1.0F / __builtin_sqrtf(mean_square + eps);
}

/// What a row is shifted by and multiplied with before the parameters apply.
struct RowMoments {
  float shift;
  float scale;
};
static inline RowMoments moments_of(const NormArgs& norm, const float* x, std::int64_t n) {
  const auto count = static_cast<float>(n);
  if (norm.kind == NormKind::kNone) return {0.0F, 1.0F};
  const float mean = norm.kind == NormKind::kLayer ? sum_of(x, n) / count : 0.0F;
  return {mean, inverse_root(sum_of_squares(x, n, mean) / count, norm.eps)};
}

SPATE_KERNEL F32x16 normalized(const NormArgs& norm, RowMoments m, const float* x, std::int64_t k,
                               std::int64_t n) {
  F32x16 v = row_values(x, k, n);
  if (norm.kind == NormKind::kNone) return v;
  if (norm.kind == NormKind::kLayer) v = sub(v, set1_f32(m.shift));
  v = mul(v, set1_f32(m.scale));
  // Parameters are zero beyond the end, and so is what they multiply.
  v = mul(v, row_values(norm.weight, k, n));
  return norm.bias == nullptr ? v : add(v, row_values(norm.bias, k, n));
}

static inline void pack_row(const PackRowArgs& a) {
  const RowMoments m = moments_of(a.norm, a.values, a.k);
  for (std::int64_t g = 0; g < steps_of(a.k); ++g) {
    const F32x16 lo = normalized(a.norm, m, a.values, g * kStep, a.k);
    const F32x16 hi = normalized(a.norm, m, a.values, g * kStep + 16, a.k);
    pack_group(a.kind, lo, hi, a.row, a.k, g);
  }
}

/// Normalizes n values in place (heads of queries and keys).
static inline void normalize_in_place(const NormArgs& norm, float* x, std::int64_t n) {
  const RowMoments m = moments_of(norm, x, n);
  for (std::int64_t k = 0; k < n; k += 16) {
    const std::int64_t left = n - k;
    store_f32_first(x + k, normalized(norm, m, x, k, n), left < 16 ? static_cast<int>(left) : 16);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
