// How weights and activation rows lie in memory, for every instruction set alike
// (docs/adr/0001-panels.md). Numbers only; what reads and writes them is in pack_panel.h, rows.h
// and gemm.h.
#pragma once

#include <cstdint>

namespace spate::kernels::cpu {

/// In a namespace of its own constants; the order is that of spate::WeightFormat.
enum class PanelFormat : std::uint8_t { kF32, kF16, kWideBF16, kBF16, kQ8, kQ4 };
enum class Element : std::uint8_t { kF32, kF16, kBF16 };
enum class RowKind : std::uint8_t { kF32, kBF16, kInt8 };

inline constexpr int kColumns = 32;  // of a panel
inline constexpr int kStep = 32;     // k per step, and per quantization group
inline constexpr int kLine = 64;

/// An activation row in int8: s8 q[32 steps]; f32 scale[steps]; i32 start_8[steps],
/// start_128[steps]. Products start from kMagic - 8 or - 128 times the sum of a group's q, which
/// takes the weights' offset out again: stored weights are q + 128 (and nibbles q + 8). With kMagic
/// an accumulator, read as a float, is kMagicValue plus the integer: no conversion is needed. All q
/// come first: a step of 16 rows is a tile that no cache line's end cuts.
inline constexpr std::int32_t kMagic = 0x4b400000;
inline constexpr float kMagicValue = 12582912.0F;  // 1.5 * 2^23: sums are below 2^22

/// Bytes of one panel per step of 32 k. Whole cache lines, so that every load is aligned.
[[gnu::always_inline]] constexpr std::int64_t step_bytes(PanelFormat f) {
  switch (f) {
    case PanelFormat::kF32:
      return 4096;
    case PanelFormat::kQ8:
      return 1024 + 64;
    case PanelFormat::kQ4:
      return 512 + 64;
    default:
      return 2048;
  }
}
[[gnu::always_inline]] constexpr std::int64_t steps_of(std::int64_t k) {
  return (k + kStep - 1) / kStep;
}
[[gnu::always_inline]] constexpr std::int64_t panel_bytes(PanelFormat f, std::int64_t k) {
  return steps_of(k) * step_bytes(f);
}
[[gnu::always_inline]] constexpr std::int64_t element_bytes(Element e) {
  return e == Element::kF32 ? 4 : 2;
}
[[gnu::always_inline]] constexpr RowKind row_kind(PanelFormat f) {
  if (f == PanelFormat::kQ8 || f == PanelFormat::kQ4) return RowKind::kInt8;
  return f == PanelFormat::kBF16 ? RowKind::kBF16 : RowKind::kF32;
}
/// Bytes of one step of a row's values.
[[gnu::always_inline]] constexpr std::int64_t row_step_bytes(RowKind kind) {
  if (kind == RowKind::kInt8) return kStep;
  return kind == RowKind::kBF16 ? 2 * kStep : 4 * kStep;
}
/// Where the scale of an int8 row's first group lies, and that group's starts.
[[gnu::always_inline]] constexpr std::int64_t row_scales_offset(std::int64_t k) {
  return steps_of(k) * kStep;
}
[[gnu::always_inline]] constexpr std::int64_t row_starts_8_offset(std::int64_t k) {
  return steps_of(k) * (kStep + 4);
}
[[gnu::always_inline]] constexpr std::int64_t row_starts_128_offset(std::int64_t k) {
  return steps_of(k) * (kStep + 8);
}
/// An odd number of lines: rows of 2048 or 4096 bytes would meet in the same sets of the L1 cache.
[[gnu::always_inline]] constexpr std::int64_t row_bytes(RowKind kind, std::int64_t k) {
  const std::int64_t per_step =
      row_step_bytes(kind) + (kind == RowKind::kInt8 ? 3 * std::int64_t{sizeof(float)} : 0);
  const std::int64_t lines = (steps_of(k) * per_step + kLine - 1) / kLine;
  return (lines | 1) * kLine;
}

}  // namespace spate::kernels::cpu
