// Rotary position embedding (Su et al., 2021) on one head: pairs (i, i + rotary / 2).
#pragma once

#include "spate/kernels/cpu/rows.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// table: cosines of the rotary / 2 pairs, then their sines.
static inline void rotate(float* x, const float* table, std::int64_t rotary) {
  const std::int64_t half = rotary / 2;
  for (std::int64_t i = 0; i < half; i += 16) {
    const int n = half - i < 16 ? static_cast<int>(half - i) : 16;
    const F32x16 a = load_f32_first(x + i, n);
    const F32x16 b = load_f32_first(x + half + i, n);
    const F32x16 cosine = load_f32_first(table + i, n);
    const F32x16 sine = load_f32_first(table + half + i, n);
    store_f32_first(x + i, sub(mul(a, cosine), mul(b, sine)), n);
    store_f32_first(x + half + i, add(mul(b, cosine), mul(a, sine)), n);
  }
}

/// q scaled, as bf16 or f32.
static inline void store_query(const float* x, std::int64_t n, float scale, bool bf16, void* out) {
  for (std::int64_t i = 0; i < n; i += 16) {
    const F32x16 v = mul(row_values(x, i, n), set1_f32(scale));
    const std::int64_t left = n - i;
    if (!bf16) {
      store_f32_first(static_cast<float*>(out) + i, v, left < 16 ? static_cast<int>(left) : 16);
    } else if (left >= 16) {
      store_low16(static_cast<std::uint16_t*>(out) + i, bf16_bits(v));
    } else {
      std::uint16_t last[16];
      store_low16(last, bf16_bits(v));
      std::memcpy(static_cast<std::uint16_t*>(out) + i, last, static_cast<std::size_t>(left) * 2);
    }
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
