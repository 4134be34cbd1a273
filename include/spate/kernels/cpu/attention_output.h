// The end of attention: chunks are merged in ascending order, and rows are stored as f32 or packed
// for the next matrix.
#pragma once

#include "spate/kernels/cpu/attention_work.h"
#include "spate/kernels/cpu/rows.h"
#include "spate/kernels/cpu/softmax.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// total = total and part together; the same formula for every chunk, first to last.
template <class Kernel>
static void merge_chunk(const Attention<Kernel>& a, std::int64_t chunk,
                        const AttentionState& part) {
  const AttentionState& total = a.s.total;
  const auto rows = rows_seeing(a, chunk * kKvChunk, (chunk + 1) * kKvChunk);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const F32x16 m0 = set1_f32(total.maxima[r]);
    const F32x16 m1 = set1_f32(part.maxima[r]);
    const F32x16 top = max(m0, m1);
    const F32x16 f0 = exp2_below(sub(m0, top), kExp2Fine);
    const F32x16 f1 = exp2_below(sub(m1, top), kExp2Fine);
    const auto add_part = [&](float* to, const float* from) {
      store_f32(to, fma(f0, load_f32(to), mul(f1, load_f32(from))));
    };
    total.maxima[r] = total.maxima[r] > part.maxima[r] ? total.maxima[r] : part.maxima[r];
    add_part(total.sums + r * 16, part.sums + r * 16);
    for (std::int64_t d = 0; d < a.padded; d += 16) {
      add_part(total.values + r * a.padded + d, part.values + r * a.padded + d);
    }
  }
}

/// 16 values of a finished row. Adding zero turns -0, whose sign may depend on keys that another
/// batch skips, into +0.
SPATE_KERNEL F32x16 finished(const float* values, F32x16 sum) {
  return add(div(load_f32(values), sum), set1_f32(0.0F));
}

SPATE_KERNEL void store_packed_row(const AttentionTask& task, std::int64_t i, const float* values,
                                   F32x16 sum) {
  std::uint8_t* row = task.packed + i / task.group * task.packed_stride;
  const std::int64_t groups = task.layout.head_dim / kStep;
  const std::int64_t first = (task.first_head + i % task.group) * groups;
  for (std::int64_t g = 0; g < groups; ++g) {
    const float* from = values + g * kStep;
    pack_group(task.packed_kind, finished(from, sum), finished(from + 16, sum), row, task.packed_k,
               first + g);
  }
}

SPATE_KERNEL void store_row(const AttentionTask& task, std::int64_t i, const float* values,
                            F32x16 sum) {
  const std::int64_t dim = task.layout.head_dim;
  float* out = task.out + i / task.group * task.out_stride + i % task.group * dim;
  for (std::int64_t d = 0; d < dim; d += 16) {
    const std::int64_t n = dim - d < 16 ? dim - d : 16;
    store_f32_first(out + d, finished(values + d, sum), static_cast<int>(n));
  }
}

template <class Kernel>
static void store_rows(const Attention<Kernel>& a, const AttentionState& state) {
  const AttentionTask& task = a.task;
  for (std::int64_t r = 0; r < task.rows; ++r) {
    const F32x16 sum = set1_f32(reduce_add(load_f32(state.sums + r * 16)));
    const float* values = state.values + r * a.padded;
    if (task.packed != nullptr) {
      store_packed_row(task, task.first_row + r, values, sum);
    } else {
      store_row(task, task.first_row + r, values, sum);
    }
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
