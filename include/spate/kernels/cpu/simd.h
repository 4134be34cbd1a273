// Vectors of 16 lanes for the instruction set that the including file is compiled for. Everything
// lives in a namespace named after that set and is forced inline, so that units for different sets
// link into one program; such units must not use standard containers or algorithms, whose inline
// code the linker would share between them.
#pragma once

#define SPATE_KERNEL [[gnu::always_inline]] static inline
/// Before loops over accumulators, which would live in memory otherwise. Not for plain C++, where
/// it would only cost minutes of compilation.
#define SPATE_UNROLL _Pragma("GCC unroll 16")

#if defined(__AVX512VNNI__) && defined(__AVX512BF16__) && defined(__AVX512VBMI__)
#define SPATE_CPU_ISA avx512
#include "spate/kernels/cpu/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define SPATE_CPU_ISA avx2
#include "spate/kernels/cpu/simd_avx2.h"
#else
#define SPATE_CPU_ISA generic
#undef SPATE_UNROLL
#define SPATE_UNROLL
#include "spate/kernels/cpu/simd_generic.h"
#endif

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// bfloat16 bits (in the low half of each lane) of x, rounded to nearest even; NaN stays NaN.
SPATE_KERNEL I32x16 bf16_bits(F32x16 x) {
  const I32x16 u = as_i32(x);
  const I32x16 odd = bit_and(shift_right<16>(u), set1_i32(1));
  const I32x16 rounded = shift_right<16>(add(u, add(odd, set1_i32(0x7fff))));
  const I32x16 quiet = bit_or(shift_right<16>(u), set1_i32(0x40));
  return as_i32(if_nan(x, as_f32(quiet), as_f32(rounded)));
}

/// The two bfloat16 values of each lane: low half first.
SPATE_KERNEL F32x16 low_bf16(I32x16 pair) { return as_f32(shift_left<16>(pair)); }
SPATE_KERNEL F32x16 high_bf16(I32x16 pair) {
  return as_f32(bit_and(pair, set1_i32(static_cast<int>(0xffff0000U))));
}

/// 2^x; 0 below -126, at most 2^128 (finite), NaN for NaN. Relative error below 2.3e-7, and 2^0 is
/// exactly 1, which is why the constant coefficient is not the minimax one.
SPATE_KERNEL F32x16 exp2(F32x16 x) {
  const F32x16 bounded = min(set1_f32(127.999F), max(set1_f32(-127.0F), x));
  const I32x16 n = round_i32(bounded);
  const F32x16 f = sub(bounded, to_f32(n));
  F32x16 p = set1_f32(0.0013276472F);
  p = fma(p, f, set1_f32(0.00967554133F));
  p = fma(p, f, set1_f32(0.0555071327F));
  p = fma(p, f, set1_f32(0.240221197F));
  p = fma(p, f, set1_f32(0.693146967F));
  p = fma(p, f, set1_f32(1.0F));
  const F32x16 scaled = as_f32(add(as_i32(p), shift_left<23>(n)));
  return if_greater(set1_f32(-126.0F), x, set1_f32(0.0F), scaled);
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
