// The end of a projection to queries, keys and values, for one head: bias, normalization, rotation,
// then either the scaled query or an append to the cache.
#pragma once

#include "spate/kernels/cpu/arguments.h"
#include "spate/kernels/cpu/kv_layout.h"
#include "spate/kernels/cpu/rope.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

static inline void add_bias(float* x, const float* bias, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) {
    const int lanes = n - i < 16 ? static_cast<int>(n - i) : 16;
    store_f32_first(x + i, add(load_f32_first(x + i, lanes), load_f32_first(bias + i, lanes)),
                    lanes);
  }
}

/// Rows from `row` on that follow each other inside one block of the cache.
static inline std::int64_t run_length(const HeadArgs& a, std::int64_t row) {
  std::int64_t n = 1;
  while (row + n < a.n_rows && a.places[row + n].block == a.places[row].block &&
         a.places[row + n].token == a.places[row].token + n) {
    ++n;
  }
  return n;
}

static inline void append_head(const HeadArgs& a) {
  for (std::int64_t r = 0; r < a.n_rows;) {
    const RowPlace& place = a.places[r];
    const std::int64_t n = run_length(a, r);
    const KvRows rows{a.sums + r * a.sum_stride, a.sum_stride};
    if (a.role == HeadRole::kKey) {
      append_keys(a.kv, place.block + a.kv_offset, place.token, n, rows);
    } else {
      append_values(a.kv, place.block + a.kv_offset, place.token, n, rows);
    }
    r += n;
  }
}

static inline void finish_head(const HeadArgs& a) {
  const std::int64_t head_dim = a.kv.head_dim;
  for (std::int64_t r = 0; r < a.n_rows; ++r) {
    float* x = a.sums + r * a.sum_stride;
    if (a.bias != nullptr) add_bias(x, a.bias, head_dim);
    if (a.norm.kind != NormKind::kNone) normalize_in_place(a.norm, x, head_dim);
    if (a.role != HeadRole::kValue && a.rotary > 0) rotate(x, a.places[r].rope, a.rotary);
    if (a.role == HeadRole::kQuery) {
      store_query(x, head_dim, a.query_scale, a.bf16_queries, a.queries + r * a.query_stride);
    }
  }
  if (a.role != HeadRole::kQuery) append_head(a);
}

/// A row of an embedding table as f32.
static inline void widen_row(Element element, const std::uint8_t* row, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; i += 16) {
    const std::int64_t left = n - i;
    alignas(64) std::uint8_t last[64] = {};
    const std::uint8_t* from = row + i * element_bytes(element);
    if (left < 16) {
      std::memcpy(last, from, static_cast<std::size_t>(left * element_bytes(element)));
      from = last;
    }
    F32x16 v = set1_f32(0.0F);
    if (element == Element::kF32) v = as_f32(load_i32(from));
    if (element == Element::kF16) v = load_f16(from);
    if (element == Element::kBF16) v = load_bf16(from);
    store_f32_first(out + i, v, left < 16 ? static_cast<int>(left) : 16);
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
