// What becomes of a product, for the kernels that finish it themselves.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "spate/kernels/cuda/product_output.h"

namespace spate::ops::cuda {

enum class ProductResult : std::uint8_t { kWrite, kAdd, kGated };

/// As the kernels call it. out: the result's type; added to and gated they have one each.
inline spate::cuda::ProductOutput output_of(ProductResult result, DType out) {
  using Output = spate::cuda::ProductOutput;
  if (result == ProductResult::kAdd) return Output::kAddF32;
  if (result == ProductResult::kGated) return Output::kGated;
  return out == DType::kF32 ? Output::kF32 : Output::kNarrow;
}

}  // namespace spate::ops::cuda
