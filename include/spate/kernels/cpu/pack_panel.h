// Packs rows of a checkpoint's matrix into one panel of 32 columns. Sixteen rows at a time are
// transposed in registers; from there on all work is vertical, so that every instruction set
// writes the same bytes.
#pragma once

#include "spate/kernels/cpu/arguments.h"
#include "spate/kernels/cpu/quantize.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// Where 16 rows of a step lie: in the matrix, or in a copy padded with zeros at its edges.
struct StepRows {
  const std::uint8_t* first;
  std::int64_t stride;
};

struct EdgeCopy {
  alignas(64) std::uint8_t bytes[16 * kStep * 4];
};

static inline StepRows rows_of_step(const PackPanelArgs& a, std::int64_t step, int half,
                                    EdgeCopy& copy) {
  const std::int64_t size = element_bytes(a.element);
  const std::uint8_t* first = a.rows + (half * 16 * a.k + step * kStep) * size;
  const std::int64_t left = a.n_rows - std::int64_t{half} * 16;
  const std::int64_t n_rows = left < 0 ? 0 : left > 16 ? 16 : left;
  const std::int64_t k_left = a.k - step * kStep;
  if (n_rows == 16 && k_left >= kStep) return {first, a.k * size};
  const std::int64_t n_k = k_left > kStep ? kStep : k_left;
  std::memset(copy.bytes, 0, sizeof copy.bytes);
  for (std::int64_t r = 0; r < n_rows; ++r) {
    std::memcpy(copy.bytes + r * kStep * size, first + r * a.k * size,
                static_cast<std::size_t>(n_k * size));
  }
  return {copy.bytes, kStep * size};
}

/// pairs[i]: elements 2 i and 2 i + 1 (16 bits each) of 16 rows.
SPATE_KERNEL void load_pairs(StepRows rows, I32x16* pairs) {
  SPATE_UNROLL
  for (int r = 0; r < 16; ++r) pairs[r] = load_i32(rows.first + r * rows.stride);
  transpose(pairs);
}

/// values[i]: element i of 16 rows.
static inline void load_values(StepRows rows, Element element, F32x16* values) {
  I32x16 t[16];
  if (element == Element::kF32) {
    for (int half = 0; half < 2; ++half) {
      load_pairs({rows.first + half * 64, rows.stride}, t);
      for (int i = 0; i < 16; ++i) values[half * 16 + i] = as_f32(t[i]);
    }
    return;
  }
  load_pairs(rows, t);
  for (int i = 0; i < 16; ++i) {
    const bool half_precision = element == Element::kF16;
    values[2 * i] = half_precision ? low_f16(t[i]) : low_bf16(t[i]);
    values[2 * i + 1] = half_precision ? low_f16(shift_right<16>(t[i])) : high_bf16(t[i]);
  }
}

/// bf16 panels: [16 pairs of k][32 columns][2].
static inline void pack_step_bf16(StepRows rows, Element element, std::uint8_t* dst) {
  I32x16 t[16];
  if (element == Element::kBF16) {
    load_pairs(rows, t);
    SPATE_UNROLL
    for (int i = 0; i < 16; ++i) store_i32(dst + i * 128, t[i]);
    return;
  }
  F32x16 v[kStep];
  load_values(rows, element, v);
  for (int i = 0; i < 16; ++i) {
    const I32x16 high = shift_left<16>(bf16_bits(v[2 * i + 1]));
    const I32x16 low = bit_and(bf16_bits(v[2 * i]), set1_i32(0xffff));
    store_i32(dst + i * 128, bit_or(low, high));
  }
}

/// f16 panels: [32 k][32 columns].
static inline void pack_step_f16(StepRows rows, Element element, std::uint8_t* dst) {
  if (element == Element::kF16) {
    I32x16 t[16];
    load_pairs(rows, t);
    for (int i = 0; i < 16; ++i) {
      store_low16(dst + i * 128, t[i]);
      store_low16(dst + i * 128 + 64, shift_right<16>(t[i]));
    }
    return;
  }
  F32x16 v[kStep];
  load_values(rows, element, v);
  for (int i = 0; i < kStep; ++i) store_f16(dst + i * 64, v[i]);
}

/// f32 panels: [32 k][32 columns].
static inline void pack_step_f32(StepRows rows, Element element, std::uint8_t* dst) {
  F32x16 v[kStep];
  load_values(rows, element, v);
  for (int i = 0; i < kStep; ++i) store_i32(dst + i * 128, as_i32(v[i]));
}

/// q8: [8 quads of k][32 columns][4] of q + 128, then 32 f16 scales.
static inline void pack_step_q8(StepRows rows, Element element, int half, std::uint8_t* step) {
  F32x16 v[kStep];
  load_values(rows, element, v);
  I32x16 quads[8];
  const F32x16 scale = quantize_q8(v, quads);
  for (int i = 0; i < 8; ++i) store_i32(step + i * 128 + half * 64, quads[i]);
  store_f16(step + 1024 + half * 32, scale);
}

/// q4: [8 quads of k][16 columns][4], the column in the low nibble and that 16 further on in the
/// high one, each q + 8; then 32 f16 scales.
static inline void pack_step_q4(StepRows rows, Element element, int half, std::uint8_t* step) {
  F32x16 v[kStep];
  load_values(rows, element, v);
  I32x16 quads[8];
  const F32x16 scale = quantize_q4(v, quads);
  for (int i = 0; i < 8; ++i) {
    std::uint8_t* dst = step + i * 64;
    store_i32(dst, half == 0 ? quads[i] : bit_or(load_i32(dst), shift_left<4>(quads[i])));
  }
  store_f16(step + 512 + half * 32, scale);
}

static inline void pack_half_step(const PackPanelArgs& a, std::int64_t step, int half) {
  EdgeCopy copy;
  const StepRows rows = rows_of_step(a, step, half, copy);
  std::uint8_t* dst = a.panel + step * step_bytes(a.format);
  switch (a.format) {
    case PanelFormat::kF32:
      return pack_step_f32(rows, a.element, dst + half * 64);
    case PanelFormat::kF16:
      return pack_step_f16(rows, a.element, dst + half * 32);
    case PanelFormat::kQ8:
      return pack_step_q8(rows, a.element, half, dst);
    case PanelFormat::kQ4:
      return pack_step_q4(rows, a.element, half, dst);
    default:
      return pack_step_bf16(rows, a.element, dst + half * 64);
  }
}

/// Reads 32 rows side by side, too many streams for the hardware's prefetcher and all in one set
/// of the L1 cache when rows are 4 KiB long: so the next panel's rows are prefetched in the order
/// of their addresses.
static inline void pack_panel(const PackPanelArgs& a) {
  const std::int64_t n_bytes = a.n_rows * a.k * element_bytes(a.element);
  const std::int64_t n_steps = steps_of(a.k);
  const std::int64_t ahead = (n_bytes / n_steps + kLine - 1) / kLine;
  const std::uint8_t* next = a.rows + n_bytes;
  for (std::int64_t step = 0; step < n_steps; ++step) {
    for (std::int64_t i = 0; i < ahead; ++i, next += kLine) prefetch_l2(next);
    for (int half = 0; half < 2; ++half) pack_half_step(a, step, half);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
