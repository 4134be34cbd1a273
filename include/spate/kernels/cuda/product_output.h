// What becomes of a linear map's sums, for all kernels of linear maps. Plain C++ without CUDA.
#pragma once
#include <cstdint>

namespace spate::cuda {

enum class ProductOutput : std::uint8_t {
  kNarrow,  // out = y, of the type of the rows
  kF32,     // out = y
  kAddF32,  // out += y: the residual stream
  kGated,   // out = activation(y[i]) * y[n / 2 + i], of the type of the rows
};

}  // namespace spate::cuda
