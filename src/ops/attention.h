// Causal self-attention of a ragged batch over the paged cache: online softmax (Dao et al., 2022),
// tiles of 64 keys and chunks of 1024 at absolute positions, merged in ascending order, so a row's
// bits depend on its own position only.
#pragma once

#include <optional>

#include "device/arena.h"
#include "device/device.h"
#include "ops/batch.h"
#include "ops/rows.h"

namespace spate::ops {

struct AttentionParams {
  std::int64_t query_heads = 0;
  std::optional<std::int64_t> window = std::nullopt;  // keys visible to a query, itself included
  std::optional<float> soft_cap = std::nullopt;       // cap * tanh(score / cap)
  const float* alibi_slopes = nullptr;                // f32 [query_heads] or null
  const float* k_scale = nullptr;  // e4m3 cache: f32 [kv_heads], what stored keys and values are
  const float* v_scale = nullptr;  // multiplied by; null: by one
};

/// queries: from project_qkv, [rows, query_heads, head_dim]. Keys and values of the rows themselves
/// are in the cache already. Result: [rows, query_heads * head_dim] packed for a matrix of `next`.
Rows attention(Device& device, Arena& arena, Tensor queries, const KvLayer& layer,
               const Batch& batch, const AttentionParams& params, RowFormat next);

}  // namespace spate::ops
