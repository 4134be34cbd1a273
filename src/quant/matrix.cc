#include "quant/matrix.h"

#include <algorithm>

#include "core/check.h"
#include "quant/pack.h"

namespace spate {
namespace {

using kernels::cpu::Element;
using kernels::cpu::PanelFormat;

static_assert(kPanelColumns == kernels::cpu::kColumns);
static_assert(static_cast<int>(PanelFormat::kQ4) == static_cast<int>(WeightFormat::kQ4));
static_assert(static_cast<int>(PanelFormat::kBF16) == static_cast<int>(WeightFormat::kBF16));

PackPanel pack_panel_of(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512:
      return pack_panel_avx512;
    case CpuIsa::kAvx2:
      return pack_panel_avx2;
    default:
      return pack_panel_generic;
  }
}

Element element_of(DType t) {
  SPATE_CHECK(t == DType::kF32 || t == DType::kF16 || t == DType::kBF16);
  if (t == DType::kF32) return Element::kF32;
  return t == DType::kF16 ? Element::kF16 : Element::kBF16;
}

/// Panels of the rows [begin, end) of w.
void append_panels(std::vector<PanelSource>& panels, Tensor w, std::int64_t begin,
                   std::int64_t end) {
  const auto* data = static_cast<const std::byte*>(w.data());
  const std::int64_t row_bytes = w.dim(1) * size_of(w.dtype());
  for (std::int64_t row = begin; row < end; row += kPanelColumns) {
    panels.push_back({data + row * row_bytes, std::min(kPanelColumns, end - row)});
  }
}

}  // namespace

std::vector<PanelSource> panels_of(Tensor w) {
  std::vector<PanelSource> panels;
  append_panels(panels, w, 0, w.dim(0));
  return panels;
}

std::vector<PanelSource> head_panels_of(Tensor w, std::int64_t head_dim) {
  SPATE_CHECK_OP(w.dim(0) % head_dim, ==, 0);
  std::vector<PanelSource> panels;
  for (std::int64_t row = 0; row < w.dim(0); row += head_dim) {
    append_panels(panels, w, row, row + head_dim);
  }
  return panels;
}

std::vector<PanelSource> interleaved(const std::vector<PanelSource>& gate,
                                     const std::vector<PanelSource>& up) {
  SPATE_CHECK_OP(gate.size(), ==, up.size());
  std::vector<PanelSource> panels;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    panels.push_back(gate[i]);
    panels.push_back(up[i]);
  }
  return panels;
}

Matrix::Matrix(WeightFormat format, DType stored, std::int64_t k, std::vector<PanelSource> sources,
               PanelOrder order)
    : format_(format), stored_(stored), k_(k), sources_(std::move(sources)), order_(order) {
  SPATE_CHECK_OP(k, >, 0);
}

Matrix::Matrix(Matrix&& other) noexcept
    : format_(other.format_),
      stored_(other.stored_),
      k_(other.k_),
      sources_(std::move(other.sources_)),
      order_(other.order_),
      bias_(std::move(other.bias_)),
      panels_(other.panels_),
      on_device_(other.on_device_),
      packed_(other.packed()) {}

std::vector<RowRun> Matrix::row_runs() const {
  std::vector<RowRun> runs;
  const std::int64_t row_bytes = k_ * size_of(stored_);
  const auto append = [&](const PanelSource& s) {
    RowRun* last = runs.empty() ? nullptr : &runs.back();
    if (last != nullptr && last->rows + last->n_rows * row_bytes == s.rows) {
      last->n_rows += s.n_rows;
    } else {
      runs.push_back({s.rows, s.n_rows});
    }
  };
  const std::size_t step = order_ == PanelOrder::kGateUp ? 2 : 1;
  for (std::size_t first = 0; first < step; ++first) {
    for (std::size_t i = first; i < sources_.size(); i += step) append(sources_[i]);
  }
  return runs;
}

std::int64_t Matrix::n_rows() const {
  std::int64_t n = 0;
  for (const PanelSource& s : sources_) n += s.n_rows;
  return n;
}

std::vector<float> Matrix::row_bias() const {
  std::vector<float> bias;
  if (bias_.empty()) return bias;
  const std::size_t step = order_ == PanelOrder::kGateUp ? 2 : 1;
  for (std::size_t first = 0; first < step; ++first) {
    for (std::size_t i = first; i < sources_.size(); i += step) {
      const auto from = bias_.begin() + static_cast<std::ptrdiff_t>(i) * kPanelColumns;
      bias.insert(bias.end(), from, from + sources_[i].n_rows);
    }
  }
  return bias;
}

std::int64_t Matrix::panel_bytes() const {
  return kernels::cpu::panel_bytes(static_cast<PanelFormat>(format_), k_);
}

void Matrix::pack_panel(CpuIsa isa, std::int64_t panel, std::byte* destination) const {
  const PanelSource& source = sources_[static_cast<std::size_t>(panel)];
  pack_panel_of(isa)({.rows = reinterpret_cast<const std::uint8_t*>(source.rows),
                      .element = element_of(stored_),
                      .n_rows = source.n_rows,
                      .k = k_,
                      .format = static_cast<PanelFormat>(format_),
                      .panel = reinterpret_cast<std::uint8_t*>(destination)});
}

void Matrix::pack_panels(CpuIsa isa, std::int64_t begin, std::int64_t end) {
  SPATE_CHECK(panels_ != nullptr);
  for (std::int64_t p = begin; p < end; ++p) {
    pack_panel(isa, p, panels_ + p * panel_bytes());
  }
}

}  // namespace spate
