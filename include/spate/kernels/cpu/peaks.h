// The ceilings that kernels are measured against: products in registers, and a plain read.
#pragma once

#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

inline constexpr int kPeakChains = 12;

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
  I32x16 sums[kPeakChains];
  for (I32x16& s : sums) s = set1_i32(0);
  I32x16 x = set1_i32(0x01010101);
  for (std::int64_t i = 0; i < n; ++i) {
    opaque(x);
    SPATE_UNROLL
    for (int c = 0; c < kPeakChains; ++c) sums[c] = dot4_q8(sums[c], x, x);
  }
  for (I32x16& s : sums) opaque(s);
  return static_cast<double>(n) * kPeakChains * 128;
}

/// The same with bfloat16 pairs.
static inline double bf16_rounds(std::int64_t n) {
  F32x16 sums[2 * kPeakChains];
  for (F32x16& s : sums) s = set1_f32(0.0F);
  I32x16 x = set1_i32(0x3f803f80);
  for (std::int64_t i = 0; i < n; ++i) {
    opaque(x);
    SPATE_UNROLL
    for (int c = 0; c < kPeakChains; ++c) sums[c] = dot2(sums[c], x, x);
    SPATE_UNROLL
    for (int c = kPeakChains; c < 2 * kPeakChains; ++c) sums[c] = dot2(sums[c], x, x);
  }
  for (F32x16& s : sums) {
    I32x16 bits = as_i32(s);
    opaque(bits);
  }
  return static_cast<double>(n) * 2 * kPeakChains * 64;
}

/// The same with fused multiply-adds of float.
static inline double f32_rounds(std::int64_t n) {
  F32x16 sums[kPeakChains];
  for (F32x16& s : sums) s = set1_f32(0.0F);
  I32x16 x = set1_i32(0x3f800000);
  for (std::int64_t i = 0; i < n; ++i) {
    opaque(x);
    SPATE_UNROLL
    for (int c = 0; c < kPeakChains; ++c) sums[c] = fma(as_f32(x), as_f32(x), sums[c]);
  }
  for (F32x16& s : sums) {
    I32x16 bits = as_i32(s);
    opaque(bits);
  }
  return static_cast<double>(n) * kPeakChains * 32;
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
