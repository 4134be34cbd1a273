// Values that some rows must not touch: 0 x NaN is NaN, so a probability of zero keeps nothing out.
#pragma once

#include "spate/kernels/cpu/kv_layout.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// Dimensions 16 v .. 16 v + 15 of a panel's token.
template <KvFormat kFormat>
SPATE_KERNEL F32x16 value_vector(const std::byte* panel, std::int64_t token, std::int64_t v) {
  if constexpr (kFormat == KvFormat::kF32) {
    return as_f32(load_i32(panel + token * 128 + v * 64));
  } else if constexpr (kFormat == KvFormat::kF16) {
    return load_f16(panel + token * 64 + v * 32);
  } else {
    const I32x16 pair = load_i32(panel + token / 2 * 128 + v * 64);
    return token % 2 == 0 ? low_bf16(pair) : high_bf16(pair);
  }
}

/// Whether tokens [begin, end) of a block have values without infinities and NaNs. What lies beyond
/// the head's dimensions may count. Not for int8.
template <KvFormat kFormat>
static bool finite_values(const KvLayout& kv, const std::byte* block, std::int64_t begin,
                          std::int64_t end) {
  const F32x16 zero = set1_f32(0.0F);
  F32x16 damage = zero;  // or NaN
  for (std::int64_t d = 0; d < kv.head_dim; d += 16) {
    const std::byte* panel = block + kv.value_offset() + d / kKvHalf * kv.value_panel_bytes();
    for (std::int64_t t = begin; t < end; ++t) {
      damage = fma(value_vector<kFormat>(panel, t, d % kKvHalf == 0 ? 0 : 1), zero, damage);
    }
  }
  return reduce_add(damage) == 0.0F;
}

/// One panel, of 32 dimensions, with zeros outside of tokens [begin, end).
static inline void copy_value_panel(const KvLayout& kv, const std::byte* from, std::int64_t begin,
                                    std::int64_t end, std::byte* to) {
  const std::int64_t g = kv.interleave();
  const std::int64_t size = kv.element_bytes();
  const std::int64_t word_bytes = kKvHalf * g * size;  // of 32 dimensions
  const std::int64_t first = begin / g;
  const std::int64_t stop = end > begin ? (end + g - 1) / g : first;
  const auto n_bytes = static_cast<std::size_t>((stop - first) * word_bytes);
  std::memset(to, 0, static_cast<std::size_t>(kv.value_panel_bytes()));
  std::memcpy(to + first * word_bytes, from + first * word_bytes, n_bytes);
  for (std::int64_t t = first * g; t < stop * g; ++t) {
    if (t >= begin && t < end) continue;  // words at the edges hold others' elements, too
    std::byte* column = to + t / g * word_bytes + t % g * size;
    for (std::int64_t i = 0; i < kKvHalf * size; ++i) {
      column[i / size * g * size + i % size] = std::byte{0};
    }
  }
}

/// Copies a block's value panels with zeros outside of tokens [begin, end).
static inline void copy_values(const KvLayout& kv, const std::byte* block, std::int64_t begin,
                               std::int64_t end, std::byte* to) {
  for (std::int64_t p = 0; p < kv.padded_dim() / kKvHalf; ++p) {
    const std::int64_t at = p * kv.value_panel_bytes();
    copy_value_panel(kv, block + kv.value_offset() + at, begin, end, to + at);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
