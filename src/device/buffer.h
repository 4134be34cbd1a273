// Buffer: long-lived memory (weights, caches, workspaces), on the host or on a GPU. On the host it
// is reserved address space that is touched on first use: touching fresh memory costs seconds per
// GiB on a virtual machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "spate/result.h"

namespace spate {

/// Move-only owner of memory, aligned to 2 MiB on the host and to 256 bytes elsewhere.
class Buffer {
 public:
  Buffer() = default;
  /// Reserves host memory, zero-filled; kOutOfMemory with the size when the system refuses.
  static Result<Buffer> reserve_host(std::int64_t n_bytes);
  /// Memory of the current GPU, contents undefined; kOutOfMemory with both numbers.
  static Result<Buffer> reserve_gpu(std::int64_t n_bytes);
  /// Host memory that GPUs copy from without a detour and kernels may read; page-locked at once.
  static Result<Buffer> reserve_pinned(std::int64_t n_bytes);

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
    std::swap(release_, other.release_);
  }

 private:
  using Release = void (*)(std::byte* data, std::int64_t n_bytes);
  Buffer(std::byte* data, std::int64_t n_bytes, Release release)
      : data_(data), n_bytes_(n_bytes), release_(release) {}

  std::byte* data_ = nullptr;
  std::int64_t n_bytes_ = 0;
  Release release_ = nullptr;
};

}  // namespace spate
