// How attention's work is cut into pieces for the workers: a list in the arena, longest first. The
// cut never changes a bit of the result, so it may follow the load.
#pragma once

#include <atomic>
#include <span>

#include "device/arena.h"
#include "ops/kv_view.h"
#include "spate/kernels/cpu/attention_task.h"

namespace spate::ops::cpu {

/// Up to 48 rows of a sequence with one kv head: all of their chunks, or one.
struct AttentionItem {
  std::int32_t sequence = 0;
  std::int32_t head = 0;
  std::int64_t first_row = 0;  // (token, head of the group) pairs of the sequence
  std::int64_t rows = 0;
  std::int64_t chunk = 0;        // counted from the item's first; 0 when not split
  float* states = nullptr;       // of all chunks when split, else null
  std::int32_t* left = nullptr;  // chunks not yet done; who ends the last one merges them
};

struct AttentionPlan {
  std::span<AttentionItem> items{};  // longest first
  int workers = 1;
};

struct AttentionShape {
  kernels::cpu::KvLayout layout{};
  std::int64_t kv_heads = 0;
  std::int64_t group = 1;
  std::int64_t window = 0;  // 0: none
};

AttentionPlan plan_attention(Arena& arena, const AttentionShape& shape,
                             std::span<const SequenceRows> sequences, int max_workers);

}  // namespace spate::ops::cpu
