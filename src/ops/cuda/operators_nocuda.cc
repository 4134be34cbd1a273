// Without CUDA no device is a GPU, so nobody comes here.
#include "core/check.h"
#include "ops/cuda/operators.h"

namespace spate::ops::cuda {

void matmul(Device&, Arena&, Tensor, const Rows&, const Matrix&) { SPATE_CHECK(false); }
void matmul_add(Device&, Arena&, Tensor, const Rows&, const Matrix&) { SPATE_CHECK(false); }
Rows activated_matmul(Device&, Arena&, const Rows&, const Matrix&, Activation, bool, RowFormat) {
  SPATE_CHECK(false);
  return {};
}
Tensor project_qkv(Device&, Arena&, const Rows&, const Matrix&, const QkvParams&, const KvWrite&) {
  SPATE_CHECK(false);
  return {};
}
void embed(Device&, Tensor, Tensor, const Batch&) { SPATE_CHECK(false); }
void gather_rows(Device&, Tensor, Tensor, const Batch&) { SPATE_CHECK(false); }
Rows attention(Device&, Arena&, Tensor, const KvLayer&, const Batch&, const AttentionParams&) {
  SPATE_CHECK(false);
  return {};
}

}  // namespace spate::ops::cuda
