// What the cache hands out: runs of blocks. A block is a fixed number of token slots laid out for
// one device's kernels; nothing here or in the allocators knows what a slot contains.
// Plain values; KvAllocator (kv/allocator.h) says who holds which of them.
#pragma once

#include <cstdint>

namespace spate {

/// Names a sequence for as long as the engine lives; never reused.
enum class SequenceId : std::int64_t {};

/// Token slots in a block of the CPU's cache: two 32-token panels. Other devices have another
/// granule, so allocators take it as an option (KvAllocatorOptions::block_tokens).
inline constexpr std::int64_t kKvBlockTokens = 64;

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
