// Attention of up to 48 rows over one kv head of the cache: online softmax (Dao et al., 2022) over
// tiles of 64 keys at absolute positions. A row's bits depend on its position and its keys alone:
// not on the other rows, nor on how its sequence was cut into steps.
//
// A NaN or an infinity in the cache reaches the rows that see it and no others: not from beyond the
// sequence's length, not from a later token to an earlier one, not from outside a window.
#pragma once

#include "spate/kernels/cpu/attention_output.h"
#include "spate/kernels/cpu/attention_scores.h"
#include "spate/kernels/cpu/attention_values.h"
#include "spate/kernels/cpu/attention_weights.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

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
