// What the planners of the attention kernels share: a request of a batch, and the mask as they see
// it. Work lists are made on the host once per step and shared by all layers: decode_plan.h,
// prefill_plan.h. Plain C++ without CUDA; the caller copies the lists to the device.
#pragma once
#include <cstdint>

namespace spate::cuda {

// One request's share of a batch. Counts are tokens.
struct AttentionRequest {
  std::int32_t q_begin = 0;  // its first row of the packed queries
  std::int32_t q_len = 1;
  std::int32_t kv_begin = 0;  // strided KV: its first row of the packed keys; pages: the index of
                              // its first entry in the page table
  std::int32_t kv_len = 0;    // keys in all, those of the queries included
  std::int32_t mask_columns = 0;        // Mask::kBits: how many of the last keys the bits cover
  const std::int32_t* pages = nullptr;  // its page ids, where the host knows them: saves a load
};

// The mask as the planner sees it; -1 = unbounded.
struct AttentionWindow {
  std::int32_t left = -1;   // keys before a query's position
  std::int32_t right = -1;  // keys after it; 0 = causal
};

namespace plan_detail {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace plan_detail

}  // namespace spate::cuda
