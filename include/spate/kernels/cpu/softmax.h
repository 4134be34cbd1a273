// What an online softmax in base 2 needs beyond the vector vocabulary: powers of two for arguments
// up to 0, maxima of sixteen rows at once, probabilities as bf16.
#pragma once

#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// Stands for "nothing yet" in running maxima; not -inf, because inf - inf is NaN.
inline constexpr float kNoScore = -1e30F;

/// Polynomials for 2^f on [-1/2, 1/2]. The constant is exactly 1, or rescaling by 2^0 would change
/// bits. Relative errors 9.2e-8, and 2.9e-6 for results that are rounded to 8 bits anyway.
inline constexpr float kExp2Fine[] = {1.0F,          0.693147004F,   0.240222424F,
                                      0.0555073358F, 0.00967151299F, 0.00132647273F};
inline constexpr float kExp2Coarse[] = {1.0F, 0.693124175F, 0.240240991F, 0.0559064262F,
                                        0.00958285294F};

template <unsigned kTerms>
SPATE_KERNEL F32x16 polynomial(F32x16 f, const float (&c)[kTerms]) {
  F32x16 p = set1_f32(c[kTerms - 1]);
#pragma GCC unroll 8
  for (int i = static_cast<int>(kTerms) - 2; i >= 0; --i) p = fma(p, f, set1_f32(c[i]));
  return p;
}

/// 32 probabilities as bf16, rounded to nearest even. `p`: 64 bytes.
SPATE_KERNEL void store_bf16(void* p, F32x16 lo, F32x16 hi);
/// 2^x for x <= 0: 0 below -126, NaN for NaN. The same bits in every instruction set.
template <unsigned kTerms>
SPATE_KERNEL F32x16 exp2_below(F32x16 x, const float (&c)[kTerms]);
/// Bit i: not a[i] <= b[i], so also where one is NaN.
SPATE_KERNEL std::uint32_t lanes_not_le(F32x16 a, F32x16 b);
/// Lane r: the largest value of rows[r], r < n; kNoScore in lanes n .. 15.
SPATE_KERNEL F32x16 row_maxima(F32x16* rows, int n);

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

SPATE_KERNEL void store_bf16(void* p, F32x16 lo, F32x16 hi) {
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(hi, lo)));
}

template <unsigned kTerms>
SPATE_KERNEL F32x16 exp2_below(F32x16 x, const float (&c)[kTerms]) {
  const __mmask16 live = _mm512_cmp_ps_mask(x, set1_f32(-126.0F), _CMP_NLT_UQ);
  const F32x16 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);  // exact
  return _mm512_maskz_scalef_ps(live, polynomial(f, c), sub(x, f));
}

SPATE_KERNEL std::uint32_t lanes_not_le(F32x16 a, F32x16 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ);
}

SPATE_KERNEL F32x16 fold_halves(F32x16 a, F32x16 b) {
  return max(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
SPATE_KERNEL F32x16 fold_quarters(F32x16 a, F32x16 b) {
  return max(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
SPATE_KERNEL F32x16 fold_pairs(F32x16 a, F32x16 b) {
  return max(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
}
SPATE_KERNEL F32x16 fold_singles(F32x16 a, F32x16 b) {
  return max(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/// Sixteen rows cost 45 operations, three each, where a horizontal maximum costs nine and waits.
SPATE_KERNEL F32x16 row_maxima(F32x16* rows, int n) {
  if (n <= 4) {
    alignas(64) float top[16];
    store_f32(top, set1_f32(kNoScore));
    for (int r = 0; r < n; ++r) top[r] = reduce_max(rows[r]);
    return load_f32(top);
  }
  for (int r = n; r < 16; ++r) rows[r] = set1_f32(kNoScore);
  F32x16 x[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {  // lane group i of x[j] is what is left of row 4 i + j
    x[j] = fold_quarters(fold_halves(rows[j], rows[4 + j]), fold_halves(rows[8 + j], rows[12 + j]));
  }
  return fold_singles(fold_pairs(x[0], x[1]), fold_pairs(x[2], x[3]));
}

#else

SPATE_KERNEL void store_bf16(void* p, F32x16 lo, F32x16 hi) {
  store_low16(p, bf16_bits(lo));
  store_low16(static_cast<std::uint16_t*>(p) + 16, bf16_bits(hi));
}

template <unsigned kTerms>
SPATE_KERNEL F32x16 exp2_below(F32x16 x, const float (&c)[kTerms]) {
  const F32x16 bounded = max(set1_f32(-126.0F), x);  // NaN, the second operand, stays
  const I32x16 nearest = round_i32(bounded);
  const F32x16 p = polynomial(sub(bounded, to_f32(nearest)), c);
  const F32x16 scaled = as_f32(add(as_i32(p), shift_left<23>(nearest)));
  return if_greater(set1_f32(-126.0F), x, set1_f32(0.0F), scaled);
}

SPATE_KERNEL std::uint32_t lanes_not_le(F32x16 a, F32x16 b) {
  alignas(64) float x[16];
  alignas(64) float y[16];
  store_f32(x, a);
  store_f32(y, b);
  std::uint32_t bits = 0;
  for (unsigned i = 0; i < 16; ++i) bits |= (x[i] <= y[i] ? 0U : 1U) << i;
  return bits;
}

SPATE_KERNEL F32x16 row_maxima(F32x16* rows, int n) {
  alignas(64) float top[16];
  store_f32(top, set1_f32(kNoScore));
  for (int r = 0; r < n; ++r) top[r] = reduce_max(rows[r]);
  return load_f32(top);
}

#endif

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
