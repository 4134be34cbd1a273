// CpuExecutor: one plan at a time, logits in the step's arena.
#pragma once

#include "device/arena.h"
#include "device/device.h"
#include "engine/executor.h"
#include "kv/cache.h"
#include "models/language_model.h"
#include "models/params.h"

namespace spate {

class CpuExecutor : public Executor {
 public:
  /// Everything is borrowed but the cache and the arena.
  struct Parts {
    Device& device;
    const LanguageModel& model;
    ParamStore& params;
    KvCache kv;
    Arena arena;
  };
  explicit CpuExecutor(Parts parts) : parts_(std::move(parts)) {}

  /// Bytes of arena that a step of that many rows can need, at most.
  static std::int64_t workspace_bytes(const DecoderShape& shape, std::int64_t max_rows,
                                      int threads);

  int depth() const override { return 1; }
  bool samples(const SamplingParams& /*params*/) const override { return false; }
  void launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
              std::span<const RowOrder> orders) override;
  StepResult collect() override { return {.logits = logits_}; }

 private:
  Parts parts_;
  StagedPlan staged_;
  Tensor logits_{};
};

}  // namespace spate
