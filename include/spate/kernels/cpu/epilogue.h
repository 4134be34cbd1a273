// What happens to a finished tile of sums, [rows][32] f32 in the cache, before it leaves it.
#pragma once

#include "spate/kernels/cpu/activation.h"
#include "spate/kernels/cpu/arguments.h"
#include "spate/kernels/cpu/rows.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

static inline void store_tile(const StoreArgs& a) {
  const int n_lo = a.n_columns < 16 ? static_cast<int>(a.n_columns) : 16;
  const int n_hi = static_cast<int>(a.n_columns) - n_lo;
  for (std::int64_t r = 0; r < a.n_rows; ++r) {
    F32x16 lo = load_f32(a.sums + r * a.sum_stride);
    F32x16 hi = load_f32(a.sums + r * a.sum_stride + 16);
    float* out = a.out + r * a.out_stride;
    if (a.bias != nullptr) {
      lo = add(lo, load_f32_first(a.bias, n_lo));
      hi = add(hi, load_f32_first(a.bias + 16, n_hi));
    }
    if (a.add) {
      lo = add(load_f32_first(out, n_lo), lo);
      hi = add(load_f32_first(out + 16, n_hi), hi);
    }
    store_f32_first(out, lo, n_lo);
    if (n_hi > 0) store_f32_first(out + 16, hi, n_hi);
  }
}

/// 16 sums with their bias.
SPATE_KERNEL F32x16 biased(const ActivateArgs& a, std::int64_t row, int column) {
  const F32x16 x = load_f32(a.sums + row * a.sum_stride + column);
  return a.bias == nullptr ? x : add(x, load_f32(a.bias + column));
}

static inline void activate_tile(const ActivateArgs& a) {
  for (std::int64_t r = 0; r < a.n_rows; ++r) {
    F32x16 lo = activated(a.kind, biased(a, r, 0));
    F32x16 hi = activated(a.kind, biased(a, r, 16));
    if (a.gated) {
      lo = mul(lo, biased(a, r, 32));
      hi = mul(hi, biased(a, r, 48));
    }
    pack_group(a.next, lo, hi, a.rows + r * a.row_stride, a.next_k, a.group);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
