// Rows times panels of 32 columns: sums[r][c] = sum over k of row[r][k] * weight[k][c].
//
// Every output element is one chain over k in ascending order, in one accumulator, so its bits
// depend on neither the number of rows, nor the tile that computed it, nor the slices of k: between
// slices the f32 sums are stored and loaded again, which is exact. Register tiles differ only in
// how many independent chains they carry.
#pragma once

#include "spate/kernels/cpu/gemm_tile.h"
#if defined(__AVX2__) && !defined(__AVX512F__)
#include "spate/kernels/cpu/gemm_tile_avx2.h"
#endif

namespace spate::kernels::cpu::SPATE_CPU_ISA {

template <PanelFormat F>
inline constexpr int kTileRows = row_kind(F) == RowKind::kInt8 ? kTileRowsInt8 : kTileRowsFloat;

/// R rows by the 32 columns of a panel.
template <PanelFormat F, int R>
SPATE_KERNEL void whole_tile(const TileArgs& a) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (kHasOwnTile<F>) return own_tile<F, R>(a);
#endif
  for (int v = 0; v < 2; v += kTileVectors) tile<F, R, kTileVectors>(a, v);
}

/// The tile with `n_rows` rows, at most R.
template <PanelFormat F, int R = kTileRows<F>>
static inline void tile_of_rows(std::int64_t n_rows, const TileArgs& a) {
  if (n_rows == R) return whole_tile<F, R>(a);
  if constexpr (R > 1) tile_of_rows<F, R - 1>(n_rows, a);
}

/// While the tiles of one slice run, they share the prefetch of the next one: it lies too far
/// ahead for the hardware, which only sees the same lines read again and again. This is what lets
/// 8 and 16 rows overlap memory and arithmetic. A processor with good prefetchers of its own is
/// left alone while one tile takes all rows, and otherwise called into its L2 cache (Zen 4, shares
/// of a plain read by two threads: one row of q8 0.99 instead of 0.83, of q4 0.96 instead of 0.75;
/// 8 rows of q8 0.88 instead of 0.70).
template <PanelFormat F>
static inline void multiply_panel(const MultiplyArgs& a) {
  constexpr std::int64_t kLines = step_bytes(F) / kLine;
  const std::int64_t n_steps = steps_of(a.k);
  const std::int64_t n_tiles = (a.n_rows + kTileRows<F> - 1) / kTileRows<F>;
  const std::int64_t lines = (kLines + n_tiles - 1) / n_tiles;
  const bool calls = n_tiles > 1 || !a.own_prefetch;
  for (std::int64_t s = 0; s < n_steps; s += kSliceSteps<F>) {
    const std::int64_t left = n_steps - s;
    const std::int64_t n = left < kSliceSteps<F> ? left : kSliceSteps<F>;
    const std::uint8_t* slice = a.panel + s * step_bytes(F);
    std::int64_t row = 0;
    for (std::int64_t t = 0; t < n_tiles; ++t) {
      const std::int64_t rows = (a.n_rows - row) / (n_tiles - t);
      const std::uint8_t* first = a.rows + row * a.row_stride;
      tile_of_rows<F>(rows, {.weights = slice,
                             .rows = first + s * row_step_bytes(row_kind(F)),
                             .scales = first + row_scales_offset(a.k) + s * 4,
                             .starts_8 = first + row_starts_8_offset(a.k) + s * 4,
                             .starts_128 = first + row_starts_128_offset(a.k) + s * 4,
                             .row_stride = a.row_stride,
                             .n_steps = n,
                             .sums = a.sums + row * a.sum_stride,
                             .sum_stride = a.sum_stride,
                             .first = s == 0,
                             .last = s + n == n_steps,
                             .ahead = slice + n * step_bytes(F) + t * n * lines * kLine,
                             .ahead_lines = calls && t * lines < kLines ? lines : 0,
                             .ahead_to_l2 = a.own_prefetch});
      row += rows;
    }
  }
}

/// Up to so many rows wait for memory, not for arithmetic.
inline constexpr std::int64_t kFewRows = 4;

#if defined(__AVX2__) && !defined(__AVX512F__)
/// Measured on Zen 3, as shares of a plain read by two threads, one row: its own prefetchers serve
/// the short steps of q8 and q4 better alone (0.9 instead of 0.75), the long ones worse (0.4).
template <PanelFormat F>
inline constexpr bool kCallsAhead = row_kind(F) != RowKind::kInt8;
/// And bf16 reads two streams faster than four (0.89 instead of 0.77).
template <PanelFormat F>
inline constexpr std::int64_t kMostStreams = F == PanelFormat::kBF16 ? 2 : 4;
#else
template <PanelFormat F>
inline constexpr bool kCallsAhead = true;
template <PanelFormat F>
inline constexpr std::int64_t kMostStreams = 4;
#endif

/// What a stream of panels side by side will want some steps from now: its panel's, or the next
/// one's.
template <PanelFormat F>
SPATE_KERNEL const std::uint8_t* ahead_of(const MultiplyArgs& a, const std::uint8_t* panel,
                                          std::int64_t step) {
  constexpr std::int64_t kAhead = step_bytes(F) < 2048 ? 2 : 1;
  if (step + kAhead >= steps_of(a.k)) panel += (a.n_panels - 1) * panel_bytes(F, a.k);
  return panel + (step + kAhead) * step_bytes(F);
}

/// One step of P panels from `panel` on.
template <PanelFormat F, int R, int P>
SPATE_KERNEL void step_side_by_side(const MultiplyArgs& a, std::int64_t s, std::int64_t panel) {
  const std::int64_t stride = panel_bytes(F, a.k);
  const std::uint8_t* first = a.panel + panel * stride;
  const TileArgs args{.weights = first + s * step_bytes(F),
                      .rows = a.rows + s * row_step_bytes(row_kind(F)),
                      .scales = a.rows + row_scales_offset(a.k) + s * 4,
                      .starts_8 = a.rows + row_starts_8_offset(a.k) + s * 4,
                      .starts_128 = a.rows + row_starts_128_offset(a.k) + s * 4,
                      .row_stride = a.row_stride,
                      .n_steps = 1,
                      .sums = a.sums + panel * kColumns,
                      .sum_stride = a.sum_stride,
                      .first = s == 0,
                      .last = s + 1 == steps_of(a.k),
                      .ahead = ahead_of<F>(a, first, s),
                      .ahead_lines = kCallsAhead<F> ? step_bytes(F) / kLine : 0,
                      .panel_stride = stride};
  if constexpr (P > 1) return tile<F, R, 2 * P>(args, 0);
  if constexpr (row_kind(F) == RowKind::kInt8) return whole_tile<F, R>(args);
  for (int v = 0; v < 2; v += kTileVectors) tile<F, R, kTileVectors>(args, v);
}

/// Panels that advance together, as far as registers suffice; the others take turns, step by step.
template <int R>
inline constexpr int kPanelsTogether = kTileVectors == 1 ? 1
                                       : R == 1          ? 4
                                       : R == 2          ? 2
                                                         : 1;

/// The hardware's prefetcher begins anew in every page of 4 KiB. One stream waits for memory there,
/// where four side by side read 1.2 to 1.7 times as fast (measured on Sapphire Rapids).
template <PanelFormat F, int R = kFewRows>
static inline void multiply_side_by_side(const MultiplyArgs& a) {
  if constexpr (R > 1) {
    if (a.n_rows < R) return multiply_side_by_side<F, R - 1>(a);
  }
  constexpr int kTogether = kPanelsTogether<R>;
  for (std::int64_t s = 0; s < steps_of(a.k); ++s) {
    std::int64_t p = 0;
    for (; p + kTogether <= a.n_panels; p += kTogether) step_side_by_side<F, R, kTogether>(a, s, p);
    for (; p < a.n_panels; ++p) step_side_by_side<F, R, 1>(a, s, p);
  }
}

/// f(arguments of up to `most` panels) until all have had their turn.
template <class Multiply>
SPATE_KERNEL void each_panels(PanelFormat format, const MultiplyArgs& a, std::int64_t most,
                              Multiply multiply) {
  MultiplyArgs some = a;
  for (std::int64_t p = 0; p < a.n_panels; p += most) {
    some.n_panels = a.n_panels - p < most ? a.n_panels - p : most;
    multiply(some);
    some.panel += most * panel_bytes(format, a.k);
    some.sums += most * kColumns;
  }
}

/// f(arguments of one panel) for each.
template <class Multiply>
SPATE_KERNEL void each_panel(PanelFormat format, const MultiplyArgs& a, Multiply multiply) {
  each_panels(format, a, 1, multiply);
}

template <PanelFormat F>
static inline void multiply_panels(const MultiplyArgs& a) {
  if (a.n_panels > 1 && a.n_rows <= kFewRows && !a.own_prefetch) {
    return each_panels(F, a, kMostStreams<F>,
                       [](const MultiplyArgs& some) { multiply_side_by_side<F>(some); });
  }
  each_panel(F, a, [](const MultiplyArgs& one) { multiply_panel<F>(one); });
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
