// The ceiling of Intel's matrix registers (AMX), as in peaks.h: four independent sums, which is
// what hides the latency of a product.
#pragma once

#include "spate/kernels/cpu/gemm_amx.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// Zeroes eight tiles; the last two have so many rows, and four to seven rows of so many bytes.
static inline void zero_tiles(int last_rows, int row_bytes) {
  TileConfig config;
  for (int i = 0; i < 4; ++i) configure(config, i, 16, 64);
  for (int i = 4; i < 6; ++i) configure(config, i, 16, row_bytes);
  for (int i = 6; i < 8; ++i) configure(config, i, last_rows, 64);
  memory_is_read();
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

/// n rounds of four products of tiles, [16, 32] times [32, 16]; returns operations.
static inline double bf16_rounds_amx(std::int64_t n) {
  zero_tiles(16, 64);
  for (std::int64_t i = 0; i < n; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return static_cast<double>(n) * 4 * (2.0 * 16 * 16 * 32);
}

/// The same in int8. A group of 32 has scales of its own, so tiles are half as deep as they could
/// be, as in gemm_amx_int8.h.
static inline double int8_rounds_amx(std::int64_t n) {
  zero_tiles(8, 32);
  for (std::int64_t i = 0; i < n; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  return static_cast<double>(n) * 4 * (2.0 * 16 * 16 * 32);
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
