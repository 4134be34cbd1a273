// The rows of one step, as operators see them: for each sequence a run of tokens at consecutive
// positions. One token is what others call decoding, many are prefill; there is no such
// distinction here.
#pragma once

#include <cstdint>
#include <span>

#include "ops/kv_view.h"
#include "spate/sampling.h"

namespace spate {

namespace ops::cuda {
class DeviceBatch;
}

/// Plain views; what they show belongs to the executor.
struct Batch {
  std::span<const TokenId> token_ids{};        // [rows]
  std::span<const SequenceRows> sequences{};   // covers rows 0 .. rows - 1 in order
  std::span<const std::int64_t> logit_rows{};  // rows whose logits are wanted
  /// The same in GPU memory, where the device is one (ops/cuda/device_batch.h); else null.
  ops::cuda::DeviceBatch* on_device = nullptr;

  std::int64_t rows() const { return static_cast<std::int64_t>(token_ids.size()); }
};

/// Where the keys and values of a batch's rows go.
struct KvWrite {
  KvLayer layer{};
  const Batch& batch;
};

}  // namespace spate
