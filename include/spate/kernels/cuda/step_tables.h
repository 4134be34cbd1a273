// What the kernels of one step know about the batch: device pointers at addresses that stay the
// same for the engine's life, so that graphs can be replayed. Filled by the engine before each
// step.
#pragma once
#include <cstdint>

namespace spate::cuda {

struct StepTables {
  // Rows, [max_rows]; padding rows have position -1.
  const std::int32_t* token_ids = nullptr;  // -1 - slot: take sampled[slot]
  const std::int32_t* positions = nullptr;
  const std::int32_t* sequence = nullptr;  // index of the row's sequence in the arrays below
  // Sequences, [max_sequences]; unused ones have q_len 0 and kv_len 0.
  const std::int32_t* q_begin = nullptr;      // first row
  const std::int32_t* q_len = nullptr;        // rows
  const std::int32_t* kv_len = nullptr;       // keys after this step, those of its rows included
  const std::int32_t* table_begin = nullptr;  // its first entry in block_table
  const std::int32_t* n_sequences = nullptr;  // [1]
  // Physical blocks of kKvBlockTokens tokens, a sequence's one after the other.
  const std::int32_t* block_table = nullptr;
  // Rows whose logits are wanted, [max_logit_rows]; padding repeats row 0.
  const std::int32_t* logit_rows = nullptr;
  // Last sampled token of each slot, [max_slots]; written by sampling, read by embed.
  std::int32_t* sampled = nullptr;
};

inline constexpr int kStepBlockTokens = 128;

}  // namespace spate::cuda
