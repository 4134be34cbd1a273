// What becomes of a product, for the kernels that finish it themselves.
#pragma once

#include <cstdint>

namespace spate::ops::cuda {

enum class ProductResult : std::uint8_t { kWrite, kAdd, kGated };

}  // namespace spate::ops::cuda
