// What one step computes, as the scheduler orders it and the executor runs it: a list of chunks.
// There is no mode: a prompt is a chunk of many tokens, decoding one of a single token.
// Plain data; reuse one Plan for many steps and its vectors stop allocating.
#pragma once

#include <cstdint>
#include <vector>

#include "kv/span.h"

namespace spate {

/// Tokens first .. first + count - 1 of a sequence: their keys and values are written, and the
/// last n_logits rows give logits. A token in flight is only ever in a chunk of its own.
struct Chunk {
  SequenceId sequence{};
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t n_logits = 0;
  /// The chunk reaches the sequence's end: its last row's logits are sampled, the token becomes
  /// number first + count.
  bool samples = false;

  friend bool operator==(const Chunk&, const Chunk&) = default;
};

/// Executors run plans in the order given and finish the copies before the first chunk.
struct Plan {
  std::int64_t step = 0;
  std::vector<Chunk> chunks{};
  std::vector<KvCopy> copies{};
  std::vector<SequenceId> preempted{};  // lost their cache to this plan
  std::int64_t n_tokens = 0;            // rows of the batch: the sum of the counts
  std::int64_t n_logits = 0;            // rows with logits
  std::int64_t n_samples = 0;           // chunks that sample

  bool empty() const { return chunks.empty(); }
};

/// What sampling made of one chunk with `samples`.
struct Outcome {
  std::int32_t token = 0;
  bool stop = false;  // end of sequence, stop string: the sequence ends with this token
};

}  // namespace spate
