// What the cache hands out: runs of blocks. A block is a fixed number of token slots laid out for
// one device's kernels (ops/kv_view.h); nothing here or in the allocators knows what a slot
// contains. Other devices have other granules, so allocators take theirs as an option.
// Plain values; KvAllocator (kv/allocator.h) says who holds which of them.
#pragma once

#include <cstdint>

#include "ops/kv_view.h"

namespace spate {

/// Names a sequence for as long as the engine lives; never reused.
enum class SequenceId : std::int64_t {};

/// The blocks first_block .. first_block + n_blocks - 1. A page is a span of one block.
struct KvSpan {
  std::int64_t first_block = 0;
  std::int64_t n_blocks = 0;

  std::int64_t end() const { return first_block + n_blocks; }
  friend bool operator==(const KvSpan&, const KvSpan&) = default;
};

/// An order to copy the first n_tokens slots of one block to another, in every layer, before
/// anything of the plan that carries it is computed. Orders run in the order they were given.
struct KvCopy {
  std::int64_t source_block = 0;
  std::int64_t target_block = 0;
  std::int64_t n_tokens = 0;

  friend bool operator==(const KvCopy&, const KvCopy&) = default;
};

}  // namespace spate
