// Who holds which blocks of the KV cache. Host only and deterministic: the blocks a sequence gets
// are a function of the calls made so far. The storage itself is elsewhere (kv/cache.h).
// Engine thread only. Sequences own their blocks until release; forked ones share them by count.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kv/span.h"

namespace spate {

/// Slots for a new sequence: as many as it needs now, and how many it may come to need, which is a
/// hint for placing it and reserves nothing.
struct KvDemand {
  std::int64_t n_tokens = 0;
  std::int64_t n_expected = 0;
};

/// A sequence may write its slots [0, n) after admit or grow to n. Both succeed exactly when the
/// blocks they need are no more than free_blocks(), whatever the kind: a scheduler decides the
/// same with either. Unknown and duplicate sequences are bugs and abort.
class KvAllocator {
 public:
  KvAllocator() = default;
  KvAllocator(const KvAllocator&) = delete;
  KvAllocator& operator=(const KvAllocator&) = delete;
  virtual ~KvAllocator() = default;

  /// Gives a new sequence its first slots. False: no room now, nothing changed.
  virtual bool admit(SequenceId sequence, const KvDemand& demand) = 0;

  /// Makes the sequence's slots n_tokens; fewer than it has is no change. Where the first new
  /// slot lies in a block that others hold too, the sequence gets a copy of its own and the order
  /// to fill it is appended to `copies`. False: no room now, nothing changed.
  virtual bool grow(SequenceId sequence, std::int64_t n_tokens, std::vector<KvCopy>& copies) = 0;

  /// Drops the slots from n_tokens on (rejected speculation). The earlier ones do not move.
  virtual void keep(SequenceId sequence, std::int64_t n_tokens) = 0;

  /// A new sequence that shares the parent's first n_tokens slots, which must have been computed
  /// by earlier plans. Takes no block: a shared, partly filled block is copied by the first grow.
  virtual void fork(SequenceId parent, SequenceId child, std::int64_t n_tokens) = 0;

  /// Gives everything back. The memory may be given out again at once, even while a plan that uses
  /// it is still running, because plans run in order.
  virtual void release(SequenceId sequence) = 0;

  virtual bool holds(SequenceId sequence) const = 0;
  virtual std::int64_t n_tokens(SequenceId sequence) const = 0;

  /// Where the sequence's slots are, in order. Valid until the next change.
  virtual std::span<const KvSpan> spans(SequenceId sequence) const = 0;
  /// The same as a table of blocks: slot i is in block_ids[i / block_tokens]. Kept up to date by
  /// every call, not built by this one.
  virtual std::span<const std::int32_t> block_ids(SequenceId sequence) const = 0;

  /// Blocks that nobody holds, tails reserved for growth included.
  virtual std::int64_t free_blocks() const = 0;
  virtual std::int64_t capacity_blocks() const = 0;
  virtual std::int64_t block_tokens() const = 0;

  std::int64_t blocks_for(std::int64_t n_tokens) const {
    return (n_tokens + block_tokens() - 1) / block_tokens();
  }
  /// Whether a sequence of that length fits into the empty cache.
  bool can_ever_fit(std::int64_t n_tokens) const {
    return blocks_for(n_tokens) <= capacity_blocks();
  }
};

enum class KvCacheKind : std::uint8_t {
  kSegment,  // few long spans that grow in place
  kPaged,    // spans of one block
};

struct KvAllocatorOptions {
  std::int64_t n_blocks = 0;
  std::int64_t block_tokens = kKvBlockTokens;
  /// Segments only: the longest tail kept behind a sequence for its growth. Tails count as free
  /// and are taken back when somebody needs them.
  std::int64_t max_reserved_blocks = 8;
};

std::unique_ptr<KvAllocator> make_kv_allocator(KvCacheKind kind, const KvAllocatorOptions& options);

}  // namespace spate
