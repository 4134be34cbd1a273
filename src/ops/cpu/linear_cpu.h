// Linear maps on the CPU: arguments are checked already (ops/linear.cc).
#pragma once

#include "ops/linear.h"

namespace spate::ops::cpu {

enum class StoreMode : std::uint8_t { kWrite, kAdd };

void matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w,
            StoreMode mode);
/// How sums become rows of the next matrix.
struct ActivationStep {
  Activation activation = Activation::kSilu;
  bool gated = false;  // panels alternate: gate, up
  RowFormat next = RowFormat::kF32;
};

/// out: u8 [rows, row bytes of `next`].
void activated_matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w,
                      const ActivationStep& step);
Tensor project_qkv(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                   const QkvParams& params, const KvWrite& kv);
void embed(Device& device, Tensor out, Tensor table, std::span<const TokenId> ids);

}  // namespace spate::ops::cpu
