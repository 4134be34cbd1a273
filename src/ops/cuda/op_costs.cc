#include "ops/cuda/op_costs.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "spate/kernels/cuda/step_tables.h"

namespace spate::ops::cuda {

std::int64_t rows_class(std::int64_t rows) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(rows)));
}

OpCost moving_cost(std::string_view name, std::initializer_list<Tensor> rows) {
  OpCost cost{.name = name, .rows = rows_class(rows.begin()->dim(0))};
  for (const Tensor& t : rows) cost.n_bytes += static_cast<double>(t.n_bytes());
  return cost;
}

OpCost attention_cost(std::span<const SequenceRows> sequences, const KvLayer& layer,
                      std::int64_t query_heads, std::optional<std::int64_t> window) {
  std::int64_t pairs = 0;
  std::int64_t keys = 0;
  std::int64_t rows = 0;
  for (const SequenceRows& s : sequences) {
    const std::int64_t end = s.first_position + s.n_rows;
    const std::int64_t most = window.value_or(end);
    // Rows that see fewer than `most` keys: they see all before them.
    const std::int64_t growing = std::clamp<std::int64_t>(most - s.first_position, 0, s.n_rows);
    pairs += growing * (2 * s.first_position + growing + 1) / 2 + (s.n_rows - growing) * most;
    keys += std::min(end, most + s.n_rows - 1);
    rows += s.n_rows;
  }
  const double token_bytes = static_cast<double>(layer.head_bytes) / spate::cuda::kStepBlockTokens;
  return {.name = "attention",
          .rows = rows_class(rows),
          .arithmetic = layer.dtype == DType::kF32 ? Arithmetic::kF32 : Arithmetic::kBF16,
          .operations = 4.0 * static_cast<double>(pairs * query_heads * layer.head_dim),
          .n_bytes = static_cast<double>(keys * layer.kv_heads) * token_bytes};
}

}  // namespace spate::ops::cuda
