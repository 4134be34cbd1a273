#include "ops/cpu/panel_loop.h"

#include <utility>

namespace spate::ops::cpu {
namespace {

using kernels::cpu::PanelFormat;
using kernels::cpu::RowKind;

static_assert(static_cast<int>(RowKind::kInt8) == static_cast<int>(RowFormat::kInt8));

/// Every worker packs all rows for itself up to here: cheaper than meeting.
constexpr std::int64_t kRowsPackedByEach = 4;
/// So few rows wait for memory, which is faster when this many panels are read side by side.
constexpr std::int64_t kRowsSideBySide = 4;
constexpr std::int64_t kPanelsSideBySide = 4;

}  // namespace

LinearKernels linear_kernels(const Device& device) {
  if (device.isa() == CpuIsa::kGeneric) return linear_kernels_generic();
  if (device.isa() == CpuIsa::kAvx2) return linear_kernels_avx2();
  LinearKernels kernels = linear_kernels_avx512();
  if (device.amx()) use_amx(kernels);
  return kernels;
}

kernels::cpu::NormArgs norm_args(const NormParams* norm) {
  using kernels::cpu::NormKind;
  if (norm == nullptr) return {};
  const bool rms = norm->kind == NormParams::Kind::kRms;
  return {.kind = rms ? NormKind::kRms : NormKind::kLayer,
          .weight = norm->weight,
          .bias = rms ? nullptr : norm->bias,
          .eps = norm->eps};
}

PanelLoop::PanelLoop(Device& device, const Rows& x, const Matrix& w, std::int64_t panels_per_item)
    : device_(device),
      x_(x),
      w_(w),
      kernels_(linear_kernels(device)),
      kind_(kernels::cpu::row_kind(static_cast<PanelFormat>(w.format()))),
      panels_per_item_(panels_per_item),
      n_rows_(x.count()),
      row_bytes_(x.packed ? x.values.stride(0) : kernels::cpu::row_bytes(kind_, w.k())),
      panels_(w.panels()),
      n_groups_(w.n_panels() / panels_per_item) {
  SPATE_CHECK_OP(w.n_panels() % panels_per_item, ==, 0);
  if (n_rows_ == 0) return;
  plan_blocks();
  plan_workers();
}

/// Blocks of rows: their activations fill at most half of a 1 MiB L2 cache, their sums an eighth.
/// Weights are read once per block.
void PanelLoop::plan_blocks() {
  constexpr std::int64_t kRowsBudget = 512 << 10;
  constexpr std::int64_t kSumsBudget = 128 << 10;
  const std::int64_t sum_bytes = panels_per_item_ * kPanelColumns * 4;
  const std::int64_t fits = std::min(kRowsBudget / row_bytes_, kSumsBudget / sum_bytes);
  // Whole tiles of 6 and 12 rows (vectors) and of 16 (AMX).
  const std::int64_t tile = fits >= 48 ? 48 : 12;
  const std::int64_t limit = std::max(tile, fits / tile * tile);
  n_blocks_ = (n_rows_ + limit - 1) / limit;
  // Blocks of about equal size, of whole tiles.
  const std::int64_t even = (n_rows_ + n_blocks_ - 1) / n_blocks_;
  block_rows_ = n_blocks_ == 1 ? n_rows_ : (even + tile - 1) / tile * tile;
  n_blocks_ = (n_rows_ + block_rows_ - 1) / block_rows_;
}

/// Workers join when there is work for them: a dispatch costs up to half a microsecond. Even a
/// small model's weights are more than the L2 cache holds from step to step. The thresholds are
/// coarse on purpose; bits do not depend on them.
void PanelLoop::plan_workers() {
  constexpr double kWorthAWorkerNs = 2000;
  constexpr double kBytesPerNs = 16;  // what one core reads from memory or a shared cache
  constexpr double kMacsPerNs = 150;  // what one core multiplies
  const auto bytes = static_cast<double>(w_.packed_bytes());
  const double macs = static_cast<double>(n_rows_) * static_cast<double>(w_.n_columns() * w_.k());
  const double ns = std::max(bytes / kBytesPerNs, macs / kMacsPerNs);
  const double wanted = std::max(1.0, ns / kWorthAWorkerNs);
  active_ = static_cast<int>(std::min(static_cast<double>(device_.pool().size()), wanted));
  // Few and large pieces cost little to hand out, and what is called ahead at the end of a panel is
  // the next one's; many and small ones end together, which next_chunk sees to.
  constexpr std::int64_t kChunksPerWorker = 8;
  if (n_rows_ <= kRowsSideBySide && panels_ != nullptr) {
    together_ = std::max<std::int64_t>(1, kPanelsSideBySide / panels_per_item_);
  }
  chunk_ = std::max(together_, n_blocks_ * n_groups_ / (kChunksPerWorker * active_));
  // Streams begin anew with every piece, so few rows get large ones.
  constexpr std::int64_t kStreamsPerWorker = 4;
  if (together_ > 1) {
    chunk_ = std::max(chunk_, n_groups_ / (kStreamsPerWorker * active_) / together_ * together_);
  }
}

void PanelLoop::allocate_scratch(Arena& arena) {
  if (!x_.packed) {
    packed_rows_bytes_ = n_rows_ * row_bytes_;
    const std::int64_t copies = n_rows_ <= kRowsPackedByEach ? active_ : 1;
    packed_rows_ = arena.allocate_bytes(copies * packed_rows_bytes_);
  }
  sums_bytes_ = block_rows_ * together_ * panels_per_item_ * kPanelColumns * 4;
  sums_ = arena.allocate_bytes(active_ * sums_bytes_);
  if (panels_ == nullptr) panel_ = arena.allocate_bytes(active_ * w_.panel_bytes());
}

void PanelLoop::pack_rows(std::byte* to, std::int64_t begin, std::int64_t end) const {
  const kernels::cpu::NormArgs norm = norm_args(x_.norm ? &*x_.norm : nullptr);
  for (std::int64_t r = begin; r < end; ++r) {
    kernels_.pack_row({.values = x_.values.row<float>(r),
                       .k = w_.k(),
                       .norm = norm,
                       .kind = kind_,
                       .row = reinterpret_cast<std::uint8_t*>(to + r * row_bytes_)});
  }
}

const std::byte* PanelLoop::prepare_rows(int worker) {
  if (x_.packed) return static_cast<const std::byte*>(x_.values.data());
  if (n_rows_ <= kRowsPackedByEach) {
    std::byte* own = packed_rows_ + worker * packed_rows_bytes_;
    pack_rows(own, 0, n_rows_);
    return own;
  }
  pack_rows(packed_rows_, n_rows_ * worker / active_, n_rows_ * (worker + 1) / active_);
  device_.pool().barrier(worker);
  return packed_rows_;
}

void PanelLoop::call_for_panels(std::int64_t first) const {
  constexpr std::int64_t kLineBytes = 64;
  constexpr std::int64_t kCalled = 16 * kLineBytes;
  if (device_.own_prefetch() || n_rows_ > kRowsSideBySide) return;
  if (panels_ == nullptr || first >= n_groups_) return;
  const std::int64_t n_panels = std::min(together_, n_groups_ - first) * panels_per_item_;
  const std::byte* panel = panels_ + first * panels_per_item_ * w_.panel_bytes();
  for (std::int64_t at = 0; at < kCalled; at += kLineBytes) {
    for (std::int64_t p = 0; p < n_panels; ++p) {
      __builtin_prefetch(panel + p * w_.panel_bytes() + at);
    }
  }
}

Tile PanelLoop::multiply(int worker, const std::byte* rows, std::int64_t first,
                         std::int64_t count) {
  const std::int64_t first_row = first / n_groups_ * block_rows_;
  const Tile tile{.first_panel = first % n_groups_ * panels_per_item_,
                  .first_row = first_row,
                  .n_rows = std::min(block_rows_, n_rows_ - first_row),
                  .sums = reinterpret_cast<float*>(sums_ + worker * sums_bytes_),
                  .sum_stride = together_ * panels_per_item_ * kPanelColumns};
  kernels::cpu::MultiplyArgs args{
      .n_panels = count * panels_per_item_,
      .rows = reinterpret_cast<const std::uint8_t*>(rows + first_row * row_bytes_),
      .row_stride = row_bytes_,
      .n_rows = tile.n_rows,
      .k = w_.k(),
      .sums = tile.sums,
      .sum_stride = tile.sum_stride,
      .own_prefetch = device_.own_prefetch()};
  if (panels_ == nullptr) {
    multiply_unpacked(worker, args, tile.first_panel);
    return tile;
  }
  const std::byte* panel = panels_ + tile.first_panel * w_.panel_bytes();
  args.panel = reinterpret_cast<const std::uint8_t*>(panel);
  kernels_.multiply[static_cast<int>(w_.format())](args);
  return tile;
}

/// Whether the kernels can multiply panel p straight from the checkpoint's rows.
bool PanelLoop::runs_in_place(std::int64_t p) const {
  constexpr std::int64_t kMostRows = 2;
  return kernels_.multiply_in_place != nullptr && n_rows_ <= kMostRows &&
         w_.format() == WeightFormat::kBF16 && w_.stored() == DType::kBF16 &&
         w_.k() % kernels::cpu::kStep == 0 &&
         w_.sources()[static_cast<std::size_t>(p)].n_rows == kPanelColumns;
}

/// One panel at a time, if need be through this worker's copy.
void PanelLoop::multiply_unpacked(int worker, kernels::cpu::MultiplyArgs args,
                                  std::int64_t first_panel) {
  std::byte* copy = panel_ + worker * w_.panel_bytes();
  const std::int64_t end = first_panel + std::exchange(args.n_panels, 1);
  args.panel = reinterpret_cast<const std::uint8_t*>(copy);
  for (std::int64_t p = first_panel; p < end; ++p, args.sums += kPanelColumns) {
    if (runs_in_place(p)) {
      const std::byte* columns = w_.sources()[static_cast<std::size_t>(p)].rows;
      kernels_.multiply_in_place({.columns = reinterpret_cast<const std::uint8_t*>(columns),
                                  .rows = args.rows,
                                  .row_stride = args.row_stride,
                                  .n_rows = args.n_rows,
                                  .k = args.k,
                                  .sums = args.sums,
                                  .sum_stride = args.sum_stride});
      continue;
    }
    w_.pack_panel(device_.isa(), p, copy);
    kernels_.multiply[static_cast<int>(w_.format())](args);
  }
}

}  // namespace spate::ops::cpu
