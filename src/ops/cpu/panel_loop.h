// The loop that every linear map on the CPU is made of: one dispatch that packs the input rows,
// then hands out panels, multiplies and calls an epilogue on each finished tile. Scratch comes from
// the arena and is given back.
#pragma once

#include <algorithm>

#include "device/arena.h"
#include "device/device.h"
#include "ops/cpu/linear_kernels.h"
#include "ops/rows.h"
#include "quant/matrix.h"

namespace spate::ops::cpu {

/// What an epilogue gets: `n_rows` rows of sums of the panels that belong to one item.
struct Tile {
  std::int64_t first_panel;
  std::int64_t first_row;
  std::int64_t n_rows;
  float* sums;  // [n_rows][panels per item * 32]
  std::int64_t sum_stride;
};

kernels::cpu::NormArgs norm_args(const NormParams* norm);

class PanelLoop {
 public:
  /// Panels are finished `panels_per_item` at a time: 2 for gate and up, a head's for q, k and v.
  PanelLoop(Device& device, const Rows& x, const Matrix& w, std::int64_t panels_per_item);

  const LinearKernels& kernels() const { return kernels_; }

  /// finish(const Tile&) is called once for every item and block of rows, on any worker.
  template <class Finish>
  void run(Arena& arena, Finish&& finish) {
    if (n_rows_ == 0) return;
    const std::int64_t mark = arena.mark();
    allocate_scratch(arena);
    device_.pool().run([&](int worker) { work(worker, finish); }, active_);
    arena.reset(mark);
  }

 private:
  /// One worker's part.
  template <class Finish>
  void work(int worker, Finish& finish) {
    const std::int64_t n_items = n_blocks_ * n_groups_;
    std::int64_t n = chunk_;
    std::int64_t i = device_.pool().take(n);
    call_for_panels(i);
    const std::byte* rows = prepare_rows(worker);
    for (; i < n_items; i = device_.pool().take(n)) {
      const std::int64_t end = std::min(n_items, i + n);
      for (std::int64_t j = i; j < end; j += together_) {
        const std::int64_t count = std::min(together_, end - j);
        finish_items(multiply(worker, rows, j, count), count, finish);
      }
      n = next_chunk(n_items - end);
    }
  }

  template <class Finish>
  void finish_items(Tile tile, std::int64_t count, Finish& finish) const {
    for (std::int64_t t = 0; t < count; ++t) {
      finish(tile);
      tile.first_panel += panels_per_item_;
      tile.sums += panels_per_item_ * kPanelColumns;
    }
  }

  void plan_blocks();
  void plan_workers();
  void allocate_scratch(Arena& arena);
  /// The packed rows as this worker sees them; packs its share of them first.
  const std::byte* prepare_rows(int worker);
  void pack_rows(std::byte* to, std::int64_t begin, std::int64_t end) const;
  /// Items to take next when `left` are left: fewer at the end, so that workers end together.
  std::int64_t next_chunk(std::int64_t left) const {
    return std::clamp<std::int64_t>((left + active_ - 1) / active_, 1, chunk_);
  }
  /// Asks memory for the first lines of the panels that will be multiplied first.
  void call_for_panels(std::int64_t first) const;
  /// `count` (at most together_) items' sums, as the tile of the first.
  Tile multiply(int worker, const std::byte* rows, std::int64_t first, std::int64_t count);
  void multiply_unpacked(int worker, kernels::cpu::MultiplyArgs args, std::int64_t first_panel);
  bool runs_in_place(std::int64_t panel) const;

  Device& device_;
  const Rows& x_;
  const Matrix& w_;
  LinearKernels kernels_;
  kernels::cpu::RowKind kind_;
  std::int64_t panels_per_item_;
  std::int64_t n_rows_;
  std::int64_t row_bytes_;
  const std::byte* panels_;      // null: straight from the checkpoint's rows
  std::int64_t block_rows_ = 0;  // rows whose activations stay in the L2 cache
  std::int64_t n_blocks_ = 0;
  std::int64_t n_groups_ = 0;
  std::int64_t chunk_ = 1;     // items taken at once
  std::int64_t together_ = 1;  // items multiplied at once
  int active_ = 1;
  std::byte* packed_rows_ = nullptr;
  std::int64_t packed_rows_bytes_ = 0;  // of one copy
  std::byte* sums_ = nullptr;
  std::int64_t sums_bytes_ = 0;  // of one worker
  std::byte* panel_ = nullptr;   // one worker's copy of an unpacked panel
};

}  // namespace spate::ops::cpu
