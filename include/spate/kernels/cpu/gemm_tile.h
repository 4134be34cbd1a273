// Register tiles: a few rows times the columns of one panel, or of panels side by side.
#pragma once

#include <cstddef>

#include "spate/kernels/cpu/arguments.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// One register tile over `n_steps` steps of k. Its vectors of 16 columns are two of one panel, or
/// one, or two each of panels side by side.
struct TileArgs {
  const std::uint8_t* weights;
  const std::uint8_t* rows;
  // int8 only: of the first row's first group
  const std::uint8_t* scales;
  const std::uint8_t* starts_8;
  const std::uint8_t* starts_128;
  std::int64_t row_stride;
  std::int64_t n_steps;
  float* sums;
  std::int64_t sum_stride;
  bool first;  // starts from zero, not from `sums`
  bool last;
  const std::uint8_t* ahead;      // weights that will be wanted soon
  std::int64_t ahead_lines;       // to prefetch per step
  bool ahead_to_l2 = false;       // no further
  std::int64_t panel_stride = 0;  // from panel to panel where there are several
};

/// One step of 32 k in bf16 pairs.
template <int R, int V>
SPATE_KERNEL void step_bf16(const TileArgs& a, const std::uint8_t* w, const std::uint8_t* x,
                            F32x16 (&f)[R][V]) {
#pragma GCC unroll 2
  for (int pair = 0; pair < kStep / 2; ++pair) {
    I32x16 weights[V];
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      weights[v] = load_i32(w + v / 2 * a.panel_stride + pair * 128 + v % 2 * 64);
    }
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const I32x16 value = broadcast4(x + r * a.row_stride + pair * 4);
      SPATE_UNROLL
      for (int v = 0; v < V; ++v) f[r][v] = dot2(f[r][v], weights[v], value);
    }
  }
}

/// The weights of one k of the formats whose rows are f32.
template <PanelFormat F>
SPATE_KERNEL F32x16 wide_weights(const std::uint8_t* w, int k, int v) {
  if constexpr (F == PanelFormat::kF32) return as_f32(load_i32(w + k * 128 + v * 64));
  if constexpr (F == PanelFormat::kF16) return load_f16(w + k * 64 + v * 32);
  const I32x16 pair = load_i32(w + k / 2 * 128 + v * 64);
  return k % 2 == 0 ? low_bf16(pair) : high_bf16(pair);
}

template <PanelFormat F, int R, int V>
SPATE_KERNEL void step_f32(const TileArgs& a, const std::uint8_t* w, const std::uint8_t* x,
                           F32x16 (&f)[R][V]) {
#pragma GCC unroll 2
  for (int k = 0; k < kStep; ++k) {
    F32x16 weights[V];
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      weights[v] = wide_weights<F>(w + v / 2 * a.panel_stride, k, v % 2);
    }
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const F32x16 value = as_f32(broadcast4(x + r * a.row_stride + k * 4));
      SPATE_UNROLL
      for (int v = 0; v < V; ++v) f[r][v] = fma(weights[v], value, f[r][v]);
    }
  }
}

/// Where the 16 columns of vector `v` of a quad of k lie, as bytes to multiply.
template <PanelFormat F>
SPATE_KERNEL I32x16 quad_weights(const std::uint8_t* w, int quad, int v) {
  if constexpr (F == PanelFormat::kQ8) return load_i32(w + quad * 128 + v * 64);
  const I32x16 both = load_i32(w + quad * 64);
  return v == 0 ? low_nibbles(both) : high_nibbles(both);
}

/// Where the integer accumulator of a row's group starts, for vector v of a panel.
template <PanelFormat F>
SPATE_KERNEL I32x16 integer_start(const TileArgs& a, std::int64_t at, int v) {
  if (F == PanelFormat::kQ8 && !kQ8OffsetInStart) return set1_i32(kMagic);
  const bool wide = F == PanelFormat::kQ8 || (v % 2 == 1 && kHighNibbleShift != 0);
  return broadcast4((wide ? a.starts_128 : a.starts_8) + at);
}

/// Per group: the integer products, then sum * scale as one fused operation (exact but for its one
/// rounding, since kMagicValue * scale is a float), then one fused addition with the row's scale,
/// in this order everywhere.
template <PanelFormat F, int R, int V>
SPATE_KERNEL void step_int8(const TileArgs& a, const std::uint8_t* w, std::int64_t step,
                            int first_vector, F32x16 (&f)[R][V]) {
  const std::uint8_t* x = a.rows + step * kStep;
  const std::int64_t stride = a.row_stride;
  I32x16 sums[R][V];
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      sums[r][v] = integer_start<F>(a, r * stride + step * 4, v + first_vector);
    }
  }
  SPATE_UNROLL
  for (int quad = 0; quad < kStep / 4; ++quad) {
    I32x16 weights[V];
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      weights[v] = quad_weights<F>(w + v / 2 * a.panel_stride, quad, (v + first_vector) % 2);
    }
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const I32x16 value = broadcast4(x + r * stride + quad * 4);
      SPATE_UNROLL
      for (int v = 0; v < V; ++v) {
        sums[r][v] = F == PanelFormat::kQ8 ? dot4_q8(sums[r][v], weights[v], value)
                                           : dot4_nibbles(sums[r][v], weights[v], value);
      }
    }
  }
  F32x16 scales[V];
  F32x16 offsets[V];
  SPATE_UNROLL
  for (int v = 0; v < V; ++v) {
    const std::uint8_t* end = w + v / 2 * a.panel_stride + step_bytes(F);
    scales[v] = load_f16(end - 64 + (v + first_vector) % 2 * 32);
    offsets[v] = mul(scales[v], set1_f32(-kMagicValue));
  }
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const F32x16 scale = as_f32(broadcast4(a.scales + r * stride + step * 4));
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      f[r][v] = fma(fma(as_f32(sums[r][v]), scales[v], offsets[v]), scale, f[r][v]);
    }
  }
}

/// R rows by V vectors of 16 columns, from vector `first_vector` of the (first) panel on.
template <PanelFormat F, int R, int V>
static inline void tile(const TileArgs& a, int first_vector) {
  F32x16 f[R][V];
  float* sums = a.sums + first_vector * 16;
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      f[r][v] = a.first ? set1_f32(0.0F) : load_f32(sums + r * a.sum_stride + v * 16);
    }
  }
  const std::uint8_t* w = a.weights;
  const std::uint8_t* ahead = a.ahead;
  for (std::int64_t s = 0; s < a.n_steps; ++s, w += step_bytes(F)) {
    for (std::int64_t i = 0; i < a.ahead_lines; ++i, ahead += kLine) {
      if (a.ahead_to_l2) {
        prefetch_l2(ahead);
        continue;
      }
      SPATE_UNROLL
      for (int p = 0; p < (V + 1) / 2; ++p) prefetch(ahead + p * a.panel_stride);
    }
    const std::uint8_t* x = a.rows + s * row_step_bytes(row_kind(F));
    if constexpr (row_kind(F) == RowKind::kInt8) {
      step_int8<F>(a, w, s, first_vector, f);
    } else if constexpr (F == PanelFormat::kBF16) {
      step_bf16(a, w + first_vector * 64, x, f);
    } else {
      step_f32<F>(a, w + first_vector * (F == PanelFormat::kF16 ? 32 : 64), x, f);
    }
  }
  const bool shrink = F == PanelFormat::kQ4 && kHighNibbleShift != 0 && a.last;
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    SPATE_UNROLL
    for (int v = 0; v < V; ++v) {
      if (shrink && (v + first_vector) % 2 == 1) f[r][v] = mul(f[r][v], set1_f32(0.0625F));
      store_f32(sums + r * a.sum_stride + v * 16, f[r][v]);
    }
  }
}

/// Steps of k per slice: 16 to 18 KB of weights, which stay in the L1 cache while all rows of a
/// block pass over them.
template <PanelFormat F>
inline constexpr std::int64_t kSliceSteps = F == PanelFormat::kF32          ? 4
                                            : row_kind(F) == RowKind::kInt8 ? 16
                                                                            : 8;

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
