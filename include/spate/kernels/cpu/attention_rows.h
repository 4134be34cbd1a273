// Rows of attention, cut into register tiles.
#pragma once

#include "spate/kernels/cpu/attention_tile.h"
#include "spate/kernels/cpu/attention_tile_halves.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// One of the instances for 1 .. kTileRowsFloat rows.
template <KvFormat kFormat, bool kAdd, int R = kTileRowsFloat>
SPATE_KERNEL void run_tile(std::int64_t rows, const KvTile& t, const Int8Scales& scales) {
  if (rows == R) {
    if constexpr (kFormat == KvFormat::kInt8) {
      return int8_tile<kAdd, R>(t, scales);
    } else if constexpr (kByHalves<R>) {
      return float_tile_by_halves<kFormat, kAdd, R>(t);
    } else {
      return float_tile<kFormat, kAdd, R>(t);
    }
  }
  if constexpr (R > 1) run_tile<kFormat, kAdd, R - 1>(rows, t, scales);
}

/// Cuts [begin, end) into as few tiles as possible of nearly equal height; f(first, rows).
template <class F>
SPATE_KERNEL void each_tile(std::int64_t begin, std::int64_t end, F f) {
  for (std::int64_t n = (end - begin + kTileRowsFloat - 1) / kTileRowsFloat; n > 0; --n) {
    const std::int64_t rows = (end - begin) / n;
    f(begin, rows);
    begin += rows;
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
