// Reads packed panels one weight at a time, in double precision: what the kernels are compared
// with. Written from docs/adr/0001-panels.md.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/check.h"
#include "core/dtype.h"
#include "spate/kernels/cpu/panel.h"

namespace spate::reference {

template <class T>
T stored_at(const std::uint8_t* p, std::int64_t index) {
  T value;
  std::memcpy(&value, p + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// Value i of an int8 row of n.
inline double packed_int8(const std::uint8_t* row, std::int64_t n, std::int64_t i) {
  const auto scale = stored_at<float>(row + (n + 31) / 32 * 32, i / 32);
  return static_cast<double>(scale) * stored_at<std::int8_t>(row, i);
}

/// The scale of a quantized column's group.
inline double panel_scale(kernels::cpu::PanelFormat format, const std::uint8_t* panel,
                          std::int64_t k, std::int64_t column) {
  const std::int64_t bytes = kernels::cpu::step_bytes(format);
  return stored_at<F16>(panel + (k / 32 + 1) * bytes - 64, column).to_float();
}

/// The integer of a quantized weight, without its offset.
inline int panel_integer(kernels::cpu::PanelFormat format, const std::uint8_t* panel,
                         std::int64_t k, std::int64_t column) {
  using kernels::cpu::PanelFormat;
  const std::uint8_t* step = panel + k / 32 * kernels::cpu::step_bytes(format);
  const std::int64_t quad = k % 32 / 4;
  if (format == PanelFormat::kQ8) return step[quad * 128 + column * 4 + k % 4] - 128;
  const int byte = step[quad * 64 + column % 16 * 4 + k % 4];
  return (column < 16 ? byte & 15 : byte >> 4) - 8;
}

/// Weight (k, column) of a panel.
inline double panel_weight(kernels::cpu::PanelFormat format, const std::uint8_t* panel,
                           std::int64_t k, std::int64_t column) {
  using kernels::cpu::PanelFormat;
  const std::uint8_t* step = panel + k / 32 * kernels::cpu::step_bytes(format);
  const std::int64_t i = k % 32;
  switch (format) {
    case PanelFormat::kF32:
      return stored_at<float>(step, i * 32 + column);
    case PanelFormat::kF16:
      return stored_at<F16>(step, i * 32 + column).to_float();
    case PanelFormat::kQ8:
    case PanelFormat::kQ4:
      return panel_scale(format, panel, k, column) * panel_integer(format, panel, k, column);
    default:
      return stored_at<BF16>(step, i / 2 * 64 + column * 2 + i % 2).to_float();
  }
}

}  // namespace spate::reference
