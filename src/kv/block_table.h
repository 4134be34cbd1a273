// What both kinds of allocator have in common: who holds which blocks, how many hold each, and
// when a write needs a copy. A kind only says which free blocks a sequence gets next.
// Owns the tables; a private header of src/kv.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/allocator.h"

namespace spate {

/// What one sequence holds.
struct KvHolding {
  SequenceId sequence{};
  std::int64_t n_tokens = 0;
  std::int64_t n_expected = 0;
  std::vector<KvSpan> spans{};
  std::vector<std::int32_t> blocks{};  // the same, one by one
  std::int64_t n_tail = 0;             // free blocks behind the last span, kept for its growth

  std::int64_t n_blocks() const { return static_cast<std::int64_t>(blocks.size()); }
};

class BlockTable : public KvAllocator {
 public:
  explicit BlockTable(const KvAllocatorOptions& options);

  bool admit(SequenceId sequence, const KvDemand& demand) final;
  bool grow(SequenceId sequence, std::int64_t n_tokens, std::vector<KvCopy>& copies) final;
  void keep(SequenceId sequence, std::int64_t n_tokens) final;
  void fork(SequenceId parent, SequenceId child, std::int64_t n_tokens) final;
  void release(SequenceId sequence) final;

  bool holds(SequenceId sequence) const final { return holdings_.contains(sequence); }
  std::int64_t n_tokens(SequenceId sequence) const final { return at(sequence).n_tokens; }
  std::span<const KvSpan> spans(SequenceId sequence) const final { return at(sequence).spans; }
  std::span<const std::int32_t> block_ids(SequenceId sequence) const final {
    return at(sequence).blocks;
  }
  std::int64_t free_blocks() const final { return n_free_; }
  std::int64_t capacity_blocks() const final { return options_.n_blocks; }
  std::int64_t block_tokens() const final { return options_.block_tokens; }

 protected:
  /// Appends n fresh blocks to the holding; there are as many.
  virtual void take(KvHolding& holding, std::int64_t n_blocks) = 0;
  /// Nobody holds these any more.
  virtual void give(KvSpan run) = 0;
  /// Gives up the blocks kept for growth.
  virtual void drop_tail(KvHolding& holding) = 0;

  /// For take: the run now belongs to the holding.
  void append(KvHolding& holding, KvSpan run, bool merge);

  const KvAllocatorOptions& options() const { return options_; }
  const KvHolding& at(SequenceId sequence) const;
  KvHolding& at(SequenceId sequence);

 private:
  using Holdings = std::unordered_map<SequenceId, KvHolding>;

  KvHolding& enter(SequenceId sequence);
  bool must_copy_last(const KvHolding& holding) const;
  void pop_blocks(KvHolding& holding, std::int64_t n_kept);
  std::int32_t& n_holders(std::int64_t block) {
    return n_holders_[static_cast<std::size_t>(block)];
  }

  KvAllocatorOptions options_;
  std::int64_t n_free_;
  std::vector<std::int32_t> n_holders_;  // [n_blocks]
  Holdings holdings_{};
  std::vector<Holdings::node_type> spare_{};  // so that vectors keep their capacity
};

std::unique_ptr<KvAllocator> make_paged_allocator(const KvAllocatorOptions& options);
std::unique_ptr<KvAllocator> make_segment_allocator(const KvAllocatorOptions& options);

}  // namespace spate
