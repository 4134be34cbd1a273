#include "engine/cpu_executor.h"

#include "core/check.h"

namespace spate {

std::int64_t CpuExecutor::workspace_bytes(const DecoderShape& s, std::int64_t max_rows,
                                          int threads) {
  // A row holds the stream (and a copy for the head), packed inputs, queries and attention's
  // output, and the inner rows of the MLP; with generous alignment.
  const std::int64_t heads = (s.query_heads + 2 * s.kv_heads) * (s.head_dim + 32);
  const std::int64_t row = 4 * (4 * s.hidden + 3 * heads + 3 * s.intermediate) + 4096;
  constexpr std::int64_t kPerThread = std::int64_t{16} << 20;
  return max_rows * (row + 4 * s.vocab) + kPerThread * (threads + 1);
}

void CpuExecutor::launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
                         std::span<const RowOrder> /*orders*/) {
  for (const KvCopy& copy : plan.copies) {
    parts_.kv.copy_block(copy.source_block, copy.target_block);
  }
  staged_.fill(plan, scheduler, allocator, [](SequenceId) -> TokenId {
    SPATE_CHECK(false);  // every token is known: no plan is made ahead
    return 0;
  });
  for (RopeTable& rope : parts_.params.ropes()) rope.ensure(staged_.end_position);
  const Batch batch{.token_ids = staged_.token_ids,
                    .sequences = staged_.sequences,
                    .logit_rows = staged_.logit_rows};
  parts_.arena.reset();
  Step step{.device = parts_.device, .arena = parts_.arena, .kv = parts_.kv, .batch = batch};
  logits_ = parts_.model.forward(step);
}

}  // namespace spate
