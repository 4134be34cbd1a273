// Executor: turns a plan into a batch, runs the model on it and gives the logits. The only class
// that touches both the host's plans and the device. Engine thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "device/arena.h"
#include "device/device.h"
#include "engine/plan.h"
#include "engine/scheduler.h"
#include "kv/allocator.h"
#include "kv/cache.h"
#include "models/language_model.h"
#include "models/params.h"

namespace spate {

class Executor {
 public:
  /// Everything is borrowed but the cache and the arena.
  struct Parts {
    Device& device;
    const LanguageModel& model;
    ParamStore& params;
    KvCache kv;
    Arena arena;
  };
  explicit Executor(Parts parts) : parts_(std::move(parts)) {}

  /// Bytes of arena that a step of that many rows can need besides its logits, at most.
  static std::int64_t workspace_bytes(const HfConfig& config, std::int64_t max_rows, int threads);

  /// Runs the plan's copies and chunks. Logits: f32 [plan.n_logits, vocab] in the order of the
  /// chunks, valid until the next run.
  Tensor run(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator);

 private:
  void stage(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator);

  Parts parts_;
  std::vector<TokenId> token_ids_;
  std::vector<SequenceRows> sequences_;
  std::vector<std::int64_t> logit_rows_;
};

}  // namespace spate
