#include "kv/block_table.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.h"

namespace spate {

BlockTable::BlockTable(const KvAllocatorOptions& options)
    : options_(options), n_free_(options.n_blocks) {
  SPATE_CHECK_OP(options.n_blocks, >=, 0);
  SPATE_CHECK_OP(options.n_blocks, <=, std::numeric_limits<std::int32_t>::max());
  SPATE_CHECK_OP(options.block_tokens, >, 0);
  n_holders_.resize(static_cast<std::size_t>(options.n_blocks));
}

const KvHolding& BlockTable::at(SequenceId sequence) const {
  const auto found = holdings_.find(sequence);
  SPATE_CHECK(found != holdings_.end());
  return found->second;
}

KvHolding& BlockTable::at(SequenceId sequence) {
  return const_cast<KvHolding&>(std::as_const(*this).at(sequence));
}

KvHolding& BlockTable::enter(SequenceId sequence) {
  SPATE_CHECK(!holds(sequence));
  if (spare_.empty()) {
    KvHolding& holding = holdings_[sequence];
    holding.sequence = sequence;
    return holding;
  }
  auto node = std::move(spare_.back());
  spare_.pop_back();
  node.key() = sequence;
  KvHolding& holding = holdings_.insert(std::move(node)).position->second;
  holding.sequence = sequence;
  return holding;
}

bool BlockTable::admit(SequenceId sequence, const KvDemand& demand) {
  SPATE_CHECK_OP(demand.n_tokens, >=, 0);
  const std::int64_t n_blocks = blocks_for(demand.n_tokens);
  if (n_blocks > n_free_) return false;
  KvHolding& holding = enter(sequence);
  holding.n_tokens = demand.n_tokens;
  holding.n_expected = demand.n_expected;
  const auto n_coming = static_cast<std::size_t>(
      std::max(n_blocks, std::min(blocks_for(demand.n_expected), options_.n_blocks)));
  holding.blocks.reserve(n_coming);
  holding.spans.reserve(n_coming);
  if (n_blocks > 0) take(holding, n_blocks);
  return true;
}

// The next token would land in a block that is part filled and that others read.
bool BlockTable::must_copy_last(const KvHolding& holding) const {
  if (holding.n_tokens % options_.block_tokens == 0) return false;
  return n_holders_[static_cast<std::size_t>(holding.blocks.back())] > 1;
}

bool BlockTable::grow(SequenceId sequence, std::int64_t n_tokens, std::vector<KvCopy>& copies) {
  KvHolding& holding = at(sequence);
  if (n_tokens <= holding.n_tokens) return true;
  const bool copy = must_copy_last(holding);
  const std::int64_t n_new = blocks_for(n_tokens) - holding.n_blocks() + (copy ? 1 : 0);
  if (n_new > n_free_) return false;
  if (copy) {
    const std::int64_t source = holding.blocks.back();
    const auto index = holding.blocks.size() - 1;
    drop_tail(holding);
    pop_blocks(holding, holding.n_blocks() - 1);
    take(holding, n_new);
    copies.push_back({.source_block = source,
                      .target_block = holding.blocks[index],
                      .n_tokens = holding.n_tokens % options_.block_tokens});
  } else if (n_new > 0) {
    take(holding, n_new);
  }
  holding.n_tokens = n_tokens;
  return true;
}

void BlockTable::keep(SequenceId sequence, std::int64_t n_tokens) {
  KvHolding& holding = at(sequence);
  SPATE_CHECK_OP(n_tokens, >=, 0);
  SPATE_CHECK_OP(n_tokens, <=, holding.n_tokens);
  const std::int64_t n_kept = blocks_for(n_tokens);
  holding.n_tokens = n_tokens;
  if (n_kept == holding.n_blocks()) return;
  drop_tail(holding);
  pop_blocks(holding, n_kept);
}

void BlockTable::fork(SequenceId parent, SequenceId child, std::int64_t n_tokens) {
  const KvHolding& holding = at(parent);
  SPATE_CHECK_OP(n_tokens, <=, holding.n_tokens);
  KvHolding& heir = enter(child);
  heir.n_tokens = n_tokens;
  heir.n_expected = holding.n_expected;
  std::int64_t n_left = blocks_for(n_tokens);
  heir.blocks.assign(holding.blocks.begin(), holding.blocks.begin() + n_left);
  for (const std::int32_t block : heir.blocks) ++n_holders(block);
  for (const KvSpan& span : holding.spans) {
    if (n_left == 0) break;
    const std::int64_t n = std::min(n_left, span.n_blocks);
    heir.spans.push_back({.first_block = span.first_block, .n_blocks = n});
    n_left -= n;
  }
}

void BlockTable::release(SequenceId sequence) {
  const auto found = holdings_.find(sequence);
  SPATE_CHECK(found != holdings_.end());
  drop_tail(found->second);
  pop_blocks(found->second, 0);
  spare_.push_back(holdings_.extract(found));
}

void BlockTable::append(KvHolding& holding, KvSpan run, bool merge) {
  if (merge && !holding.spans.empty() && holding.spans.back().end() == run.first_block) {
    holding.spans.back().n_blocks += run.n_blocks;
  } else {
    holding.spans.push_back(run);
  }
  for (std::int64_t block = run.first_block; block < run.end(); ++block) {
    SPATE_CHECK_OP(n_holders(block), ==, 0);
    n_holders(block) = 1;
    holding.blocks.push_back(static_cast<std::int32_t>(block));
  }
  n_free_ -= run.n_blocks;
}

// Blocks without holders go back in runs as long as they lie, last span first.
void BlockTable::pop_blocks(KvHolding& holding, std::int64_t n_kept) {
  std::int64_t n_drop = holding.n_blocks() - n_kept;
  holding.blocks.resize(static_cast<std::size_t>(n_kept));
  while (n_drop > 0) {
    KvSpan& span = holding.spans.back();
    const std::int64_t n = std::min(n_drop, span.n_blocks);
    KvSpan run{.first_block = span.end() - n, .n_blocks = 0};
    for (std::int64_t block = span.end() - n; block < span.end(); ++block) {
      if (--n_holders(block) == 0) {
        ++run.n_blocks;
        ++n_free_;
        continue;
      }
      if (run.n_blocks > 0) give(run);
      run = {.first_block = block + 1, .n_blocks = 0};
    }
    if (run.n_blocks > 0) give(run);
    n_drop -= n;
    span.n_blocks -= n;
    if (span.n_blocks == 0) holding.spans.pop_back();
  }
}

std::unique_ptr<KvAllocator> make_kv_allocator(KvCacheKind kind,
                                               const KvAllocatorOptions& options) {
  return kind == KvCacheKind::kPaged ? make_paged_allocator(options)
                                     : make_segment_allocator(options);
}

}  // namespace spate
