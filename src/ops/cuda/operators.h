// The operators on a GPU: what ops/linear.h and ops/attention.h call there. They enqueue on the
// device's stream and read what changes between steps from the batch's tables, so that all of it
// can be recorded. Failures throw DeviceError.
#pragma once

#include "ops/attention.h"
#include "ops/linear.h"

namespace spate::ops::cuda {

void matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w);
void matmul_add(Device& device, Arena& arena, Tensor residual, const Rows& x, const Matrix& w);
/// Result: [rows, n] for a next matrix on this device; n is half of w's rows when `gated`. Packed
/// for kInt8 it is bf16 all the same, in the order of kernels/cuda/dealt_rows.cuh.
Rows activated_matmul(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                      Activation activation, bool gated, RowFormat next);
Tensor project_qkv(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                   const QkvParams& params, const KvWrite& kv);
void embed(Device& device, Tensor out, Tensor table, const Batch& batch);
void gather_rows(Device& device, Tensor out, Tensor x, const Batch& batch);
Rows attention(Device& device, Arena& arena, Tensor queries, const KvLayer& layer,
               const Batch& batch, const AttentionParams& params);

}  // namespace spate::ops::cuda
