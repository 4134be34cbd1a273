// What an AttentionWork holds, shared by attention_work.cc (sizes, work lists; host code that the
// CUDA compiler need not see) and attention_launch.cu (memory and launches). Internal to both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_work.h"
#include "spate/kernels/cuda/decode_plan.h"
#include "spate/kernels/cuda/prefill_plan.h"

namespace spate::ops::cuda {

inline constexpr std::int64_t kMostDecodeRows = 16;  // of one request

// Sizes that follow from a shape and limits alone.
struct AttentionSizes {
  AttentionKernels kernels;
  int pack_shift = 0;
  std::int64_t decode_rows = 0, slots = 0, tickets = 0, tiles = 0;

  AttentionSizes(const AttentionShape& shape, const AttentionLimits& limits);
};

// Byte offsets in the workspace.
struct AttentionWorkspace {
  std::int64_t tickets = 0, counters = 0, stats = 0, out = 0, bytes = 0;

  AttentionWorkspace(const AttentionSizes& sizes, const AttentionShape& shape);
};

// Byte offsets in the staged lists, what every step needs first; at 0 is the number of tiles.
struct AttentionLists {
  std::int64_t shares = 16, rows = 0, tiles = 0, bytes = 0;

  AttentionLists(const AttentionSizes& sizes, const AttentionLimits& limits);
};

// In attention_launch.cu.
AttentionKernels find_attention_kernels(const AttentionShape& shape);
void* allocate_zeroed(std::int64_t bytes, const char** error);  // null: see error
struct FreeDeviceMemory {
  void operator()(std::byte* p) const;
};

struct AttentionState {
  AttentionShape shape;
  AttentionLimits limits;
  AttentionSizes sizes;
  AttentionWorkspace workspace;
  AttentionLists lists;
  const std::byte* staged = nullptr;
  std::unique_ptr<std::byte, FreeDeviceMemory> memory;

  spate::cuda::DecodePlanOptions decode_options;
  spate::cuda::PrefillPlanOptions prefill_options;
  spate::cuda::DecodePlan decode_plan;
  spate::cuda::PrefillPlan prefill_plan;
  std::vector<spate::cuda::AttentionRequest> short_requests, long_requests;

  AttentionState(const AttentionShape& s, const AttentionLimits& l);
  int window_left() const { return shape.window ? static_cast<int>(*shape.window) - 1 : 1 << 30; }
};

}  // namespace spate::ops::cuda
