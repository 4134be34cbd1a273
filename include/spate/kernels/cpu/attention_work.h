// One task of attention at work: its rows' queries and the keys each row sees, tiles of keys, and
// the softmax state they are collected in.
#pragma once

#include "spate/kernels/cpu/attention_task.h"
#include "spate/kernels/cpu/simd.h"
#include "spate/kernels/cpu/softmax.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

inline constexpr float kLog2e = 1.44269504F;

/// Bytes of a probability.
SPATE_KERNEL constexpr std::int64_t weight_bytes(KvFormat format) {
  return format == KvFormat::kInt8 ? 1 : format == KvFormat::kBF16 ? 2 : 4;
}

/// Products with the cache by vectors; another way to compute them is in attention_amx.h.
template <KvFormat kCache>
struct Vectors {
  static constexpr KvFormat kFormat = kCache;
  static constexpr bool kScoresEarly = false;
};

/// Tasks of so few rows have room for the scores of two tiles, which some ways to compute want.
inline constexpr std::int64_t kRowsScoredEarly = kTaskRows / 2;

template <class Kernel>
SPATE_KERNEL bool scores_early(const AttentionTask& task) {
  return Kernel::kScoresEarly && task.rows <= kRowsScoredEarly;
}

/// One task at work.
template <class Kernel>
struct Attention {
  const AttentionTask& task;
  AttentionScratch s;
  std::int64_t padded = 0;
  std::int64_t query_bytes = 0;        // of a row in s.queries
  mutable std::int64_t tile_rows = 0;  // that matrix registers are configured for

  /// The rows that see keys of [begin, end): rows ascend in position, so they are neighbours.
  struct RowRange {
    std::int64_t begin, end;
  };
};

/// bf16 to int8 with one scale.
SPATE_KERNEL void quantize_query(const std::byte* q, std::int64_t dim, std::int8_t* to,
                                 float* scale, std::int32_t* start) {
  float wide[kMaxHeadDim];
  for (std::int64_t d = 0; d < dim; ++d) {
    std::uint16_t h = 0;
    std::memcpy(&h, q + 2 * d, 2);
    wide[d] = kv_detail::widened_bf16(h);
  }
  const kv_detail::Int8Scale s = kv_detail::int8_scale(wide, dim);
  std::int32_t sum = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    to[d] = static_cast<std::int8_t>(kv_detail::to_int8(wide[d], s.inverse));
    sum += to[d];
  }
  *scale = s.scale;
  *start = -128 * sum;
}

template <class Kernel>
static void load_queries(Attention<Kernel>& a) {
  const AttentionTask& task = a.task;
  const std::int64_t dim = task.layout.head_dim;
  const std::int64_t source_bytes =
      dim * (Kernel::kFormat == KvFormat::kBF16 || Kernel::kFormat == KvFormat::kInt8 ? 2 : 4);
  for (std::int64_t r = 0; r < task.rows; ++r) {
    a.s.last[r] = static_cast<std::int32_t>(task.position(r));
    a.s.first[r] = static_cast<std::int32_t>(task.first_key(r));
    const std::int64_t i = task.first_row + r;
    const std::byte* q =
        task.queries + i / task.group * task.query_row_bytes + i % task.group * source_bytes;
    std::byte* to = a.s.queries + r * a.query_bytes;
    if constexpr (Kernel::kFormat == KvFormat::kInt8) {
      quantize_query(q, dim, reinterpret_cast<std::int8_t*>(to), a.s.query_scales + r,
                     a.s.query_starts + r);
    } else {
      std::memcpy(to, q, static_cast<std::size_t>(source_bytes));
    }
  }
}

template <class Kernel>
static typename Attention<Kernel>::RowRange rows_seeing(const Attention<Kernel>& a,
                                                        std::int64_t begin, std::int64_t end) {
  std::int64_t first = 0;
  while (first < a.task.rows && a.s.last[first] < begin) ++first;
  std::int64_t stop = a.task.rows;
  while (stop > first && a.s.first[stop - 1] >= end) --stop;
  return {first, stop};
}

/// The rows of one tile of keys and where the tile lies.
struct KeyTile {
  const std::byte* block = nullptr;
  const std::byte* next = nullptr;    // the block that comes after, or null
  const std::byte* values = nullptr;  // the block's value panels, or a copy of them
  std::int64_t first_key = 0;
  std::int64_t begin = 0;  // rows
  std::int64_t end = 0;
  float* scores = nullptr;  // [rows][64]
};

template <class Kernel>
static Attention<Kernel> begin_task(const AttentionTask& task, float* scratch) {
  Attention<Kernel> a{.task = task, .s = attention_scratch(task.layout, scratch)};
  a.padded = task.layout.padded_dim();
  a.query_bytes = task.layout.head_dim / task.layout.interleave() * 4;
  load_queries(a);
  return a;
}

/// Forgets rows [begin, end).
SPATE_KERNEL void clear_state(const AttentionState& state, std::int64_t padded, std::int64_t begin,
                              std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) state.maxima[r] = kNoScore;
  std::memset(state.sums + begin * 16, 0, static_cast<std::size_t>((end - begin) * 64));
  std::memset(state.values + begin * padded, 0,
              static_cast<std::size_t>((end - begin) * padded * 4));
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
