#include "core/tensor.h"

namespace spate {

Tensor::Tensor(void* data, DType dtype, std::initializer_list<std::int64_t> shape)
    : data_(data), rank_(static_cast<int>(shape.size())), dtype_(dtype) {
  SPATE_CHECK_OP(rank_, <=, kMaxRank);
  std::size_t i = 0;
  for (const std::int64_t extent : shape) shape_[i++] = extent;
  std::int64_t stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides_[axis] = stride;
    stride *= shape_[axis];
  }
}

Tensor Tensor::slice(int axis, std::int64_t begin, std::int64_t end) const {
  SPATE_CHECK_OP(begin, <=, end);
  SPATE_CHECK_OP(end, <=, dim(axis));
  Tensor view = *this;
  const auto a = static_cast<std::size_t>(axis);
  view.data_ = static_cast<std::byte*>(data_) + begin * strides_[a] * size_of(dtype_);
  view.shape_[a] = end - begin;
  return view;
}

}  // namespace spate
