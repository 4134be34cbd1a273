// Random weights for benchmarks, and the owner of their memory. The numbers are cheap, not good:
// one pool of about normal values is made once and copied from a place that depends on the name.
// Each tensor has memory of its own, because weights that alias one small block would stay in a
// cache and make a benchmark lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace spate {

class DummyWeights {
 public:
  /// Without `fill_matrices` only vectors get numbers; the rest is zero until it is touched.
  DummyWeights(std::uint64_t seed, DType dtype, bool fill_matrices)
      : seed_(seed), dtype_(dtype), fill_matrices_(fill_matrices) {}
  DummyWeights(DummyWeights&& other) noexcept;
  DummyWeights& operator=(DummyWeights&&) = delete;
  DummyWeights(const DummyWeights&) = delete;
  DummyWeights& operator=(const DummyWeights&) = delete;
  ~DummyWeights();

  /// `count` elements of mean 0 and deviation 0.02; the scale of a norm (a vector whose name has
  /// "norm" in it) is 1. Aligned to 2 MiB if large. Throws LoadError when memory runs out.
  void* make(std::string_view name, std::int64_t count, bool is_vector);

  /// Drops the pages that lie entirely within `part`.
  void release(std::span<const std::byte> part) const;

 private:
  struct Block {
    void* data;
    std::size_t n_bytes;
  };

  std::byte* allocate(std::size_t n_bytes);
  void fill_pool();

  std::uint64_t seed_;
  DType dtype_;
  bool fill_matrices_;
  std::vector<std::byte> pool_{};
  std::vector<Block> blocks_{};
};

}  // namespace spate
