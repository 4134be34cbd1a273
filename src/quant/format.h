// Weight formats as data: how a matrix is stored for multiplication and what its input rows must
// look like. Layouts: docs/adr/0001-panels.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/dtype.h"

namespace spate {

/// How a weight matrix is kept. The float formats keep the checkpoint's values exactly.
enum class WeightFormat : std::uint8_t {
  kF32,       // f32 weights, f32 rows
  kF16,       // f16 weights widened, f32 rows
  kWideBF16,  // bf16 weights widened, f32 rows: `--dtype f32` on a bf16 checkpoint
  kBF16,      // bf16 weights, bf16 rows, f32 accumulation
  kQ8,        // groups of 32: int8 and an f16 scale; rows int8 per 32
  kQ4,        // groups of 32: int4 and an f16 scale; rows int8 per 32
  kFp8,       // e4m3 and an f32 scale per output; on a GPU only
};

/// What the rows that a matrix multiplies look like.
enum class RowFormat : std::uint8_t { kF32, kBF16, kInt8, kE4M3 };

constexpr RowFormat row_format_of(WeightFormat f) {
  switch (f) {
    case WeightFormat::kBF16:
      return RowFormat::kBF16;
    case WeightFormat::kQ8:
    case WeightFormat::kQ4:
      return RowFormat::kInt8;
    case WeightFormat::kFp8:
      return RowFormat::kE4M3;
    default:
      return RowFormat::kF32;
  }
}

std::string_view name_of(WeightFormat f);
/// Average bits of a stored weight, scales included: 32, 16, 16, 16, 8.5, 4.5, 8.
double bits_per_weight(WeightFormat f);

}  // namespace spate
