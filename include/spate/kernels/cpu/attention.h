// Attention of up to 48 rows over one kv head of the cache: online softmax (Dao et al., 2022) over
// tiles of 64 keys at absolute positions. A row's bits depend on its position and its keys alone:
// not on the other rows, nor on how its sequence was cut into steps.
//
// A NaN or an infinity in the cache reaches the rows that see it and no others: not from beyond the
// sequence's length, not from a later token to an earlier one, not from outside a window.
#pragma once

#include "spate/kernels/cpu/attention_task.h"
#include "spate/kernels/cpu/attention_tile.h"
#include "spate/kernels/cpu/attention_values.h"
#include "spate/kernels/cpu/rows.h"
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

/// The larger one; NaN stays.
SPATE_KERNEL float larger_scale(float peak, float scale) {
  return scale <= peak || peak != peak ? peak : scale;
}

/// Copies the tile's value scales and their running maxima; zeros where a stale NaN may be.
template <class Kernel>
static void load_value_scales(const Attention<Kernel>& a, const KeyTile& k) {
  const KvLayout& kv = a.task.layout;
  const auto* scales = reinterpret_cast<const float*>(k.block + kv.value_scale_offset());
  const std::int64_t keys = a.s.last[k.end - 1] + 1 - k.first_key;
  float peak = 0.0F;
  for (std::int64_t i = 0; i < kKvTokens; ++i) {
    const float scale = i < keys ? scales[i] : 0.0F;
    peak = larger_scale(peak, scale);
    a.s.value_scales[i] = scale;
    a.s.value_peaks[i] = peak;
  }
}

/// The largest scale of the values that a row sees.
template <class Kernel>
SPATE_KERNEL float value_peak(const Attention<Kernel>& a, const KeyTile& k, std::int64_t row) {
  const std::int64_t first = a.s.first[row] - k.first_key;
  const std::int64_t last = a.s.last[row] - k.first_key;
  const std::int64_t end = last < kKvTokens ? last : kKvTokens - 1;
  if (first <= 0) return a.s.value_peaks[end];
  float peak = 0.0F;
  for (std::int64_t i = first; i <= end; ++i) peak = larger_scale(peak, a.s.value_scales[i]);
  return peak;
}

/// Raises the maxima of rows r .. r + n - 1 (n <= 16) to those of their new scores and scales what
/// they have summed so far accordingly. Returns the scores' maxima.
template <class Kernel>
static F32x16 raise_maxima(const Attention<Kernel>& a, const AttentionState& state,
                           const float* scores, std::int64_t r, int n) {
  F32x16 rows[16];
  for (int i = 0; i < n; ++i) {
    const float* row = scores + (r + i) * kKvTokens;
    rows[i] =
        max(max(load_f32(row), load_f32(row + 16)), max(load_f32(row + 32), load_f32(row + 48)));
  }
  const F32x16 top = row_maxima(rows, n);
  const F32x16 before = load_f32(state.maxima + r);
  const F32x16 now = max(before, top);
  // Lanes from n on belong to no row: what an earlier task left there says nothing.
  std::uint32_t grown = lanes_not_le(now, before) & ((1U << n) - 1U);
  if (grown == 0) return top;
  alignas(64) float factors[16];
  store_f32(factors, exp2_below(sub(before, now), kExp2Fine));
  store_f32(state.maxima + r, now);
  for (; grown != 0; grown &= grown - 1) {
    const int i = __builtin_ctz(grown);
    const F32x16 f = set1_f32(factors[i]);
    float* sums = state.sums + (r + i) * 16;
    float* values = state.values + (r + i) * a.padded;
    store_f32(sums, mul(load_f32(sums), f));
    for (std::int64_t d = 0; d < a.padded; d += 16) {
      store_f32(values + d, mul(load_f32(values + d), f));
    }
  }
  return top;
}

/// 2^(score - base) of one row's 64 keys; returns the sum in 16 lanes.
template <unsigned kTerms>
SPATE_KERNEL F32x16 exponentials(const float* scores, float base, const float (&c)[kTerms],
                                 F32x16 (&p)[4]) {
  const F32x16 m = set1_f32(base);
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < 4; ++i) p[i] = exp2_below(sub(load_f32(scores + 16 * i), m), c);
  return add(add(p[0], p[1]), add(p[2], p[3]));
}

/// Scores to probabilities, relative to the running maximum; f32 in place, or bf16.
template <class Kernel>
static void float_weights(const Attention<Kernel>& a, const AttentionState& state, const KeyTile& k,
                          std::int64_t r, int n) {
  raise_maxima(a, state, k.scores, r, n);
  for (std::int64_t i = r; i < r + n; ++i) {
    F32x16 p[4];
    float* scores = k.scores + i * kKvTokens;
    float* sums = state.sums + i * 16;
    if constexpr (Kernel::kFormat == KvFormat::kBF16) {
      const F32x16 sum = exponentials(scores, state.maxima[i], kExp2Coarse, p);
      store_f32(sums, add(load_f32(sums), sum));
      std::byte* weights = a.s.weights + i * kKvTokens * 2;
      store_bf16(weights, p[0], p[1]);
      store_bf16(weights + 64, p[2], p[3]);
    } else {
      const F32x16 sum = exponentials(scores, state.maxima[i], kExp2Fine, p);
      store_f32(sums, add(load_f32(sums), sum));
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < 4; ++j) store_f32(scores + 16 * j, p[j]);
    }
  }
}

/// Scores to u8: probabilities relative to the tile's own maximum (a tile far below the running
/// maximum keeps its precision), times the values' scales, relative to the largest of these that
/// the row may see.
template <class Kernel>
static void int8_weights(const Attention<Kernel>& a, const AttentionState& state, const KeyTile& k,
                         std::int64_t r, int n) {
  alignas(64) float tops[16];
  alignas(64) float factors[16];
  const F32x16 top = raise_maxima(a, state, k.scores, r, n);
  store_f32(tops, top);
  store_f32(factors, exp2_below(sub(top, load_f32(state.maxima + r)), kExp2Fine));
  for (int i = 0; i < n; ++i) {
    const std::int64_t row = r + i;
    const float peak = value_peak(a, k, row);
    const F32x16 inverse = set1_f32(peak > 1e-30F ? 255.0F / peak : 0.0F);
    F32x16 p[4];
    const F32x16 sum = exponentials(k.scores + row * kKvTokens, tops[i], kExp2Coarse, p);
    float* sums = state.sums + row * 16;
    store_f32(sums, fma(set1_f32(factors[i]), sum, load_f32(sums)));
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < 4; ++j) {
      const F32x16 w = mul(mul(p[j], load_f32(a.s.value_scales + 16 * j)), inverse);
      store_low8(a.s.weights + row * kKvTokens + 16 * j, round_i32(w));
    }
    a.s.row_scales[row] = factors[i] * peak * (1.0F / 255.0F);
  }
}

/// state.values += probabilities times values, up to each row tile's last key.
template <KvFormat kFormat>
static void add_values(const Attention<Vectors<kFormat>>& a, const AttentionState& state,
                       const KeyTile& k) {
  const KvLayout& kv = a.task.layout;
  constexpr std::int64_t kRowBytes = kKvTokens * weight_bytes(kFormat);
  const std::byte* weights =
      weight_bytes(kFormat) == 4 ? reinterpret_cast<const std::byte*>(k.scores) : a.s.weights;
  each_tile(k.begin, k.end, [&](std::int64_t r, std::int64_t n) {
    std::int64_t keys = a.s.last[r + n - 1] + 1 - k.first_key;
    keys = keys < kKvTokens ? keys : kKvTokens;
    for (std::int64_t d = 0; d < a.padded; d += kKvHalf) {
      const std::int64_t at = d / kKvHalf * kv.value_panel_bytes();
      const KvTile tile{.panel = k.values + at,
                        .rows = weights + r * kRowBytes,
                        .row_bytes = kRowBytes,
                        .words = (keys + kv.interleave() - 1) / kv.interleave(),
                        .odd = kFormat == KvFormat::kBF16 && keys % 2 != 0,
                        .out = state.values + r * a.padded + d,
                        .out_stride = a.padded,
                        .prefetch = r == k.begin && k.next != nullptr
                                        ? k.next + kv.value_offset() + at
                                        : nullptr};
      run_tile<kFormat, true>(n, tile, {.rows = a.s.row_scales + r});
    }
  });
}

/// Keys first .. last, counted from the tile's begin.
struct KeyRange {
  std::int64_t begin, end;
};
SPATE_KERNEL KeyRange tile_keys(const KeyTile& k, std::int64_t first, std::int64_t last) {
  const auto inside = [](std::int64_t i) { return i < 0 ? 0 : i > kKvTokens ? kKvTokens : i; };
  return {inside(first - k.first_key), inside(last + 1 - k.first_key)};
}

/// Whether some row does not see some key of the tile.
template <class Kernel>
SPATE_KERNEL bool is_edge(const Attention<Kernel>& a, const KeyTile& k) {
  return k.first_key + kKvTokens - 1 > a.s.last[k.begin] || k.first_key < a.s.first[k.end - 1];
}

/// The weights of the tile's rows, and the values added with them.
template <class Kernel>
static void weigh_tile(const Attention<Kernel>& a, const AttentionState& state, const KeyTile& k) {
  if constexpr (Kernel::kFormat == KvFormat::kInt8) load_value_scales(a, k);
  for (std::int64_t r = k.begin; r < k.end; r += 16) {
    const int n = static_cast<int>(k.end - r < 16 ? k.end - r : 16);
    if constexpr (Kernel::kFormat == KvFormat::kInt8) {
      int8_weights(a, state, k, r, n);
    } else {
      float_weights(a, state, k, r, n);
    }
  }
  add_values(a, state, k);
}

/// Whether a key that not all of the rows see has a value that is not finite. (Keys beyond the last
/// row's are nobody's: add_values leaves them out.) Not in int8, whose products are integers: only
/// scales can be infinite, and a row's uses none but those of its keys.
template <class Kernel>
static bool spoils_others(const Attention<Kernel>& a, const KeyTile& k) {
  if constexpr (Kernel::kFormat == KvFormat::kInt8) return false;
  const KvLayout& kv = a.task.layout;
  const auto begin = tile_keys(k, a.s.first[k.begin], a.s.last[k.begin]);
  const auto end = tile_keys(k, a.s.first[k.end - 1], a.s.last[k.end - 1]);
  return !finite_values<Kernel::kFormat>(kv, k.block, 0, end.begin) ||
         !finite_values<Kernel::kFormat>(kv, k.block, begin.end, end.end);
}

/// Row by row, each with a copy of the values that it sees and zeros elsewhere.
template <class Kernel>
static void weigh_rows_apart(const Attention<Kernel>& a, const AttentionState& state,
                             const KeyTile& k) {
  KeyTile one = k;
  one.next = nullptr;
  one.values = a.s.values;
  for (std::int64_t r = k.begin; r < k.end; ++r) {
    const auto keys = tile_keys(k, a.s.first[r], a.s.last[r]);
    copy_values(a.task.layout, k.block, keys.begin, keys.end, a.s.values);
    one.begin = r;
    one.end = r + 1;
    weigh_tile(a, state, one);
  }
}

/// What follows a tile's scores.
template <class Kernel>
static void attend_tile(const Attention<Kernel>& a, const AttentionState& state, const KeyTile& k) {
  const bool edge = is_edge(a, k);
  if (edge || a.task.soft_cap > 0.0F || a.task.slopes != nullptr) adjust_scores(a, k);
  if (edge && spoils_others(a, k)) return weigh_rows_apart(a, state, k);
  weigh_tile(a, state, k);
}

/// Forgets rows [begin, end).
SPATE_KERNEL void clear_state(const AttentionState& state, std::int64_t padded, std::int64_t begin,
                              std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) state.maxima[r] = kNoScore;
  std::memset(state.sums + begin * 16, 0, static_cast<std::size_t>((end - begin) * 64));
  std::memset(state.values + begin * padded, 0,
              static_cast<std::size_t>((end - begin) * padded * 4));
}

/// The tile that begins with key `first_key`; `longest` is the last key that any row sees.
template <class Kernel>
static KeyTile tile_at(const Attention<Kernel>& a, std::int64_t first_key, std::int64_t longest) {
  const AttentionTask& task = a.task;
  const auto rows = rows_seeing(a, first_key, first_key + kKvTokens);
  const std::int32_t* block = task.blocks + first_key / kKvTokens;
  const std::byte* at = task.cache + block[0] * task.block_stride;
  const bool last = first_key + kKvTokens > longest;
  const bool second = scores_early<Kernel>(task) && first_key / kKvTokens % 2 != 0;
  return {.block = at,
          .next = last ? nullptr : task.cache + block[1] * task.block_stride,
          .values = at + task.layout.value_offset(),
          .first_key = first_key,
          .begin = rows.begin,
          .end = rows.end,
          .scores = a.s.scores + (second ? kRowsScoredEarly * kKvTokens : 0)};
}

/// Wakes the hardware's prefetcher for a block that will be wanted soon: it works page by page, so
/// the first lines of all of the block's pages call for the others side by side.
SPATE_KERNEL void call_for_block(const AttentionTask& task, const std::byte* block) {
  constexpr std::int64_t kPage = 4096;
  constexpr std::int64_t kCalling = kPage / 4;
  const std::int64_t n_bytes = task.layout.head_bytes();
  for (std::int64_t i = 0; i < kCalling; i += kLine) {
    for (std::int64_t page = 0; page < n_bytes; page += kPage) prefetch_l2(block + page + i);
  }
}

/// The rows that see the chunk, over the chunk's keys. Few rows wait for memory and for products:
/// a tile's scores are computed before the tile before it is finished, and its successor is called.
template <class Kernel>
static void attend_chunk(const Attention<Kernel>& a, std::int64_t chunk,
                         const AttentionState& state) {
  const std::int64_t longest = a.s.last[a.task.rows - 1];
  const std::int64_t begin = chunk * kKvChunk;
  const std::int64_t end = longest + 1 < begin + kKvChunk ? longest + 1 : begin + kKvChunk;
  const auto rows = rows_seeing(a, begin, begin + kKvChunk);
  begin_products(a);
  clear_state(state, a.padded, rows.begin, rows.end);
  const std::int64_t first_tile = a.s.first[0] / kKvTokens * kKvTokens;
  const bool early = scores_early<Kernel>(a.task);
  std::int64_t t = first_tile > begin ? first_tile : begin;
  KeyTile tile = tile_at(a, t, longest);
  score_tile(a, tile);
  for (t += kKvTokens; t < end; t += kKvTokens) {
    const KeyTile next = tile_at(a, t, longest);
    if (early && next.next != nullptr) call_for_block(a.task, next.next);
    if (early) score_tile(a, next);
    attend_tile(a, state, tile);
    if (!early) score_tile(a, next);
    tile = next;
  }
  attend_tile(a, state, tile);
  end_products(a);
}

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

template <class Kernel>
static Attention<Kernel> begin_task(const AttentionTask& task, float* scratch) {
  Attention<Kernel> a{.task = task, .s = attention_scratch(task.layout, scratch)};
  a.padded = task.layout.padded_dim();
  a.query_bytes = task.layout.head_dim / task.layout.interleave() * 4;
  load_queries(a);
  return a;
}

/// For ways to compute that have a state.
template <KvFormat kFormat>
SPATE_KERNEL void begin_products(const Attention<Vectors<kFormat>>& /*a*/) {}
template <KvFormat kFormat>
SPATE_KERNEL void end_products(const Attention<Vectors<kFormat>>& /*a*/) {}

template <class Kernel>
static void run_task(const AttentionTask& task, float* scratch) {
  const Attention<Kernel> a = begin_task<Kernel>(task, scratch);
  if (task.first_chunk() == task.last_chunk()) {  // merging one chunk changes no bit
    attend_chunk(a, task.first_chunk(), a.s.chunk);
    store_rows(a, a.s.chunk);
    return;
  }
  clear_state(a.s.total, a.padded, 0, task.rows);
  for (std::int64_t c = task.first_chunk(); c <= task.last_chunk(); ++c) {
    attend_chunk(a, c, a.s.chunk);
    merge_chunk(a, c, a.s.chunk);
  }
  store_rows(a, a.s.total);
}

template <class Kernel>
static void run_chunk(const AttentionTask& task, std::int64_t chunk, float* scratch, float* state) {
  const Attention<Kernel> a = begin_task<Kernel>(task, scratch);
  attend_chunk(a, chunk, AttentionState::at(state));
}

template <class Kernel>
static void run_merge(const AttentionTask& task, float* scratch, float* states) {
  const Attention<Kernel> a = begin_task<Kernel>(task, scratch);
  clear_state(a.s.total, a.padded, 0, task.rows);
  for (std::int64_t c = task.first_chunk(); c <= task.last_chunk(); ++c) {
    merge_chunk(a, c, AttentionState::at(states));
    states += AttentionState::n_floats(task.layout);
  }
  store_rows(a, a.s.total);
}

template <class Kernel>
SPATE_KERNEL constexpr AttentionKernels attention_kernels_with() {
  return {.attend = run_task<Kernel>,
          .attend_chunk = run_chunk<Kernel>,
          .merge_chunks = run_merge<Kernel>};
}

template <KvFormat kFormat>
SPATE_KERNEL constexpr AttentionKernels attention_kernels_for() {
  return attention_kernels_with<Vectors<kFormat>>();
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
