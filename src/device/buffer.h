// Buffer: long-lived memory (weights, caches, workspaces). On the CPU it is reserved address space
// that is touched on first use: touching fresh memory costs seconds per GiB on a virtual machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "spate/result.h"

namespace spate {

/// Move-only owner of 2 MiB-aligned, zero-filled memory.
class Buffer {
 public:
  Buffer() = default;
  /// Reserves host memory; kOutOfMemory with the size when the system refuses.
  static Result<Buffer> reserve_host(std::int64_t n_bytes);

  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  std::byte* data() const { return data_; }
  std::int64_t n_bytes() const { return n_bytes_; }
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(n_bytes_, other.n_bytes_);
  }

 private:
  std::byte* data_ = nullptr;
  std::int64_t n_bytes_ = 0;
};

}  // namespace spate
