#include "device/arena.h"

#include <algorithm>

#include "core/check.h"

namespace spate {

std::byte* Arena::allocate_bytes(std::int64_t n_bytes) {
  constexpr std::int64_t kLine = 64;
  SPATE_CHECK_OP(n_bytes, >=, 0);
  const std::int64_t begin = used_;
  used_ += (n_bytes + kLine - 1) / kLine * kLine;
  SPATE_CHECK_OP(used_, <=, buffer_.n_bytes());
  peak_ = std::max(peak_, used_);
  return buffer_.data() + begin;
}

Tensor Arena::allocate(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor tensor(nullptr, dtype, shape);
  return Tensor(allocate_bytes(tensor.n_bytes()), dtype, shape);
}

}  // namespace spate
