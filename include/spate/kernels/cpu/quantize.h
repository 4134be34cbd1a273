// Weights to int8 and int4 in groups of 32 along k, sixteen columns side by side: lane c of
// values[k] is column c. Symmetric, with one f16 scale a group. A group that holds an infinity or
// a NaN gets the scale NaN, so the damage stays in its column.
#pragma once

#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

inline constexpr int kGroup = 32;
inline constexpr float kLargestF16 = 65504.0F;

/// The largest magnitude of each column; NaN when a value is not finite.
SPATE_KERNEL F32x16 peak_of(const F32x16* values) {
  F32x16 peak = set1_f32(0.0F);
  F32x16 zero_or_nan = set1_f32(0.0F);
  SPATE_UNROLL
  for (int k = 0; k < kGroup; ++k) {
    peak = max(abs(values[k]), peak);
    zero_or_nan = fma(values[k], set1_f32(0.0F), zero_or_nan);
  }
  return add(peak, zero_or_nan);
}

/// The scale as it will be stored. Quantizing with any other would shift every weight, and make
/// groups infinite whose scale rounds to zero.
SPATE_KERNEL F32x16 stored_scale(F32x16 scale) {
  const F32x16 bounded = min(set1_f32(kLargestF16), max(set1_f32(-kLargestF16), scale));
  alignas(64) std::uint16_t h[16];
  store_f16(h, bounded);
  return load_f16(h);
}

/// 1 / x, or 0 where x is 0 or NaN.
SPATE_KERNEL F32x16 inverse_or_zero(F32x16 x) {
  return if_greater(abs(x), set1_f32(0.0F), div(set1_f32(1.0F), x), set1_f32(0.0F));
}

/// x * inverse rounded and bounded to [low, high]; NaN becomes `low`.
SPATE_KERNEL I32x16 quantized(F32x16 x, F32x16 inverse, float low, float high) {
  return round_i32(min(max(mul(x, inverse), set1_f32(low)), set1_f32(high)));
}

/// quads[i]: q + offset of k = 4 i .. 4 i + 3, one byte each.
SPATE_KERNEL void quantize_quads(const F32x16* values, F32x16 inverse, float low, float high,
                                 I32x16* quads) {
  const I32x16 offset = set1_i32(low < -8.0F ? 128 : 8);
  for (int i = 0; i < kGroup / 4; ++i) {
    const F32x16* v = values + i * 4;
    const I32x16 b0 = add(quantized(v[0], inverse, low, high), offset);
    const I32x16 b1 = add(quantized(v[1], inverse, low, high), offset);
    const I32x16 b2 = add(quantized(v[2], inverse, low, high), offset);
    const I32x16 b3 = add(quantized(v[3], inverse, low, high), offset);
    quads[i] =
        bit_or(bit_or(b0, shift_left<8>(b1)), bit_or(shift_left<16>(b2), shift_left<24>(b3)));
  }
}

/// q in [-127, 127] (-128 would saturate AVX2's products); returns the scale.
SPATE_KERNEL F32x16 quantize_q8(const F32x16* values, I32x16* quads) {
  const F32x16 scale = stored_scale(mul(peak_of(values), set1_f32(1.0F / 127.0F)));
  quantize_quads(values, inverse_or_zero(scale), -127.0F, 127.0F, quads);
  return scale;
}

/// The squared length that q explains: <x, q>^2 / <q, q>, and the scale that does it. The error of
/// a group is |x|^2 less this.
struct Fit {
  F32x16 gain;
  F32x16 scale;
};

SPATE_KERNEL Fit fit_q4(const F32x16* values, F32x16 inverse) {
  F32x16 xq = set1_f32(0.0F);
  F32x16 qq = set1_f32(0.0F);
  SPATE_UNROLL
  for (int k = 0; k < kGroup; ++k) {
    const F32x16 q = to_f32(quantized(values[k], inverse, -8.0F, 7.0F));
    xq = fma(values[k], q, xq);
    qq = fma(q, q, qq);
  }
  const F32x16 scale = mul(xq, inverse_or_zero(qq));
  return {mul(xq, scale), scale};
}

/// The value of largest magnitude, with its sign.
SPATE_KERNEL F32x16 signed_peak(const F32x16* values) {
  F32x16 best = set1_f32(0.0F);
  SPATE_UNROLL
  for (int k = 0; k < kGroup; ++k) {
    best = if_greater(abs(values[k]), abs(best), values[k], best);
  }
  return best;
}

/// q in [-8, 7]; returns the scale. The value of largest magnitude comes to about -8: the grid is
/// one longer on that side. A few grids around it are tried, and the best is fitted by least
/// squares, which lowers the squared error of Gaussian weights by about a quarter for a few
/// cycles per weight, once.
SPATE_KERNEL F32x16 quantize_q4(const F32x16* values, I32x16* quads) {
  constexpr float kGrid[] = {-8.0F, -9.0F, -8.5F, -7.5F, -7.0F};
  const F32x16 peak = signed_peak(values);
  const F32x16 inverse_peak = inverse_or_zero(peak);
  Fit best = {set1_f32(-1.0F), set1_f32(0.0F)};
  for (const float grid : kGrid) {
    const Fit fit = fit_q4(values, mul(inverse_peak, set1_f32(grid)));
    best.scale = if_greater(fit.gain, best.gain, fit.scale, best.scale);
    best.gain = max(fit.gain, best.gain);
  }
  const F32x16 damage = sub(peak_of(values), abs(peak));  // 0, or NaN
  const F32x16 scale = stored_scale(add(best.scale, damage));
  quantize_quads(values, inverse_or_zero(scale), -8.0F, 7.0F, quads);
  return scale;
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
