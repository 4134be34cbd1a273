// int8 rows times one panel of q8 or q4 with Intel's matrix registers (AMX). A group of 32 has
// scales of its own, so every integer product of tiles leaves the registers through memory and is
// scaled there by vectors, with the operations of gemm.h in their order: the bits are the same, and
// each number of rows may take the faster way.
//
// Near a tile instruction the processor does arithmetic of floats on one of its two ports: two such
// operations for 16 sums bound this at 32 cycles for 16 x 16 x 32 products. Measured are 47 for one
// long tile and 55 to 65 in a product, where gemm.h needs about 90.
#pragma once

#include "spate/kernels/cpu/gemm_amx.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

inline constexpr std::int64_t kAmxSliceSteps = 16;
inline constexpr int kAmxRows = 16;

/// Some steps of a panel as the tiles want them: signed, 16 columns apart.
struct Int8Slice {
  alignas(64) std::uint8_t weights[kAmxSliceSteps][2][512];
  alignas(64) float scales[kAmxSliceSteps][32];
};

template <PanelFormat F>
static inline void prepare_slice(const std::uint8_t* w, std::int64_t n_steps, Int8Slice& slice) {
  const I32x16 sign = set1_i32(static_cast<int>(0x80808080U));
  for (std::int64_t s = 0; s < n_steps; ++s, w += step_bytes(F)) {
    std::uint8_t* left = slice.weights[s][0];
    std::uint8_t* right = slice.weights[s][1];
    SPATE_UNROLL
    for (int quad = 0; quad < kStep / 4; ++quad) {
      if constexpr (F == PanelFormat::kQ8) {
        store_i32(left + quad * 64, _mm512_xor_si512(load_i32(w + quad * 128), sign));
        store_i32(right + quad * 64, _mm512_xor_si512(load_i32(w + quad * 128 + 64), sign));
      } else {
        const I32x16 both = load_i32(w + quad * 64);
        const I32x16 low = _mm512_sub_epi8(low_nibbles(both), set1_i32(0x08080808));
        store_i32(left + quad * 64, low);
        store_i32(right + quad * 64, _mm512_xor_si512(high_nibbles(both), sign));
      }
    }
    store_f32(slice.scales[s], load_f16(w + step_bytes(F) - 64));
    store_f32(slice.scales[s] + 16, load_f16(w + step_bytes(F) - 32));
  }
}

/// 16 columns of a slice times 16 rows.
struct Int8Tile {
  const std::uint8_t* weights;  // of the first step; steps are 1024 bytes apart
  const float* scales;          // steps are 32 apart
  const std::uint8_t* rows;
  const std::uint8_t* row_scales;  // of the first step, f32
  std::int64_t row_stride;
  std::int64_t n_steps;
  float* sums;
  std::int64_t sum_stride;
  bool first;
  float factor;  // of the finished sums; 1: not finished
  const std::uint8_t* ahead;
  std::int64_t ahead_lines;  // to prefetch per step
  const std::uint8_t* next_rows;
};

/// Where tiles of integers meet the vectors.
struct Int8Sums {
  alignas(64) std::int32_t magic[16];
  alignas(64) std::int32_t steps[4][kAmxRows][16];
};

/// The sums of one step, into tile 0 or 1: they start from kMagic, so that they are floats already.
template <int kTile>
SPATE_KERNEL void multiply_step(const Int8Tile& t, const Int8Sums& s, std::int64_t step) {
  const std::uint8_t* x = t.rows + step * kStep;
  const std::uint8_t* w = t.weights + step * 1024;
  if constexpr (kTile == 0) {
    _tile_loadd(4, x, t.row_stride);
    _tile_loadd(6, w, 64);
    _tile_loadd(0, s.magic, 0);
    _tile_dpbssd(0, 4, 6);
  } else {
    _tile_loadd(5, x, t.row_stride);
    _tile_loadd(7, w, 64);
    _tile_loadd(1, s.magic, 0);
    _tile_dpbssd(1, 5, 7);
  }
}

/// sum * scale + offset, times the row's scale, added: the end of step_int8. As assembly, because
/// the compiler would load 16 row scales ahead, into registers that it does not have.
SPATE_KERNEL void scale_sums(const std::int32_t* sums, F32x16 scale, F32x16 offset,
                             const std::uint8_t* row_scale, F32x16& f) {
  F32x16 t = load_f32(reinterpret_cast<const float*>(sums));
  asm("vfmadd213ps %[offset], %[scale], %[t]\n\t"
      "vfmadd231ps %[row]%{1to16%}, %[t], %[f]"
      : [t] "+v"(t), [f] "+v"(f)
      : [scale] "v"(scale), [offset] "v"(offset),
        [row] "m"(*reinterpret_cast<const float*>(row_scale)));
}

SPATE_KERNEL void scale_step(const Int8Tile& t, const Int8Sums& s, std::int64_t step,
                             F32x16 (&f)[kAmxRows]) {
  const F32x16 scale = load_f32(t.scales + step * 32);
  const F32x16 offset = mul(scale, set1_f32(-kMagicValue));
  const std::uint8_t* row_scale = t.row_scales + step * 4;
  const std::int32_t* sums = s.steps[step & 3][0];
  SPATE_UNROLL
  for (int r = 0; r < kAmxRows; ++r) {
    scale_sums(sums + r * 16, scale, offset, row_scale, f[r]);
    row_scale += t.row_stride;
  }
}

/// What the next slice and the next rows will need.
SPATE_KERNEL void prefetch_step(const Int8Tile& t, std::int64_t step) {
  const std::uint8_t* ahead = t.ahead + step * t.ahead_lines * kLine;
  for (std::int64_t i = 0; i < t.ahead_lines; ++i) prefetch_l2(ahead + i * kLine);
  const std::uint8_t* row = t.next_rows + (step % kAmxRows) * t.row_stride;
  SPATE_UNROLL
  for (int i = 0; i < kAmxSliceSteps * kStep / kLine / 2; ++i) prefetch(row + i * kLine);
}

/// An even number of steps, products two steps ahead of the scaling.
static inline void int8_step_pairs(const Int8Tile& t, Int8Sums& s) {
  F32x16 f[kAmxRows];
  SPATE_UNROLL
  for (int r = 0; r < kAmxRows; ++r) {
    f[r] = t.first ? set1_f32(0.0F) : load_f32(t.sums + r * t.sum_stride);
  }
  multiply_step<0>(t, s, 0);
  multiply_step<1>(t, s, 1);
  _tile_stored(0, s.steps[0], 64);
  const std::int64_t n = t.n_steps & ~std::int64_t{1};
  std::int64_t step = 0;
  for (; step + 2 < n; step += 2) {
    prefetch_step(t, step);
    multiply_step<0>(t, s, step + 2);
    _tile_stored(1, s.steps[(step + 1) & 3], 64);
    scale_step(t, s, step, f);
    prefetch_step(t, step + 1);
    multiply_step<1>(t, s, step + 3);
    _tile_stored(0, s.steps[(step + 2) & 3], 64);
    scale_step(t, s, step + 1, f);
  }
  prefetch_step(t, step);
  prefetch_step(t, step + 1);
  _tile_stored(1, s.steps[(step + 1) & 3], 64);
  scale_step(t, s, step, f);
  scale_step(t, s, step + 1, f);
  SPATE_UNROLL
  for (int r = 0; r < kAmxRows; ++r) {
    store_f32(t.sums + r * t.sum_stride, f[r]);
  }
}

/// The last of an odd number of steps.
static inline void int8_odd_step(const Int8Tile& t, Int8Sums& s) {
  const std::int64_t step = t.n_steps - 1;
  prefetch_step(t, step);
  multiply_step<0>(t, s, step);
  _tile_stored(0, s.steps[0], 64);
  const F32x16 scale = load_f32(t.scales + step * 32);
  const F32x16 offset = mul(scale, set1_f32(-kMagicValue));
  for (std::int64_t r = 0; r < kAmxRows; ++r) {
    float* to = t.sums + r * t.sum_stride;
    F32x16 f = t.first && step == 0 ? set1_f32(0.0F) : load_f32(to);
    scale_sums(s.steps[0][r], scale, offset, t.row_scales + step * 4 + r * t.row_stride, f);
    store_f32(to, f);
  }
}

static inline void int8_tile_amx(const Int8Tile& t, Int8Sums& s) {
  if (t.n_steps > 1) int8_step_pairs(t, s);
  if (t.n_steps % 2 != 0) int8_odd_step(t, s);
  if (t.factor == 1.0F) return;
  for (std::int64_t r = 0; r < kAmxRows; ++r) {
    float* to = t.sums + r * t.sum_stride;
    store_f32(to, mul(load_f32(to), set1_f32(t.factor)));
  }
}

template <PanelFormat F>
static inline void int8_slice_amx(const MultiplyArgs& a, std::int64_t step, std::int64_t n_steps,
                                  const Int8Slice& slice, Int8Sums& sums) {
  constexpr std::int64_t kLines = step_bytes(F) / kLine;
  const std::int64_t n_tiles = a.n_rows / kAmxRows;
  const std::int64_t lines = (kLines + 2 * n_tiles - 1) / (2 * n_tiles);
  const bool last = step + n_steps == steps_of(a.k);
  const std::uint8_t* ahead = a.panel + (step + n_steps) * step_bytes(F);
  for (std::int64_t i = 0; i < 2 * n_tiles; ++i) {
    const std::int64_t row = i / 2 * kAmxRows;
    const std::int64_t half = i % 2;
    const std::uint8_t* rows = a.rows + row * a.row_stride;
    const std::int64_t next = i + 2 < 2 * n_tiles ? kAmxRows * a.row_stride : 0;
    int8_tile_amx({.weights = slice.weights[0][half],
                   .scales = slice.scales[0] + half * 16,
                   .rows = rows + step * kStep,
                   .row_scales = rows + row_scales_offset(a.k) + step * 4,
                   .row_stride = a.row_stride,
                   .n_steps = n_steps,
                   .sums = a.sums + row * a.sum_stride + half * 16,
                   .sum_stride = a.sum_stride,
                   .first = step == 0,
                   .factor = F == PanelFormat::kQ4 && half == 1 && last ? 0.0625F : 1.0F,
                   .ahead = ahead + i * lines * n_steps * kLine,
                   .ahead_lines = i * lines < kLines ? lines : 0,
                   .next_rows = rows + next + step * kStep + half * (kAmxSliceSteps * kStep / 2)},
                  sums);
  }
}

/// A multiple of 16 rows.
template <PanelFormat F>
static void multiply_panel_tiles(const MultiplyArgs& a) {
  TileConfig config;
  for (int i = 0; i < 2; ++i) {
    configure(config, i, kAmxRows, 64);
    configure(config, 4 + i, kAmxRows, kStep);
    configure(config, 6 + i, kStep / 4, 64);
  }
  memory_is_read();
  _tile_loadconfig(&config);
  Int8Slice slice;
  Int8Sums sums;
  store_i32(sums.magic, set1_i32(kMagic));
  const std::int64_t n_steps = steps_of(a.k);
  for (std::int64_t s = 0; s < n_steps; s += kAmxSliceSteps) {
    const std::int64_t n = n_steps - s < kAmxSliceSteps ? n_steps - s : kAmxSliceSteps;
    prepare_slice<F>(a.panel + s * step_bytes(F), n, slice);
    memory_is_read();
    int8_slice_amx<F>(a, s, n, slice, sums);
  }
  _tile_release();
}

/// Whole tiles of rows by tiles, the rest by vectors.
template <PanelFormat F>
static void multiply_panel_int8_amx(const MultiplyArgs& a) {
  MultiplyArgs part = a;
  part.n_rows = a.n_rows / kAmxRows * kAmxRows;
  multiply_panel_tiles<F>(part);
  part.rows += part.n_rows * a.row_stride;
  part.sums += part.n_rows * a.sum_stride;
  part.n_rows = a.n_rows - part.n_rows;
  if (part.n_rows > 0) multiply_panel<F>(part);
}

template <PanelFormat F>
static void multiply_panels_int8_amx(const MultiplyArgs& a) {
  // Rows that pay for the conversion of the weights; with 16 of q8 memory is what counts.
  constexpr std::int64_t kWorthTiles = F == PanelFormat::kQ4 ? 16 : 32;
  if (a.n_rows < kWorthTiles) return multiply_panels<F>(a);
  each_panel(F, a, [](const MultiplyArgs& one) { multiply_panel_int8_amx<F>(one); });
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
