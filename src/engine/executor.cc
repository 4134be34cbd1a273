#include "engine/executor.h"

#include <algorithm>

#include "core/check.h"

namespace spate {

std::int64_t Executor::workspace_bytes(const HfConfig& config, std::int64_t max_rows, int threads) {
  const DecoderShape s = config.decoder_shape();
  // A row holds the stream (and a copy for the head), packed inputs, queries and attention's
  // output, and the inner rows of the MLP; with generous alignment.
  const std::int64_t heads = (s.query_heads + 2 * s.kv_heads) * (s.head_dim + 32);
  const std::int64_t row = 4 * (4 * s.hidden + 3 * heads + 3 * s.intermediate) + 4096;
  constexpr std::int64_t kPerThread = std::int64_t{16} << 20;
  return max_rows * row + kPerThread * (threads + 1);
}

void Executor::stage(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator) {
  token_ids_.clear();
  sequences_.clear();
  logit_rows_.clear();
  std::int64_t last_position = 0;
  for (const Chunk& chunk : plan.chunks) {
    const Sequence* sequence = scheduler.find(chunk.sequence);
    SPATE_CHECK(sequence != nullptr);
    const auto row = static_cast<std::int64_t>(token_ids_.size());
    const auto first = sequence->tokens.begin() + chunk.first;
    token_ids_.insert(token_ids_.end(), first, first + chunk.count);
    sequences_.push_back({.first_row = row,
                          .n_rows = chunk.count,
                          .first_position = chunk.first,
                          .blocks = allocator.block_ids(chunk.sequence)});
    for (std::int64_t i = chunk.count - chunk.n_logits; i < chunk.count; ++i) {
      logit_rows_.push_back(row + i);
    }
    last_position = std::max(last_position, chunk.first + chunk.count);
  }
  for (RopeTable& rope : parts_.params.ropes()) rope.ensure(last_position);
}

Tensor Executor::run(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator) {
  for (const KvCopy& copy : plan.copies) {
    parts_.kv.copy_block(copy.source_block, copy.target_block);
  }
  stage(plan, scheduler, allocator);
  const Batch batch{.token_ids = token_ids_, .sequences = sequences_, .logit_rows = logit_rows_};
  parts_.arena.reset();
  Step step{.device = parts_.device, .arena = parts_.arena, .kv = parts_.kv, .batch = batch};
  return parts_.model.forward(step);
}

}  // namespace spate
