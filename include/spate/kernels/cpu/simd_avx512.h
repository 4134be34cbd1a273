// Sixteen lanes as one zmm register: AVX-512 F, BW, DQ, VL, VBMI with VNNI and BF16. The contracts
// are written at simd_generic.h.
#pragma once

#include <cstdint>
#include <cstring>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace spate::kernels::cpu::avx512 {

using F32x16 = __m512;
using I32x16 = __m512i;

// 12 x 2 float accumulators, two weights and a broadcast; 6 x 2 integer and 6 x 2 float ones, two
// weights, a broadcast and two scales: no spills in 32 registers.
inline constexpr int kTileRowsFloat = 12;
inline constexpr int kTileRowsInt8 = 6;
inline constexpr int kTileVectors = 2;

SPATE_KERNEL __mmask16 first_lanes(int n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffffU : (1U << static_cast<unsigned>(n)) - 1U);
}

SPATE_KERNEL F32x16 set1_f32(float x) { return _mm512_set1_ps(x); }
SPATE_KERNEL I32x16 set1_i32(std::int32_t x) { return _mm512_set1_epi32(x); }
SPATE_KERNEL F32x16 load_f32(const float* p) { return _mm512_loadu_ps(p); }
SPATE_KERNEL void store_f32(float* p, F32x16 x) { _mm512_storeu_ps(p, x); }
SPATE_KERNEL F32x16 load_f32_first(const float* p, int n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
SPATE_KERNEL void store_f32_first(float* p, F32x16 x, int n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), x);
}
SPATE_KERNEL I32x16 load_i32(const void* p) { return _mm512_loadu_si512(p); }
SPATE_KERNEL void store_i32(void* p, I32x16 x) { _mm512_storeu_si512(p, x); }
SPATE_KERNEL I32x16 broadcast4(const void* p) {
  std::int32_t x;
  std::memcpy(&x, p, sizeof x);
  return _mm512_set1_epi32(x);
}
SPATE_KERNEL void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}
SPATE_KERNEL void prefetch_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

SPATE_KERNEL F32x16 as_f32(I32x16 x) { return _mm512_castsi512_ps(x); }
SPATE_KERNEL I32x16 as_i32(F32x16 x) { return _mm512_castps_si512(x); }

SPATE_KERNEL F32x16 add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
SPATE_KERNEL F32x16 sub(F32x16 a, F32x16 b) { return _mm512_sub_ps(a, b); }
SPATE_KERNEL F32x16 mul(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
SPATE_KERNEL F32x16 div(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
SPATE_KERNEL F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
SPATE_KERNEL F32x16 max(F32x16 a, F32x16 b) { return _mm512_max_ps(a, b); }
SPATE_KERNEL F32x16 min(F32x16 a, F32x16 b) { return _mm512_min_ps(a, b); }
SPATE_KERNEL F32x16 sqrt(F32x16 x) { return _mm512_sqrt_ps(x); }
SPATE_KERNEL F32x16 abs(F32x16 x) { return _mm512_abs_ps(x); }
SPATE_KERNEL F32x16 if_greater(F32x16 x, F32x16 y, F32x16 a, F32x16 b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_GT_OQ), b, a);
}
SPATE_KERNEL F32x16 if_nan(F32x16 x, F32x16 a, F32x16 b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), b, a);
}

SPATE_KERNEL I32x16 add(I32x16 a, I32x16 b) { return _mm512_add_epi32(a, b); }
SPATE_KERNEL I32x16 bit_and(I32x16 a, I32x16 b) { return _mm512_and_si512(a, b); }
SPATE_KERNEL I32x16 bit_or(I32x16 a, I32x16 b) { return _mm512_or_si512(a, b); }
template <int N>
SPATE_KERNEL I32x16 shift_left(I32x16 x) {
  return _mm512_slli_epi32(x, N);
}
template <int N>
SPATE_KERNEL I32x16 shift_right(I32x16 x) {
  return _mm512_srli_epi32(x, N);
}
SPATE_KERNEL I32x16 round_i32(F32x16 x) { return _mm512_cvtps_epi32(x); }
SPATE_KERNEL F32x16 to_f32(I32x16 x) { return _mm512_cvtepi32_ps(x); }

SPATE_KERNEL float reduce_add(F32x16 x) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
SPATE_KERNEL float reduce_max(F32x16 x) {
  const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
SPATE_KERNEL std::int32_t reduce_add(I32x16 x) { return _mm512_reduce_add_epi32(x); }

SPATE_KERNEL F32x16 load_f16(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
SPATE_KERNEL void store_f16(void* p, F32x16 x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
SPATE_KERNEL F32x16 load_bf16(const void* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))), 16));
}
SPATE_KERNEL void store_low16(void* p, I32x16 x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
}
SPATE_KERNEL F32x16 low_f16(I32x16 x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
SPATE_KERNEL void store_low8(void* p, I32x16 x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}

SPATE_KERNEL void transpose(I32x16* rows) {
  I32x16 a[16];
  I32x16* b = rows;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_epi32(b[2 * i], b[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi32(b[2 * i], b[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88);
    a[i + 4] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
    a[i + 8] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
    a[i + 12] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    b[i] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0x88);
    b[i + 8] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0xdd);
  }
}

SPATE_KERNEL F32x16 dot2(F32x16 acc, I32x16 a, I32x16 b) {
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
SPATE_KERNEL I32x16 dot4(I32x16 acc, I32x16 a, I32x16 b) { return _mm512_dpbusd_epi32(acc, a, b); }
SPATE_KERNEL I32x16 dot4_q8(I32x16 acc, I32x16 a, I32x16 b) { return dot4(acc, a, b); }
inline constexpr bool kQ8OffsetInStart = true;
SPATE_KERNEL I32x16 dot4_nibbles(I32x16 acc, I32x16 a, I32x16 b) { return dot4(acc, a, b); }
SPATE_KERNEL I32x16 low_nibbles(I32x16 x) { return bit_and(x, set1_i32(0x0f0f0f0f)); }
// Left where they are, at 16 times their value: no shift, and undone by an exact factor.
SPATE_KERNEL I32x16 high_nibbles(I32x16 x) {
  return bit_and(x, set1_i32(static_cast<int>(0xf0f0f0f0U)));
}
inline constexpr int kHighNibbleShift = 4;

}  // namespace spate::kernels::cpu::avx512
