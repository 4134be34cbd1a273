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

/// One step of one panel: sums[R][32] are loaded and stored, which is exact.
template <int R>
SPATE_KERNEL void few_rows_step(const std::uint8_t* w, const std::uint8_t* x, std::int64_t stride,
                                bool first, float* sums, std::int64_t sum_stride) {
  F32x16 even[R][2];
  F32x16 odd[R][2];
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    even[r][0] = even[r][1] = odd[r][0] = odd[r][1] = set1_f32(0.0F);
  }
#pragma GCC unroll 2
  for (int pair = 0; pair < kStep / 2; ++pair) {
    const I32x16 left = load_i32(w + pair * 128);
    const I32x16 right = load_i32(w + pair * 128 + 64);
    const F32x16 low[] = {low_bf16(left), low_bf16(right)};
    const F32x16 high[] = {high_bf16(left), high_bf16(right)};
    SPATE_UNROLL
    for (int r = 0; r < R; ++r) {
      const I32x16 value = broadcast4(x + r * stride + pair * 4);
      SPATE_UNROLL
      for (int v = 0; v < 2; ++v) {
        even[r][v] = fma(low[v], low_bf16(value), even[r][v]);
        odd[r][v] = fma(high[v], high_bf16(value), odd[r][v]);
      }
    }
  }
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    SPATE_UNROLL
    for (int v = 0; v < 2; ++v) {
      float* to = sums + r * sum_stride + v * 16;
      const F32x16 before = first ? set1_f32(0.0F) : load_f32(to);
      store_f32(to, add(before, add(even[r][v], odd[r][v])));
    }
  }
}

template <int R>
static inline void few_rows_bf16_amx(const MultiplyArgs& a) {
  constexpr PanelFormat kFormat = PanelFormat::kBF16;
  constexpr std::int64_t kBytes = step_bytes(kFormat);
  const NoDenormals mode;
  const std::int64_t n_steps = steps_of(a.k);
  for (std::int64_t s = 0; s < n_steps; ++s) {
    const std::uint8_t* panel = a.panel;
    for (std::int64_t p = 0; p < a.n_panels; ++p, panel += panel_bytes(kFormat, a.k)) {
      const std::uint8_t* ahead = ahead_of<kFormat>(a, panel, s);
      for (std::int64_t i = 0; i < kBytes; i += kLine) prefetch(ahead + i);
      few_rows_step<R>(panel + s * kBytes, a.rows + s * row_step_bytes(RowKind::kBF16),
                       a.row_stride, s == 0, a.sums + p * kColumns, a.sum_stride);
    }
  }
}

static inline void multiply_panels_bf16_amx(const MultiplyArgs& a) {
  switch (a.n_panels > 1 ? a.n_rows : 0) {
    case 1:
      return few_rows_bf16_amx<1>(a);
    case 2:
      return few_rows_bf16_amx<2>(a);
    case 3:
      return few_rows_bf16_amx<3>(a);
    case 4:
      return few_rows_bf16_amx<4>(a);
    default:
      each_panel(PanelFormat::kBF16, a,
                 [](const MultiplyArgs& one) { multiply_panel_bf16_amx(one); });
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
