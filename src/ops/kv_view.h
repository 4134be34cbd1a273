// The key-value cache as operators see it. Memory is cut into blocks of kKvBlockTokens tokens; a
// sequence is a list of block numbers (kv/ hands them out). Inside a block the layout is the
// kernels' business: include/spate/kernels/cpu/kv_layout.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.h"

namespace spate {

inline constexpr std::int64_t kKvBlockTokens = 64;

/// One layer of the cache. The K and V of head h in block b start at
/// base + b * block_stride + h * head_bytes.
struct KvLayer {
  std::byte* base = nullptr;
  std::int64_t block_stride = 0;  // bytes; all layers of a block lie together
  std::int64_t head_bytes = 0;    // bytes of one head's K and V in one block
  DType dtype = DType::kBF16;     // f32, f16, bf16 or i8
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
};

/// The rows that one sequence contributes to a step: rows first_row .. first_row + n_rows - 1 hold
/// positions first_position ... `blocks[p / 64]` holds position p; it covers all positions up to
/// the last row's.
struct SequenceRows {
  std::int64_t first_row = 0;
  std::int64_t n_rows = 0;
  std::int64_t first_position = 0;
  std::span<const std::int32_t> blocks{};
  /// How many of the rows, from the first on, are of the prompt. Read by a deterministic GPU, where
  /// the kernel that serves a row must not depend on how many come with it.
  std::int64_t n_prompt_rows = 0;
};

}  // namespace spate
