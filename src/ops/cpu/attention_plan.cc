#include "ops/cpu/attention_plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace spate::ops::cpu {
namespace {

using kernels::cpu::AttentionState;
using kernels::cpu::kKvChunk;
using kernels::cpu::kTaskRows;

/// Below this many multiplications waking a worker costs more than it saves.
constexpr std::int64_t kSerialProducts = 50'000;
/// Pieces per worker that even out the load.
constexpr std::int64_t kPiecesPerWorker = 4;

/// The rows of one block and the keys they see.
struct RowBlock {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_key = 0;
  std::int64_t end_key = 0;

  std::int64_t cost() const { return rows * (end_key - first_key); }
  std::int64_t chunks() const { return (end_key - 1) / kKvChunk - first_key / kKvChunk + 1; }
};

template <class F>
void each_block(const AttentionShape& shape, const SequenceRows& sequence, F f) {
  const std::int64_t rows = sequence.n_rows * shape.group;
  for (std::int64_t r = 0; r < rows; r += kTaskRows) {
    const std::int64_t n = std::min(kTaskRows, rows - r);
    const std::int64_t first = sequence.first_position + r / shape.group;
    const std::int64_t last = sequence.first_position + (r + n - 1) / shape.group;
    const std::int64_t begin =
        shape.window > 0 ? std::max<std::int64_t>(first - shape.window + 1, 0) : 0;
    f(RowBlock{.first_row = r, .rows = n, .first_key = begin, .end_key = last + 1});
  }
}

/// Items are put in order by classes of cost, four to a factor of two: no sorting, no allocation.
constexpr std::size_t kClasses = 256;
std::size_t cost_class(std::int64_t cost) {
  const auto c = static_cast<std::uint64_t>(std::max<std::int64_t>(cost, 4));
  const auto width = static_cast<std::size_t>(std::bit_width(c));
  const auto fraction = (c >> (width - 3)) & 3U;
  return kClasses - 1 - (width * 4 + fraction);
}

class Planner {
 public:
  Planner(Arena& arena, const AttentionShape& shape, std::int64_t split_above)
      : arena_(arena), shape_(shape), split_above_(split_above) {}

  void count(const RowBlock& block) {
    const std::int64_t pieces = pieces_of(block);
    starts_[cost_class(block.cost() / pieces)] += pieces * shape_.kv_heads;
    n_items_ += pieces * shape_.kv_heads;
  }

  std::span<AttentionItem> allocate() {
    auto* items = reinterpret_cast<AttentionItem*>(
        arena_.allocate_bytes(n_items_ * static_cast<std::int64_t>(sizeof(AttentionItem))));
    std::int64_t next = 0;
    for (std::int64_t& start : starts_) start = std::exchange(next, next + start);
    return items_ = {items, static_cast<std::size_t>(n_items_)};
  }

  void place(std::int32_t sequence, const RowBlock& block) {
    const std::int64_t pieces = pieces_of(block);
    std::int64_t& at = starts_[cost_class(block.cost() / pieces)];
    for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
      AttentionItem item{.sequence = sequence,
                         .head = static_cast<std::int32_t>(h),
                         .first_row = block.first_row,
                         .rows = block.rows};
      if (pieces > 1) prepare_split(item, pieces);
      for (std::int64_t c = 0; c < pieces; ++c) {
        item.chunk = c;
        items_[static_cast<std::size_t>(at++)] = item;
      }
    }
  }

 private:
  std::int64_t pieces_of(const RowBlock& block) const {
    return block.cost() > split_above_ ? block.chunks() : 1;
  }
  void prepare_split(AttentionItem& item, std::int64_t chunks) {
    const std::int64_t floats = chunks * AttentionState::n_floats(shape_.layout);
    item.states = reinterpret_cast<float*>(arena_.allocate_bytes(floats * 4));
    item.left = reinterpret_cast<std::int32_t*>(arena_.allocate_bytes(sizeof(std::int32_t)));
    *item.left = static_cast<std::int32_t>(chunks);
  }

  Arena& arena_;
  const AttentionShape& shape_;
  std::int64_t split_above_;
  std::int64_t n_items_ = 0;
  std::array<std::int64_t, kClasses> starts_{};
  std::span<AttentionItem> items_{};
};

}  // namespace

AttentionPlan plan_attention(Arena& arena, const AttentionShape& shape,
                             std::span<const SequenceRows> sequences, int max_workers) {
  std::int64_t cost = 0;
  for (const SequenceRows& s : sequences) {
    each_block(shape, s, [&](const RowBlock& b) { cost += b.cost() * shape.kv_heads; });
  }
  const bool serial = cost * shape.layout.head_dim * 2 < kSerialProducts;
  const int workers = serial ? 1 : max_workers;

  Planner planner(arena, shape, workers == 1 ? cost : cost / (workers * kPiecesPerWorker));
  for (const SequenceRows& s : sequences) {
    each_block(shape, s, [&](const RowBlock& b) { planner.count(b); });
  }
  const std::span<AttentionItem> items = planner.allocate();
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    each_block(shape, sequences[i],
               [&](const RowBlock& b) { planner.place(static_cast<std::int32_t>(i), b); });
  }
  return {items, workers};
}

}  // namespace spate::ops::cpu
