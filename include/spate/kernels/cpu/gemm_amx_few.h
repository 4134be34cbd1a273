// A few bf16 rows times panels: the arithmetic of the tile instruction done by vectors, bit for
// bit. A tile of one row waits for each line of weights that it loads, and has no room for four
// panels side by side.
//
// TDPBF16PS (Intel's instruction set reference): per 32 k two chains of fused multiply-adds from
// zero, one over the even k and one over the odd, then sum += even + odd; denormals count as zero.
#pragma once

#include "spate/kernels/cpu/gemm_amx.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// Denormals are zero, as for the tile instruction whatever MXCSR says.
class NoDenormals {
 public:
  [[gnu::always_inline]] NoDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040U); }
  [[gnu::always_inline]] ~NoDenormals() { _mm_setcsr(saved_); }
  NoDenormals(const NoDenormals&) = delete;
  NoDenormals& operator=(const NoDenormals&) = delete;

 private:
  unsigned saved_;
};

/// One step of P panels: sums[R][P * 32] are loaded and stored, which is exact.
template <int R, int P>
SPATE_KERNEL void few_rows_step(const MultiplyArgs& a, const std::uint8_t* panel, std::int64_t s,
                                float* sums) {
  const std::int64_t stride = panel_bytes(PanelFormat::kBF16, a.k);
  const std::uint8_t* w = panel + s * step_bytes(PanelFormat::kBF16);
  const std::uint8_t* x = a.rows + s * row_step_bytes(RowKind::kBF16);
  const std::uint8_t* ahead = ahead_of<PanelFormat::kBF16>(a, panel, s);
  F32x16 even[R][2 * P];
  F32x16 odd[R][2 * P];
  SPATE_UNROLL
  for (int i = 0; i < R * 2 * P; ++i) {
    even[i / (2 * P)][i % (2 * P)] = set1_f32(0.0F);
    odd[i / (2 * P)][i % (2 * P)] = set1_f32(0.0F);
  }
#pragma GCC unroll 2
  for (int pair = 0; pair < kStep / 2; ++pair) {
    SPATE_UNROLL
    for (int v = 0; v < 2 * P; ++v) {
      const std::int64_t at = v / 2 * stride + pair * 128 + v % 2 * 64;
      prefetch(ahead + at);
      const I32x16 weights = load_i32(w + at);
      SPATE_UNROLL
      for (int r = 0; r < R; ++r) {
        const I32x16 value = broadcast4(x + r * a.row_stride + pair * 4);
        even[r][v] = fma(low_bf16(weights), low_bf16(value), even[r][v]);
        odd[r][v] = fma(high_bf16(weights), high_bf16(value), odd[r][v]);
      }
    }
  }
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    SPATE_UNROLL
    for (int v = 0; v < 2 * P; ++v) {
      float* to = sums + r * a.sum_stride + v * 16;
      const F32x16 before = s == 0 ? set1_f32(0.0F) : load_f32(to);
      store_f32(to, add(before, add(even[r][v], odd[r][v])));
    }
  }
}

template <int R>
static inline void few_rows_bf16_amx(const MultiplyArgs& a) {
  constexpr int kTogether = kPanelsTogether<R>;
  const NoDenormals mode;
  const std::int64_t stride = panel_bytes(PanelFormat::kBF16, a.k);
  for (std::int64_t s = 0; s < steps_of(a.k); ++s) {
    std::int64_t p = 0;
    for (; p + kTogether <= a.n_panels; p += kTogether) {
      few_rows_step<R, kTogether>(a, a.panel + p * stride, s, a.sums + p * kColumns);
    }
    for (; p < a.n_panels; ++p)
      few_rows_step<R, 1>(a, a.panel + p * stride, s, a.sums + p * kColumns);
  }
}

static inline void multiply_panels_bf16_amx(const MultiplyArgs& a) {
  if (a.n_panels > 1 && a.n_rows == 1) return few_rows_bf16_amx<1>(a);
  if (a.n_panels > 1 && a.n_rows == 2) return few_rows_bf16_amx<2>(a);
  each_panel(PanelFormat::kBF16, a, [](const MultiplyArgs& one) { multiply_panel_bf16_amx(one); });
}

/// One step of 32 k: the checkpoint's rows are the first factor, 16 at a time, and a row of
/// activations is a column of the second.
template <int R>
SPATE_KERNEL void in_place_step(const InPlaceArgs& a, std::int64_t s) {
  const std::int64_t stride = a.k * 2;
  const std::uint8_t* w = a.columns + s * 2 * kStep;
  const std::uint8_t* x = a.rows + s * row_step_bytes(RowKind::kBF16);
  _tile_loadd(6, w, stride);
  _tile_loadd(7, w + 16 * stride, stride);
  _tile_loadd(4, x, 4);
  _tile_dpbf16ps(0, 6, 4);
  _tile_dpbf16ps(1, 7, 4);
  if constexpr (R == 2) {
    _tile_loadd(5, x + a.row_stride, 4);
    _tile_dpbf16ps(2, 6, 5);
    _tile_dpbf16ps(3, 7, 5);
  }
}

/// Products commute, and the chains are the same: so are the bits. 32 rows of weights are as many
/// streams through memory, read as fast as any.
template <int R>
static inline void in_place_rows(const InPlaceArgs& a) {
  TileConfig config;
  for (int i = 0; i < 6; ++i) configure(config, i, 16, 4);
  for (int i = 6; i < 8; ++i) configure(config, i, 16, 64);
  memory_is_read();
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::int64_t s = 0; s < a.k / kStep; ++s) in_place_step<R>(a, s);
  _tile_stored(0, a.sums, 4);
  _tile_stored(1, a.sums + 16, 4);
  if constexpr (R == 2) {
    _tile_stored(2, a.sums + a.sum_stride, 4);
    _tile_stored(3, a.sums + a.sum_stride + 16, 4);
  }
  _tile_release();
}

static inline void multiply_in_place_bf16_amx(const InPlaceArgs& a) {
  return a.n_rows == 1 ? in_place_rows<1>(a) : in_place_rows<2>(a);
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
