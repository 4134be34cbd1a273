#include "kv/free_extents.h"

#include "core/check.h"

namespace spate {

FreeExtents::FreeExtents(std::int64_t n_blocks)
    : n_blocks_(n_blocks),
      length_from_(static_cast<std::size_t>(n_blocks)),
      length_to_(static_cast<std::size_t>(n_blocks)) {
  if (n_blocks > 0) insert({.first_block = 0, .n_blocks = n_blocks});
}

std::optional<KvSpan> FreeExtents::best_fit(std::int64_t n_blocks) const {
  const auto found = by_length_.lower_bound({n_blocks, 0});
  if (found == by_length_.end()) return std::nullopt;
  return KvSpan{.first_block = found->second, .n_blocks = found->first};
}

std::optional<KvSpan> FreeExtents::longest() const {
  if (by_length_.empty()) return std::nullopt;
  const auto last = by_length_.rbegin();
  return KvSpan{.first_block = last->second, .n_blocks = last->first};
}

std::int64_t FreeExtents::length_at(std::int64_t first_block) const {
  return first_block < n_blocks_ ? length_from_[static_cast<std::size_t>(first_block)] : 0;
}

KvSpan FreeExtents::take(std::int64_t first_block, std::int64_t n_blocks) {
  const std::int64_t length = length_at(first_block);
  SPATE_CHECK_OP(n_blocks, >, 0);
  SPATE_CHECK_OP(n_blocks, <=, length);
  erase({.first_block = first_block, .n_blocks = length});
  if (n_blocks < length) {
    insert({.first_block = first_block + n_blocks, .n_blocks = length - n_blocks});
  }
  return {.first_block = first_block, .n_blocks = n_blocks};
}

void FreeExtents::give(KvSpan run) {
  SPATE_CHECK_OP(run.n_blocks, >, 0);
  KvSpan joined = run;
  if (run.first_block > 0) {
    const std::int64_t before = length_to_[static_cast<std::size_t>(run.first_block - 1)];
    if (before > 0) {
      erase({.first_block = run.first_block - before, .n_blocks = before});
      joined = {.first_block = run.first_block - before, .n_blocks = run.n_blocks + before};
    }
  }
  const std::int64_t after = length_at(run.end());
  if (after > 0) {
    erase({.first_block = run.end(), .n_blocks = after});
    joined.n_blocks += after;
  }
  insert(joined);
}

void FreeExtents::insert(KvSpan extent) {
  length_from_[static_cast<std::size_t>(extent.first_block)] = extent.n_blocks;
  length_to_[static_cast<std::size_t>(extent.end() - 1)] = extent.n_blocks;
  by_length_.emplace(extent.n_blocks, extent.first_block);
}

void FreeExtents::erase(KvSpan extent) {
  length_from_[static_cast<std::size_t>(extent.first_block)] = 0;
  length_to_[static_cast<std::size_t>(extent.end() - 1)] = 0;
  by_length_.erase({extent.n_blocks, extent.first_block});
}

}  // namespace spate
