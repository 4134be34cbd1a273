// Scores of a tile of keys: queries times keys by vectors, then soft cap, slopes and the edges of
// what a row sees.
#pragma once

#include "spate/kernels/cpu/attention_rows.h"
#include "spate/kernels/cpu/attention_work.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// scores[r][key] for the rows and valid keys of the tile.
template <KvFormat kFormat>
static void score_tile(const Attention<Vectors<kFormat>>& a, const KeyTile& k) {
  const KvLayout& kv = a.task.layout;
  const std::int64_t keys = a.s.last[k.end - 1] + 1 - k.first_key;
  const std::int64_t halves = keys > kKvHalf ? 2 : 1;
  each_tile(k.begin, k.end, [&](std::int64_t r, std::int64_t n) {
    for (std::int64_t h = 0; h < halves; ++h) {
      const std::int64_t at = h * kv.key_panel_bytes();
      const KvTile tile{.panel = k.block + at,
                        .rows = a.s.queries + r * a.query_bytes,
                        .row_bytes = a.query_bytes,
                        .words = kv.head_dim / kv.interleave(),
                        .out = k.scores + r * kKvTokens + h * kKvHalf,
                        .out_stride = kKvTokens,
                        .prefetch = r == k.begin && k.next != nullptr ? k.next + at : nullptr};
      const auto* key_scales = reinterpret_cast<const float*>(k.block + kv.key_scale_offset());
      run_tile<kFormat, false>(n, tile,
                               {.rows = a.s.query_scales + r,
                                .row_start = a.s.query_starts + r,
                                .columns = key_scales + h * kKvHalf});
    }
  });
}

/// cap * tanh(x / cap), by 2^x of arguments below 0.
SPATE_KERNEL F32x16 soft_capped(F32x16 x, float cap) {
  const F32x16 zero = set1_f32(0.0F);
  const F32x16 t = exp2_below(mul(abs(x), set1_f32(-2.0F * kLog2e / cap)), kExp2Fine);
  const F32x16 one = set1_f32(1.0F);
  const F32x16 y = mul(div(sub(one, t), add(one, t)), set1_f32(cap));
  return if_greater(zero, x, sub(zero, y), y);
}

/// Adds ALiBi's slope times the distance (Press et al., 2022).
SPATE_KERNEL void add_slope(float* row, float slope, std::int64_t distance) {
  const auto first = static_cast<float>(distance);
  for (int i = 0; i < kKvTokens; ++i) row[i] = row[i] + slope * (first + static_cast<float>(i));
}

/// Scores from key `end` on count no more.
SPATE_KERNEL void hide_after(float* row, std::int64_t end) {
  for (std::int64_t i = 0; i < kKvTokens; i += 16) {
    if (end - i >= 16) continue;
    const F32x16 seen = load_f32(row + i);
    store_f32(row + i, set1_f32(kNoScore));
    if (end > i) store_f32_first(row + i, seen, static_cast<int>(end - i));
  }
}

/// Soft cap, ALiBi, then the causal edge and the window.
template <class Kernel>
static void adjust_scores(const Attention<Kernel>& a, const KeyTile& k) {
  const AttentionTask& task = a.task;
  for (std::int64_t r = k.begin; r < k.end; ++r) {
    float* row = k.scores + r * kKvTokens;
    for (int i = 0; task.soft_cap > 0.0F && i < kKvTokens; i += 16) {
      store_f32(row + i, soft_capped(load_f32(row + i), task.soft_cap));
    }
    if (task.slopes != nullptr) {
      const float slope = task.slopes[(task.first_row + r) % task.group] * kLog2e;
      add_slope(row, slope, k.first_key - a.s.last[r]);
    }
    hide_after(row, a.s.last[r] + 1 - k.first_key);
    for (std::int64_t i = 0; i < a.s.first[r] - k.first_key; ++i) row[i] = kNoScore;
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
