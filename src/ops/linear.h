// Linear maps with what surrounds them fused: normalization and packing of the input, and an
// epilogue on each finished tile. Every output element is one chain over k in ascending order, so
// its bits depend on neither the number of rows, nor the tile, nor the thread.
#pragma once

#include <cstdint>
#include <span>

#include "device/arena.h"
#include "device/device.h"
#include "ops/batch.h"
#include "ops/rows.h"
#include "quant/matrix.h"
#include "spate/sampling.h"

namespace spate::ops {

enum class Activation : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kQuickGelu };

/// out[r] = x[r] W^T + bias. out: f32 [rows, >= n]; the columns of the padding are not written
/// beyond out.dim(1).
void matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w);

/// residual[r] += x[r] W^T + bias. residual: f32 [rows, n]. x must not alias residual.
void matmul_add(Device& device, Arena& arena, Tensor residual, const Rows& x, const Matrix& w);

/// down-projection's input: act(x G^T + b_g) * (x U^T + b_u), packed for a matrix of `next`.
/// gate_up: panels interleaved gate, up, gate, up (quant/matrix.h). Result: [rows, n_columns / 2].
Rows gated_matmul(Device& device, Arena& arena, const Rows& x, const Matrix& gate_up,
                  Activation activation, RowFormat next);

/// act(x W^T + bias), packed for a matrix of `next`.
Rows activated_matmul(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                      Activation activation, RowFormat next);

/// Rotary embedding of positions 0 .. n - 1 (Su et al., 2021); halves are rotated against each
/// other as in Llama (pairs i, i + rotary_dim / 2).
struct RopeTable {
  const float* cos_sin = nullptr;  // f32 [positions, rotary_dim]: cos of each pair, then sin
  std::int64_t rotary_dim = 0;     // at most head_dim; 0: no rotation
  std::int64_t n_positions = 0;
};

struct QkvParams {
  std::int64_t query_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  RopeTable rope{};
  const NormParams* query_norm = nullptr;  // over head_dim, before the rotation (Qwen3)
  const NormParams* key_norm = nullptr;
  float query_scale = 1.0F;        // softmax scale times log2(e): scores are powers of two
  const float* k_scale = nullptr;  // e4m3 cache: f32 [kv_heads], what keys and values are divided
  const float* v_scale = nullptr;  // by before they are stored; null: by one
};

/// Projects to queries, keys and values; adds biases, normalizes and rotates; appends keys and
/// values to the cache at each row's position; returns the queries, scaled, in the cache's
/// arithmetic: [rows, query_heads, head_dim], bf16 for bf16 and int8 caches, f32 for f16 and f32.
/// w: head panels of q, then k, then v.
Tensor project_qkv(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                   const QkvParams& params, const KvWrite& kv);

/// out[r] = table[batch.token_ids[r]]. table: [vocab, hidden] in the checkpoint's dtype; out f32.
void embed(Device& device, Tensor out, Tensor table, const Batch& batch);

/// out[i] = x[batch.logit_rows[i]]: copies rows of any type (on a GPU of a multiple of 4 bytes).
void gather_rows(Device& device, Tensor out, Tensor x, const Batch& batch);

}  // namespace spate::ops
