// DeviceBatch: the batch of a step in GPU memory, at addresses that never change, so that recorded
// launches serve every step of the same shape. Filled from page-locked memory, of which two copies
// alternate: one is written while the step before still reads the other.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "device/gpu.h"
#include "ops/batch.h"
#include "ops/cuda/attention_work.h"
#include "spate/kernels/cuda/step_tables.h"

namespace spate::ops::cuda {

/// The largest batch that will be staged.
struct BatchLimits {
  std::int64_t rows = 0;
  std::int64_t sequences = 0;
  std::int64_t logit_rows = 0;
  std::int64_t slots = 0;          // of sampled tokens
  std::int64_t table_entries = 0;  // blocks of all sequences together
  std::int64_t context_length = 0;
};

/// Rows beyond the batch's own: a recorded step has a fixed number of them.
struct Padding {
  std::int64_t rows = 0;        // in all; 0: none added
  std::int64_t logit_rows = 0;  // the same
};

class DeviceBatch {
 public:
  static std::int64_t gpu_bytes(const BatchLimits& limits);
  static std::int64_t locked_bytes(const BatchLimits& limits);  // page-locked, on the host
  /// What one shape of attention takes besides.
  static std::int64_t attention_bytes(const BatchLimits& limits, const AttentionShape& shape);
  static std::int64_t attention_locked_bytes(const BatchLimits& limits,
                                             const AttentionShape& shape);
  static Result<std::unique_ptr<DeviceBatch>> create(Gpu& gpu, const BatchLimits& limits);

  /// Enqueues this batch's arrival on the GPU. `slots`: of each logit row, where its sampled token
  /// goes (-1: nowhere). Waits only if the step before the last has not been taken from its copy.
  void stage(const Batch& batch, std::span<const std::int32_t> slots, Padding padding);

  const spate::cuda::StepTables& tables() const { return tables_; }
  /// Where the token sampled from each logit row goes, i32 [logit_rows].
  const std::int32_t* slots() const { return slots_; }
  const BatchLimits& limits() const { return limits_; }

  /// The work lists of one shape of attention. Made on first use, which must be outside of a
  /// recording; from then on `stage` fills them.
  AttentionWork& attention(const AttentionShape& shape);
  /// Of the batch staged last; the Batch of a recorded step does not name them.
  std::span<const SequenceRows> sequences() const { return sequences_; }
  /// Whether any of their rows go to the prefill kernel, and to the decode kernel.
  bool has_prefill() const { return has_prefill_; }
  bool has_decode() const { return has_decode_; }

 private:
  static constexpr std::int64_t kCopies = 2;
  struct Work {
    AttentionShape shape;
    Buffer lists;                          // on the GPU
    std::array<Buffer, kCopies> staged{};  // page-locked
    AttentionWork work;
  };
  struct Outbox {
    Buffer memory;  // page-locked: a directory, then the arrays
    GpuEvent taken;
    bool used = false;
  };

  DeviceBatch(Gpu& gpu, const BatchLimits& limits) : gpu_(gpu), limits_(limits) {}
  Result<void> reserve();
  void fill(Outbox& outbox, const Batch& batch, std::span<const std::int32_t> slots,
            Padding padded);
  void stage_attention(Work& work, std::span<const SequenceRows> sequences);

  Gpu& gpu_;
  BatchLimits limits_;
  Buffer memory_;  // on the GPU
  spate::cuda::StepTables tables_{};
  const std::int32_t* slots_ = nullptr;
  std::array<Outbox, kCopies> outboxes_{};
  std::size_t turn_ = 0;
  std::deque<Work> works_;
  std::vector<SequenceRows> sequences_;  // of the batch staged last
  bool has_prefill_ = false;
  bool has_decode_ = false;
};

}  // namespace spate::ops::cuda
