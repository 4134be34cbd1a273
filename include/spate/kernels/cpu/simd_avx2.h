// Sixteen lanes as two ymm registers: AVX2, FMA and F16C. The contracts are written at
// simd_generic.h; q8, q4 and the f32 family give the bits of AVX-512.
#pragma once

#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace spate::kernels::cpu::avx2 {

struct F32x16 {
  __m256 lo;
  __m256 hi;
};
struct I32x16 {
  __m256i lo;
  __m256i hi;
};

// 16 registers: 6 x 2 float accumulators, two weights and a broadcast. Integer tiles keep their
// float sums in memory: 4 x 2 accumulators, two or four weights, a broadcast and a product.
inline constexpr int kTileRowsFloat = 6;
inline constexpr int kTileRowsInt8 = 4;
inline constexpr int kTileVectors = 1;

SPATE_KERNEL __m256i first_lanes(int n) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes);
}

SPATE_KERNEL F32x16 set1_f32(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
SPATE_KERNEL I32x16 set1_i32(std::int32_t x) {
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
SPATE_KERNEL F32x16 load_f32(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
SPATE_KERNEL void store_f32(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
SPATE_KERNEL F32x16 load_f32_first(const float* p, int n) {
  return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
SPATE_KERNEL void store_f32_first(float* p, F32x16 x, int n) {
  _mm256_maskstore_ps(p, first_lanes(n), x.lo);
  _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.hi);
}
SPATE_KERNEL I32x16 load_i32(const void* p) {
  const auto* v = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
SPATE_KERNEL void store_i32(void* p, I32x16 x) {
  auto* v = static_cast<__m256i*>(p);
  _mm256_storeu_si256(v, x.lo);
  _mm256_storeu_si256(v + 1, x.hi);
}
SPATE_KERNEL I32x16 broadcast4(const void* p) {
  std::int32_t x;
  std::memcpy(&x, p, sizeof x);
  return set1_i32(x);
}
SPATE_KERNEL void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}
SPATE_KERNEL void prefetch_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

SPATE_KERNEL F32x16 as_f32(I32x16 x) {
  return {_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)};
}
SPATE_KERNEL I32x16 as_i32(F32x16 x) {
  return {_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)};
}

SPATE_KERNEL F32x16 add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
SPATE_KERNEL F32x16 sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
SPATE_KERNEL F32x16 mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
SPATE_KERNEL F32x16 div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
SPATE_KERNEL F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
SPATE_KERNEL F32x16 max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
SPATE_KERNEL F32x16 min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
SPATE_KERNEL F32x16 sqrt(F32x16 x) { return {_mm256_sqrt_ps(x.lo), _mm256_sqrt_ps(x.hi)}; }
SPATE_KERNEL F32x16 abs(F32x16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  return {_mm256_andnot_ps(sign, x.lo), _mm256_andnot_ps(sign, x.hi)};
}
SPATE_KERNEL F32x16 if_greater(F32x16 x, F32x16 y, F32x16 a, F32x16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(x.lo, y.lo, _CMP_GT_OQ)),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(x.hi, y.hi, _CMP_GT_OQ))};
}
SPATE_KERNEL F32x16 if_nan(F32x16 x, F32x16 a, F32x16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(x.lo, x.lo, _CMP_UNORD_Q)),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(x.hi, x.hi, _CMP_UNORD_Q))};
}

SPATE_KERNEL I32x16 add(I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
SPATE_KERNEL I32x16 bit_and(I32x16 a, I32x16 b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
SPATE_KERNEL I32x16 bit_or(I32x16 a, I32x16 b) {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
template <int N>
SPATE_KERNEL I32x16 shift_left(I32x16 x) {
  return {_mm256_slli_epi32(x.lo, N), _mm256_slli_epi32(x.hi, N)};
}
template <int N>
SPATE_KERNEL I32x16 shift_right(I32x16 x) {
  return {_mm256_srli_epi32(x.lo, N), _mm256_srli_epi32(x.hi, N)};
}
SPATE_KERNEL I32x16 round_i32(F32x16 x) {
  return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)};
}
SPATE_KERNEL F32x16 to_f32(I32x16 x) {
  return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)};
}

SPATE_KERNEL float reduce_add(F32x16 x) {
  const __m256 a = _mm256_add_ps(x.lo, x.hi);
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
SPATE_KERNEL float reduce_max(F32x16 x) {
  const __m256 a = _mm256_max_ps(x.lo, x.hi);
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
SPATE_KERNEL std::int32_t reduce_add(I32x16 x) {
  const __m256i a = _mm256_add_epi32(x.lo, x.hi);
  __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xb1)));
}

SPATE_KERNEL F32x16 load_f16(const void* p) {
  const auto* v = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(v)), _mm256_cvtph_ps(_mm_loadu_si128(v + 1))};
}
SPATE_KERNEL void store_f16(void* p, F32x16 x) {
  auto* v = static_cast<__m128i*>(p);
  _mm_storeu_si128(v, _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(v + 1, _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
}
SPATE_KERNEL F32x16 load_bf16(const void* p) {
  const auto* v = static_cast<const __m128i*>(p);
  return as_f32(shift_left<16>(I32x16{_mm256_cvtepu16_epi32(_mm_loadu_si128(v)),
                                      _mm256_cvtepu16_epi32(_mm_loadu_si128(v + 1))}));
}
/// The 16 low halves in order.
SPATE_KERNEL __m256i low_halves(I32x16 x) {
  const __m256i mask = _mm256_set1_epi32(0xffff);
  const __m256i both =
      _mm256_packus_epi32(_mm256_and_si256(x.lo, mask), _mm256_and_si256(x.hi, mask));
  return _mm256_permute4x64_epi64(both, 0xd8);
}
SPATE_KERNEL void store_low16(void* p, I32x16 x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), low_halves(x));
}
SPATE_KERNEL F32x16 low_f16(I32x16 x) {
  const __m256i h = low_halves(x);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(h)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
}
SPATE_KERNEL void store_low8(void* p, I32x16 x) {
  const __m256i h = _mm256_and_si256(low_halves(x), _mm256_set1_epi16(0xff));
  const __m128i b = _mm_packus_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  _mm_storeu_si128(static_cast<__m128i*>(p), b);
}

/// Eight rows of eight.
SPATE_KERNEL void transpose8(__m256i* r) {
  __m256i a[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    a[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
    r[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
    r[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
    r[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
    a[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = a[i];
}
SPATE_KERNEL void transpose(I32x16* rows) {
  __m256i q[4][8];  // quarters: rows 0-7 or 8-15, lanes 0-7 or 8-15
  for (int i = 0; i < 8; ++i) {
    q[0][i] = rows[i].lo;
    q[1][i] = rows[i].hi;
    q[2][i] = rows[i + 8].lo;
    q[3][i] = rows[i + 8].hi;
  }
  for (auto& quarter : q) transpose8(quarter);
  for (int i = 0; i < 8; ++i) {
    rows[i] = {q[0][i], q[2][i]};
    rows[i + 8] = {q[1][i], q[3][i]};
  }
}

SPATE_KERNEL F32x16 dot2(F32x16 acc, I32x16 a, I32x16 b) {
  const I32x16 high = set1_i32(static_cast<int>(0xffff0000U));
  acc = fma(as_f32(bit_and(a, high)), as_f32(bit_and(b, high)), acc);
  return fma(as_f32(shift_left<16>(a)), as_f32(shift_left<16>(b)), acc);
}

/// Exact for u8 below 128 only where pair sums fit 16 bits; see the callers.
SPATE_KERNEL __m256i pair_products(__m256i u, __m256i s) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
}
/// Split into high and low nibbles, whose pair sums fit 16 bits: 2 x 15 x 128 < 32768.
SPATE_KERNEL __m256i dot4_half(__m256i acc, __m256i u, __m256i s) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(u, 4), nibble);
  acc = _mm256_add_epi32(acc, pair_products(_mm256_and_si256(u, nibble), s));
  return _mm256_add_epi32(acc, _mm256_slli_epi32(pair_products(high, s), 4));
}
SPATE_KERNEL I32x16 dot4(I32x16 acc, I32x16 a, I32x16 b) {
  return {dot4_half(acc.lo, a.lo, b.lo), dot4_half(acc.hi, a.hi, b.hi)};
}
/// q8: |w| <= 127 times the activation with w's sign; 2 x 127 x 127 < 32768.
SPATE_KERNEL __m256i dot4_q8_half(__m256i acc, __m256i u, __m256i s) {
  const __m256i w = _mm256_xor_si256(u, _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_add_epi32(acc, pair_products(_mm256_abs_epi8(w), _mm256_sign_epi8(s, w)));
}
SPATE_KERNEL I32x16 dot4_q8(I32x16 acc, I32x16 a, I32x16 b) {
  return {dot4_q8_half(acc.lo, a.lo, b.lo), dot4_q8_half(acc.hi, a.hi, b.hi)};
}
inline constexpr bool kQ8OffsetInStart = false;
SPATE_KERNEL I32x16 dot4_nibbles(I32x16 acc, I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(acc.lo, pair_products(a.lo, b.lo)),
          _mm256_add_epi32(acc.hi, pair_products(a.hi, b.hi))};
}
SPATE_KERNEL I32x16 low_nibbles(I32x16 x) { return bit_and(x, set1_i32(0x0f0f0f0f)); }
SPATE_KERNEL I32x16 high_nibbles(I32x16 x) { return low_nibbles(shift_right<4>(x)); }
inline constexpr int kHighNibbleShift = 0;

}  // namespace spate::kernels::cpu::avx2
