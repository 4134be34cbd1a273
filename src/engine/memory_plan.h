// Where the memory goes, decided at start: weights, cache, workspace. Pure arithmetic; what can
// not fit is refused here with the table, and never later.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spate/engine.h"
#include "spate/result.h"

namespace spate {

/// What the plan is made from. Bytes, unless said otherwise.
struct MemoryDemand {
  std::int64_t weights = 0;         // packed matrices
  std::int64_t vectors = 0;         // rotary tables, norms, biases
  std::int64_t workspace = 0;       // one step's results
  std::int64_t logits = 0;          // of one step
  std::int64_t logit_rows = 0;      // rows that they are
  std::int64_t kv_block = 0;        // one block of the cache, all layers
  std::int64_t block_tokens = 0;    // tokens
  std::int64_t context_length = 0;  // tokens of the longest sequence
  std::int64_t max_requests = 0;    // sequences
  std::int64_t kv_memory = 0;       // asked for; 0: choose
  std::int64_t available = 0;       // what the machine (or the GPU) has left
  bool on_gpu = false;
  // On a GPU alone.
  std::int64_t tables = 0;         // the batch, attention's and libraries' scratch, sampling
  std::int64_t transfer = 0;       // what weights go through; as much again is page-locked
  std::int64_t locked_tables = 0;  // page-locked: what `tables` are filled from and read into
  std::int64_t locked_logits = 0;  // page-locked: a step's logits, once the host wants them
};

struct MemoryPlan {
  std::int64_t kv_blocks = 0;
  std::vector<MemoryItem> items{};
  std::int64_t total() const;  // but for what is page-locked
};

/// How many rows of logits one step may have: one for every sequence that samples, and as many of
/// scored prompts as a quarter of a GiB holds, since a vocabulary may have 250,000 tokens.
struct LogitRows {
  std::int64_t scored = 0;  // besides the sampled ones
  std::int64_t total = 0;
};
LogitRows logit_rows(const EngineOptions& options, std::int64_t vocab_size);
/// Bytes of one row of logits, with its alignment.
std::int64_t logit_row_bytes(std::int64_t vocab_size);

/// kOutOfMemory with the table when the plan is larger than what is available.
Result<MemoryPlan> plan_memory(const MemoryDemand& demand);

/// A line per item and their total, for people; what is page-locked has its own total.
std::string memory_table(const std::vector<MemoryItem>& items);
/// "1.5 GiB", "312.0 KiB".
std::string human_bytes(std::int64_t n_bytes);

/// What this process may still take: MemAvailable, then the cgroup's limit.
std::int64_t available_memory();

}  // namespace spate
