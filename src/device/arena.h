// Arena: memory of one step. Results of operators are bumped from it and dropped all at once; the
// same batch shape gives the same addresses.
#pragma once

#include <initializer_list>

#include "core/tensor.h"
#include "device/buffer.h"

namespace spate {

/// Not thread-safe: the thread that issues operators allocates.
class Arena {
 public:
  explicit Arena(Buffer buffer) : buffer_(std::move(buffer)) {}

  /// Contiguous, 64-byte aligned, contents undefined. Aborts when the planned size was too small.
  Tensor allocate(DType dtype, std::initializer_list<std::int64_t> shape);
  std::byte* allocate_bytes(std::int64_t n_bytes);

  std::int64_t mark() const { return used_; }
  void reset(std::int64_t mark = 0) { used_ = mark; }
  std::int64_t peak() const { return peak_; }

 private:
  Buffer buffer_;
  std::int64_t used_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace spate
