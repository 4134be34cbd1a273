#include "ops/cpu/linear_cpu.h"

#include "ops/cpu/kv_cache.h"
#include "ops/cpu/panel_loop.h"

namespace spate::ops::cpu {
namespace {

using kernels::cpu::ActivationKind;
using kernels::cpu::HeadRole;
using kernels::cpu::RowKind;
using kernels::cpu::RowPlace;

static_assert(static_cast<int>(ActivationKind::kQuickGelu) ==
              static_cast<int>(Activation::kQuickGelu));

const float* bias_of(const Matrix& w, std::int64_t panel) {
  return w.bias() == nullptr ? nullptr : w.bias() + panel * kPanelColumns;
}

kernels::cpu::Element element_of(DType t) {
  if (t == DType::kF32) return kernels::cpu::Element::kF32;
  return t == DType::kF16 ? kernels::cpu::Element::kF16 : kernels::cpu::Element::kBF16;
}

RowPlace place_of(const SequenceRows& s, std::int64_t i, const RopeTable& rope,
                  const KvLayer& layer) {
  const std::int64_t position = s.first_position + i;
  const std::int32_t block = s.blocks[static_cast<std::size_t>(position / kKvBlockTokens)];
  return {.rope = rope.cos_sin + position * rope.rotary_dim,
          .block = layer.base + block * layer.block_stride,
          .token = position % kKvBlockTokens};
}

void check_sequence(const SequenceRows& s, std::int64_t n_rows, const RopeTable& rope) {
  SPATE_CHECK(s.first_row >= 0 && s.first_row + s.n_rows <= n_rows);
  const std::int64_t end = s.first_position + s.n_rows;
  SPATE_CHECK_OP(end, <=, static_cast<std::int64_t>(s.blocks.size()) * kKvBlockTokens);
  SPATE_CHECK(rope.rotary_dim == 0 || end <= rope.n_positions);
}

/// Position and cache block of every row.
RowPlace* places_of(Arena& arena, std::int64_t n_rows, const RopeTable& rope, const KvWrite& kv) {
  auto* places = reinterpret_cast<RowPlace*>(
      arena.allocate_bytes(n_rows * static_cast<std::int64_t>(sizeof(RowPlace))));
  std::int64_t covered = 0;
  for (const SequenceRows& s : kv.batch.sequences) {
    check_sequence(s, n_rows, rope);
    for (std::int64_t i = 0; i < s.n_rows; ++i) {
      new (places + s.first_row + i) RowPlace(place_of(s, i, rope, kv.layer));
    }
    covered += s.n_rows;
  }
  SPATE_CHECK_OP(covered, ==, n_rows);
  return places;
}

void check_ids(std::span<const TokenId> ids, std::int64_t n) {
  for (const TokenId id : ids) SPATE_CHECK(id >= 0 && id < n);
}

}  // namespace

void matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w,
            StoreMode mode) {
  PanelLoop loop(device, x, w, 1);
  loop.run(arena, [&](const Tile& t) {
    const std::int64_t column = t.first_panel * kPanelColumns;
    if (column >= out.dim(1)) return;
    loop.kernels().store({.sums = t.sums,
                          .sum_stride = t.sum_stride,
                          .n_rows = t.n_rows,
                          .bias = bias_of(w, t.first_panel),
                          .out = out.row<float>(t.first_row) + column,
                          .out_stride = out.stride(0),
                          .n_columns = std::min(kPanelColumns, out.dim(1) - column),
                          .add = mode == StoreMode::kAdd});
  });
}

void activated_matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w,
                      const ActivationStep& step) {
  const std::int64_t panels_per_group = step.gated ? 2 : 1;
  PanelLoop loop(device, x, w, panels_per_group);
  loop.run(arena, [&](const Tile& t) {
    loop.kernels().activate({.sums = t.sums,
                             .sum_stride = t.sum_stride,
                             .n_rows = t.n_rows,
                             .bias = bias_of(w, t.first_panel),
                             .kind = static_cast<ActivationKind>(step.activation),
                             .gated = step.gated,
                             .next = static_cast<RowKind>(step.next),
                             .rows = out.row<std::uint8_t>(t.first_row),
                             .row_stride = out.stride(0),
                             .next_k = w.n_columns() / panels_per_group,
                             .group = t.first_panel / panels_per_group});
  });
}

Tensor project_qkv(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                   const QkvParams& params, const KvWrite& kv) {
  const bool wide = kv.layer.dtype == DType::kF32 || kv.layer.dtype == DType::kF16;
  const Tensor queries = arena.allocate(wide ? DType::kF32 : DType::kBF16,
                                        {x.count(), params.query_heads, params.head_dim});
  const std::int64_t mark = arena.mark();
  const std::int64_t head_panels = (params.head_dim + kPanelColumns - 1) / kPanelColumns;
  const RowPlace* places = places_of(arena, x.count(), params.rope, kv);
  const std::int64_t head_bytes = params.head_dim * size_of(queries.dtype());
  PanelLoop loop(device, x, w, head_panels);
  loop.run(arena, [&](const Tile& t) {
    const std::int64_t head = t.first_panel / head_panels;
    const bool query = head < params.query_heads;
    const bool key = !query && head < params.query_heads + params.kv_heads;
    const std::int64_t kv_head = query ? 0 : (head - params.query_heads) % params.kv_heads;
    auto* query_rows = static_cast<std::byte*>(queries.data());
    const NormParams* norm = query ? params.query_norm : key ? params.key_norm : nullptr;
    loop.kernels().finish_head(
        {.role = query ? HeadRole::kQuery
                 : key ? HeadRole::kKey
                       : HeadRole::kValue,
         .sums = t.sums,
         .sum_stride = t.sum_stride,
         .n_rows = t.n_rows,
         .places = places + t.first_row,
         .bias = bias_of(w, t.first_panel),
         .norm = norm_args(norm),
         .rotary = params.rope.rotary_dim,
         .query_scale = params.query_scale,
         .bf16_queries = !wide,
         .queries = query_rows + (t.first_row * params.query_heads + head) * head_bytes,
         .query_stride = params.query_heads * head_bytes,
         .kv = {.format = kv_format(kv.layer.dtype), .head_dim = params.head_dim},
         .kv_offset = kv_head * kv.layer.head_bytes});
  });
  arena.reset(mark);
  return queries;
}

void embed(Device& device, Tensor out, Tensor table, std::span<const TokenId> ids) {
  check_ids(ids, table.dim(0));
  const auto widen_row = linear_kernels(device).widen_row;
  const auto n_ids = static_cast<std::int64_t>(ids.size());
  const std::int64_t width = table.dim(1);
  const std::int64_t row_bytes = width * size_of(table.dtype());
  const auto* rows = static_cast<const std::uint8_t*>(table.data());
  constexpr std::int64_t kRowsWorthAWorker = 16;
  const int active = static_cast<int>(
      std::clamp<std::int64_t>(n_ids / kRowsWorthAWorker, 1, device.pool().size()));
  device.pool().run(
      [&](int worker) {
        for (std::int64_t i = n_ids * worker / active; i < n_ids * (worker + 1) / active; ++i) {
          const TokenId id = ids[static_cast<std::size_t>(i)];
          widen_row(element_of(table.dtype()), rows + id * row_bytes, width, out.row<float>(i));
        }
      },
      active);
}

}  // namespace spate::ops::cpu
