// Tensor: a non-owning, typed, strided view of memory on one device. It has no operators and no
// allocator: owners are device/buffer.h and device/arena.h, arithmetic is in ops/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "core/check.h"
#include "core/dtype.h"

namespace spate {

/// Trivially copyable; pass by value. Rows are contiguous in the last axis unless strided.
class Tensor {
 public:
  static constexpr int kMaxRank = 4;

  Tensor() = default;
  /// A contiguous view of `data`.
  Tensor(void* data, DType dtype, std::initializer_list<std::int64_t> shape);

  void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  int rank() const { return rank_; }
  bool empty() const { return count() == 0; }
  std::int64_t dim(int axis) const {
    SPATE_CHECK_OP(axis, <, rank_);
    return shape_[static_cast<std::size_t>(axis)];
  }
  /// In elements.
  std::int64_t stride(int axis) const { return strides_[static_cast<std::size_t>(axis)]; }
  std::int64_t count() const {
    std::int64_t n = rank_ == 0 ? 0 : 1;
    for (int i = 0; i < rank_; ++i) n *= shape_[static_cast<std::size_t>(i)];
    return n;
  }
  std::int64_t n_bytes() const { return count() * size_of(dtype_); }

  /// The view [begin, end) of one axis.
  Tensor slice(int axis, std::int64_t begin, std::int64_t end) const;

  template <class T>
  T* as() const {
    SPATE_CHECK_OP(static_cast<std::int64_t>(sizeof(T)), ==, size_of(dtype_));
    return static_cast<T*>(data_);
  }
  /// Row `i` of the first axis.
  template <class T>
  T* row(std::int64_t i) const {
    return as<T>() + i * strides_[0];
  }

 private:
  void* data_ = nullptr;
  std::array<std::int64_t, kMaxRank> shape_{};
  std::array<std::int64_t, kMaxRank> strides_{};
  int rank_ = 0;
  DType dtype_ = DType::kF32;
};

}  // namespace spate
