// The ceilings that kernels are measured against: products in registers, and a plain read.
#pragma once

#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// As many as registers hold.
#if defined(__AVX512F__)
inline constexpr int kPeakChainsInt8 = 12;
inline constexpr int kPeakChainsBF16 = 24;
inline constexpr int kPeakChainsF32 = 12;
#else
inline constexpr int kPeakChainsInt8 = 3;
inline constexpr int kPeakChainsBF16 = 4;
inline constexpr int kPeakChainsF32 = 4;
#endif

/// Keeps a value in a register and the compiler from knowing it.
SPATE_KERNEL void opaque(I32x16& x) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(x));
#elif defined(__AVX2__)
  asm volatile("" : "+x"(x.lo), "+x"(x.hi));
#else
  asm volatile("" : "+m"(x));
#endif
}

/// n rounds of independent int8 products; returns operations (a product and an addition are two).
static inline double int8_rounds(std::int64_t n) {
  I32x16 sums[kPeakChainsInt8];
  for (I32x16& s : sums) s = set1_i32(0);
  I32x16 x = set1_i32(0x01010101);
  const I32x16 w = x;
  for (std::int64_t i = 0; i < n; ++i) {
    SPATE_UNROLL
    for (int c = 0; c < kPeakChainsInt8; ++c) {
      opaque(x);  // every product, not one for all
      sums[c] = dot4_q8(sums[c], w, x);
    }
  }
  for (I32x16& s : sums) opaque(s);
  return static_cast<double>(n) * kPeakChainsInt8 * 128;
}

/// The same with bfloat16 pairs.
static inline double bf16_rounds(std::int64_t n) {
  F32x16 sums[kPeakChainsBF16];
  for (F32x16& s : sums) s = set1_f32(0.0F);
  I32x16 x = set1_i32(0x3f803f80);
  for (std::int64_t i = 0; i < n; ++i) {
    opaque(x);
#pragma GCC unroll 24
    for (int c = 0; c < kPeakChainsBF16; ++c) sums[c] = dot2(sums[c], x, x);
  }
  for (F32x16& s : sums) {
    I32x16 bits = as_i32(s);
    opaque(bits);
  }
  return static_cast<double>(n) * kPeakChainsBF16 * 64;
}

/// The same with fused multiply-adds of float.
static inline double f32_rounds(std::int64_t n) {
  F32x16 sums[kPeakChainsF32];
  for (F32x16& s : sums) s = set1_f32(0.0F);
  I32x16 x = set1_i32(0x3f800000);
  for (std::int64_t i = 0; i < n; ++i) {
    opaque(x);
    SPATE_UNROLL
    for (int c = 0; c < kPeakChainsF32; ++c) sums[c] = fma(as_f32(x), as_f32(x), sums[c]);
  }
  for (F32x16& s : sums) {
    I32x16 bits = as_i32(s);
    opaque(bits);
  }
  return static_cast<double>(n) * kPeakChainsF32 * 32;
}

/// Reads n_bytes (a multiple of 256) and does nothing with them: four streams side by side, as the
/// weights of few rows are read, because one would wait at each page (gemm.h).
static inline void read_bytes(const std::uint8_t* p, std::int64_t n_bytes) {
  constexpr std::int64_t kAhead = 1024;
  I32x16 all[4] = {set1_i32(0), set1_i32(0), set1_i32(0), set1_i32(0)};
  const std::int64_t quarter = n_bytes / 4;
  for (std::int64_t i = 0; i < quarter; i += 64) {
    SPATE_UNROLL
    for (int j = 0; j < 4; ++j) {
      prefetch(p + j * quarter + i + kAhead);
      all[j] = bit_or(all[j], load_i32(p + j * quarter + i));
    }
  }
  for (I32x16& a : all) opaque(a);
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
