// Executor: turns a plan into a batch, runs the model on it, and gives what came of it. The only
// class that touches both the host's plans and the device. Engine thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/check.h"
#include "core/tensor.h"
#include "engine/plan.h"
#include "engine/scheduler.h"
#include "engine/stream.h"
#include "kv/allocator.h"

namespace spate {

/// What is wanted of one row of logits, in the order of the plan's chunks.
struct RowOrder {
  SequenceId sequence{};
  /// Samples on the device if that can be done there; null: nothing is sampled.
  const Stream* stream = nullptr;
  std::int64_t output = 0;  // the number of the token to be sampled, from 0
  bool on_host = false;     // the row itself is wanted, in host memory
};

/// One step's results. Valid until the executor's next call.
struct StepResult {
  /// f32 [plan.n_logits, vocab] in host memory; only rows with `on_host` are defined.
  Tensor logits{};
  /// One per row order; meaningful where a stream was given and `on_host` was not.
  std::span<const DeviceToken> tokens{};
};

/// Of a device that runs beside the host, since creation; zeros for the CPU.
struct DeviceTime {
  double busy_seconds = 0.0;  // from a step's first operator to its end
  double idle_seconds = 0.0;  // between two steps; the next one's tables arriving included
};

class Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;

  /// Plans that may be under way at once. With 1, everything is computed when launch returns.
  virtual int depth() const = 0;
  /// Whether the device can sample by these rules; the others' rows are ordered `on_host`.
  virtual bool samples(const SamplingParams& params) const = 0;

  /// Starts a plan: its copies, its chunks, and the sampling of its rows.
  virtual void launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
                      std::span<const RowOrder> orders) = 0;
  /// Waits for the oldest plan that was launched and not collected.
  virtual StepResult collect() = 0;
  /// The sequence has ended or lost its cache.
  virtual void forget(SequenceId /*sequence*/) {}
  /// There is nothing to launch and nothing to collect.
  virtual void rest() {}
  virtual DeviceTime device_time() const { return {}; }
};

/// What a plan's chunks are as a batch of rows, in vectors that are reused.
struct StagedPlan {
  std::vector<TokenId> token_ids{};
  std::vector<SequenceRows> sequences{};
  std::vector<std::int64_t> logit_rows{};
  std::int64_t end_position = 0;  // of the longest sequence

  bool has_prompt_rows() const {
    return std::any_of(sequences.begin(), sequences.end(),
                       [](const SequenceRows& s) { return s.n_prompt_rows > 0; });
  }

  /// `in_flight` gives the id that stands for a token not yet known.
  template <class InFlight>
  void fill(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
            const InFlight& in_flight);
};

template <class InFlight>
void StagedPlan::fill(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
                      const InFlight& in_flight) {
  token_ids.clear();
  sequences.clear();
  logit_rows.clear();
  end_position = 0;
  for (const Chunk& chunk : plan.chunks) {
    const Sequence* sequence = scheduler.find(chunk.sequence);
    SPATE_CHECK(sequence != nullptr);
    const auto row = static_cast<std::int64_t>(token_ids.size());
    const auto first = sequence->tokens.begin() + chunk.first;
    token_ids.insert(token_ids.end(), first, first + chunk.count);
    if (token_ids.back() == kTokenInFlight) token_ids.back() = in_flight(chunk.sequence);
    sequences.push_back({.first_row = row,
                         .n_rows = chunk.count,
                         .first_position = chunk.first,
                         .blocks = allocator.block_ids(chunk.sequence),
                         .n_prompt_rows = std::clamp<std::int64_t>(sequence->n_prompt - chunk.first,
                                                                   0, chunk.count)});
    for (std::int64_t i = chunk.count - chunk.n_logits; i < chunk.count; ++i) {
      logit_rows.push_back(row + i);
    }
    end_position = std::max(end_position, chunk.first + chunk.count);
  }
}

}  // namespace spate
