// What the operators of a GPU have to do at least: the costs that a Profile sets their times
// against. Weights, cache and rows are read or written once.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "core/tensor.h"
#include "device/profile.h"
#include "ops/kv_view.h"

namespace spate::ops::cuda {

/// Products whose numbers of rows are alike: 1, 2, 4, ... rows at most.
std::int64_t rows_class(std::int64_t rows);

/// An operator that only moves rows: bytes of what it reads and what it writes.
OpCost moving_cost(std::string_view name, std::initializer_list<Tensor> rows);

/// Keys and values that the rows see, once for each sequence; scores and weighted sums of each
/// (row, key) pair.
OpCost attention_cost(std::span<const SequenceRows> sequences, const KvLayer& layer,
                      std::int64_t query_heads, std::optional<std::int64_t> window);

}  // namespace spate::ops::cuda
