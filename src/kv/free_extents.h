// The free runs of blocks: found by size, joined with their neighbours when given back. Knows
// nothing of sequences. O(log n) in the number of runs; allocates nothing once it has been large.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "kv/span.h"

namespace spate {

class FreeExtents {
 public:
  explicit FreeExtents(std::int64_t n_blocks);

  /// The shortest extent of at least n blocks, the lowest of equals.
  std::optional<KvSpan> best_fit(std::int64_t n_blocks) const;
  /// The longest extent, the highest of equals.
  std::optional<KvSpan> longest() const;
  /// How many blocks are free from this one on, if an extent starts here; else 0.
  std::int64_t length_at(std::int64_t first_block) const;

  /// Takes the first n blocks of the extent that starts there.
  KvSpan take(std::int64_t first_block, std::int64_t n_blocks);
  void give(KvSpan run);

  std::int64_t count() const { return static_cast<std::int64_t>(by_length_.size()); }

 private:
  using LengthAndFirst = std::pair<std::int64_t, std::int64_t>;

  void insert(KvSpan extent);
  void erase(KvSpan extent);

  std::int64_t n_blocks_;
  // Lengths written at both ends of each extent, so that a neighbour finds it without a search
  // (boundary tags, Knuth, The Art of Computer Programming 1, 2.5); 0 elsewhere.
  std::vector<std::int64_t> length_from_;  // [n_blocks]
  std::vector<std::int64_t> length_to_;    // [n_blocks]
  std::pmr::unsynchronized_pool_resource pool_{};
  std::pmr::set<LengthAndFirst> by_length_{&pool_};
};

}  // namespace spate
