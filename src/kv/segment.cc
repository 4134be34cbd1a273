// The segment allocator: few long spans. A sequence is placed by best fit with a tail behind it
// for its growth; it grows into the tail, then into whatever is free behind that, and only then
// gets a further segment elsewhere. Tails are a courtesy: when nothing else is free the longest is
// taken back, so a tail never makes anybody wait.
#include <algorithm>
#include <memory>
#include <memory_resource>
#include <set>
#include <utility>

#include "core/check.h"
#include "kv/block_table.h"
#include "kv/free_extents.h"

namespace spate {
namespace {

class SegmentAllocator final : public BlockTable {
 public:
  explicit SegmentAllocator(const KvAllocatorOptions& options)
      : BlockTable(options), extents_(options.n_blocks) {}

 private:
  void take(KvHolding& holding, std::int64_t n_blocks) override {
    std::int64_t n_left = n_blocks;
    if (holding.n_tail > 0) {
      const std::int64_t n = std::min(n_left, holding.n_tail);
      append(holding, {.first_block = holding.spans.back().end(), .n_blocks = n}, /*merge=*/true);
      set_tail(holding, holding.n_tail - n);
      n_left -= n;
    }
    while (n_left > 0) {
      const KvSpan run = find_run(holding, n_left);
      append(holding, run, /*merge=*/true);
      n_left -= run.n_blocks;
    }
    if (holding.n_tail == 0) reserve_tail(holding);
  }

  void give(KvSpan run) override { extents_.give(run); }

  void drop_tail(KvHolding& holding) override {
    if (holding.n_tail == 0) return;
    const KvSpan tail{.first_block = holding.spans.back().end(), .n_blocks = holding.n_tail};
    set_tail(holding, 0);
    extents_.give(tail);
  }

  // At most n_wanted blocks: behind the last span, else the best fit with room to grow, else the
  // best fit, else the longest piece there is.
  KvSpan find_run(const KvHolding& holding, std::int64_t n_wanted) {
    if (!holding.spans.empty()) {
      const std::int64_t end = holding.spans.back().end();
      const std::int64_t n_behind = extents_.length_at(end);
      if (n_behind > 0) return extents_.take(end, std::min(n_behind, n_wanted));
    }
    auto extent = extents_.best_fit(n_wanted + tail_wanted(holding, n_wanted));
    if (!extent) extent = extents_.best_fit(n_wanted);
    if (!extent) extent = extents_.longest();
    if (!extent) {
      reclaim_longest_tail();
      return find_run(holding, n_wanted);
    }
    return extents_.take(extent->first_block, std::min(extent->n_blocks, n_wanted));
  }

  std::int64_t tail_wanted(const KvHolding& holding, std::int64_t n_coming) const {
    const std::int64_t n_left = blocks_for(holding.n_expected) - holding.n_blocks() - n_coming;
    return std::clamp<std::int64_t>(n_left, 0, options().max_reserved_blocks);
  }

  void reserve_tail(KvHolding& holding) {
    const std::int64_t end = holding.spans.back().end();
    const std::int64_t n = std::min(tail_wanted(holding, 0), extents_.length_at(end));
    if (n == 0) return;
    extents_.take(end, n);
    set_tail(holding, n);
  }

  void set_tail(KvHolding& holding, std::int64_t n_blocks) {
    if (holding.n_tail > 0) tails_.erase({holding.n_tail, holding.sequence});
    if (n_blocks > 0) tails_.emplace(n_blocks, holding.sequence);
    holding.n_tail = n_blocks;
  }

  void reclaim_longest_tail() {
    SPATE_CHECK(!tails_.empty());
    drop_tail(at(tails_.rbegin()->second));
  }

  FreeExtents extents_;
  std::pmr::unsynchronized_pool_resource pool_{};
  std::pmr::set<std::pair<std::int64_t, SequenceId>> tails_{&pool_};  // length, owner
};

}  // namespace

std::unique_ptr<KvAllocator> make_segment_allocator(const KvAllocatorOptions& options) {
  return std::make_unique<SegmentAllocator>(options);
}

}  // namespace spate
