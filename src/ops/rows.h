// What linear maps consume: rows of activations, perhaps still to be normalized, perhaps already
// in the format that the next matrix wants. Fusion happens by handing these on unevaluated.
#pragma once

#include <optional>

#include "core/tensor.h"
#include "quant/format.h"

namespace spate {

/// RMSNorm (Zhang and Sennrich, 2019) or LayerNorm (Ba et al., 2016) with its parameters.
struct NormParams {
  enum class Kind : std::uint8_t { kRms, kLayer };
  Kind kind = Kind::kRms;
  const float* weight = nullptr;  // f32 [k]
  const float* bias = nullptr;    // f32 [k], LayerNorm only, may be null
  float eps = 1e-5F;
};

/// Rows to multiply. Exactly one of these holds:
/// - values are f32 [rows, k] and `norm` is to be applied to each row first (if present);
/// - values are packed: u8 [rows, row bytes] in `packed` format, normalization done; on a GPU e4m3
///   [rows, k] with a scale for each row (kE4M3), or in the widening product's order (kInt8).
struct Rows {
  Tensor values{};
  std::optional<NormParams> norm = std::nullopt;
  std::optional<RowFormat> packed = std::nullopt;
  Tensor scales{};  // kE4M3: f32 [rows]

  std::int64_t count() const { return values.dim(0); }
};

}  // namespace spate
