// Matrix: the weights of one linear map (or of several that share their input), cut into panels of
// 32 output columns. It borrows the checkpoint's rows and the memory of its packed panels.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "device/device.h"
#include "quant/device_matrix.h"
#include "quant/format.h"

namespace spate {

inline constexpr std::int64_t kPanelColumns = 32;

/// Where the up to 32 rows (output features) of one panel lie in the checkpoint. Missing columns
/// (n_rows < 32) are zero.
struct PanelSource {
  const std::byte* rows = nullptr;  // first row; rows are k contiguous elements
  std::int64_t n_rows = 0;
};

/// Builders of panel lists. `w` is [n, k] in a float dtype.
/// Columns in order: ceil(n / 32) panels.
std::vector<PanelSource> panels_of(Tensor w);
/// Heads padded to whole panels: n_heads * ceil(head_dim / 32) panels.
std::vector<PanelSource> head_panels_of(Tensor w, std::int64_t head_dim);
/// gate 0, up 0, gate 1, up 1, ...; for a Matrix of PanelOrder::kGateUp.
std::vector<PanelSource> interleaved(const std::vector<PanelSource>& gate,
                                     const std::vector<PanelSource>& up);

enum class PanelOrder : std::uint8_t { kInOrder, kGateUp };

/// Rows of a checkpoint that follow each other in memory.
struct RowRun {
  const std::byte* rows = nullptr;
  std::int64_t n_rows = 0;
};

/// Thread rule: `pack` may run on another thread beside operators that read the matrix; they use
/// the checkpoint's rows until it is done, with the same bits (float formats only; quantized
/// formats must be packed before first use).
class Matrix {
 public:
  /// Borrows `sources` (dtype `stored`, k columns each row) for its whole life.
  Matrix(WeightFormat format, DType stored, std::int64_t k, std::vector<PanelSource> sources,
         PanelOrder order = PanelOrder::kInOrder);
  Matrix(Matrix&&) noexcept;
  Matrix& operator=(Matrix&&) = delete;
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;
  ~Matrix() = default;

  WeightFormat format() const { return format_; }
  DType stored() const { return stored_; }
  std::int64_t k() const { return k_; }
  std::int64_t n_panels() const { return static_cast<std::int64_t>(sources_.size()); }
  /// Output columns including padding.
  std::int64_t n_columns() const { return n_panels() * kPanelColumns; }
  std::span<const PanelSource> sources() const { return sources_; }
  std::int64_t panel_bytes() const;
  std::int64_t packed_bytes() const { return n_panels() * panel_bytes(); }

  /// The same weights without padding, in the order of the checkpoint: all gates before all ups.
  std::vector<RowRun> row_runs() const;
  std::int64_t n_rows() const;  // of row_runs()
  /// The bias in that order; empty if there is none.
  std::vector<float> row_bias() const;

  /// f32 [n_columns], or null. Set before first use.
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }
  void set_bias(std::vector<float> bias) { bias_ = std::move(bias); }

  bool packed() const { return packed_.load(std::memory_order_acquire); }
  /// Panels when packed, else null.
  const std::byte* panels() const { return packed() ? panels_ : nullptr; }

  /// Lends the memory for the panels: 64-byte aligned, packed_bytes() long.
  void set_storage(std::byte* storage) { panels_ = storage; }
  /// Packs panels [begin, end) into the storage; any thread, any order, deterministic.
  void pack_panels(CpuIsa isa, std::int64_t begin, std::int64_t end);
  /// Packs one panel to `destination` (64-byte aligned, panel_bytes()).
  void pack_panel(CpuIsa isa, std::int64_t panel, std::byte* destination) const;
  /// Where the weights are on a GPU; set once they are there, and then panels are not used.
  const DeviceMatrix* on_device() const { return on_device_ ? &*on_device_ : nullptr; }
  void set_on_device(const DeviceMatrix& m) { on_device_ = m; }
  /// What rows must look like that this matrix multiplies.
  RowFormat row_format() const { return row_format_of(format_); }

  void mark_packed() { packed_.store(true, std::memory_order_release); }

 private:
  WeightFormat format_;
  DType stored_;
  std::int64_t k_;
  std::vector<PanelSource> sources_;
  PanelOrder order_;
  std::vector<float> bias_;
  std::byte* panels_ = nullptr;
  std::optional<DeviceMatrix> on_device_;
  std::atomic<bool> packed_{false};
};

}  // namespace spate
