// What a forward pass may touch, passed down explicitly; nothing is global.
#pragma once

#include <cstdint>
#include <span>

#include "device/arena.h"
#include "device/device.h"
#include "kv/cache.h"
#include "ops/kv_view.h"
#include "spate/sampling.h"

namespace spate {

/// The rows of one step: for each sequence a run of tokens at consecutive positions. One token is
/// what others call decoding, many are prefill; there is no such distinction here.
struct Batch {
  std::span<const TokenId> token_ids{};        // [rows]
  std::span<const SequenceRows> sequences{};   // covers rows 0 .. rows - 1 in order
  std::span<const std::int64_t> logit_rows{};  // rows whose logits are wanted

  std::int64_t rows() const { return static_cast<std::int64_t>(token_ids.size()); }
};

struct Step {
  Device& device;
  Arena& arena;  // results of this step
  KvCache& kv;
  const Batch& batch;
};

}  // namespace spate
