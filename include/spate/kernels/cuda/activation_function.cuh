// Activation functions of one value, for all kernels that apply them.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

enum class RowActivation : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kQuickGelu };

// x / (1 + e^-y). The error of e^-y is 2^-23 (1 + |y|), small wherever the result is not.
__device__ __forceinline__ float times_sigmoid(float x, float y) {
  return __fdividef(x, 1.f + exp2_approx(-kLog2E * y));
}

__device__ __forceinline__ float activated(RowActivation activation, float x) {
  switch (activation) {
    case RowActivation::kSilu:
      return times_sigmoid(x, x);
    case RowActivation::kGelu:
      return 0.5f * x * erfcf(-0.70710678f * x);
    case RowActivation::kGeluTanh:  // 0.5 (1 + tanh(y)) is the sigmoid of 2 y
      return times_sigmoid(x, 1.59576912f * (x + 0.044715f * x * x * x));
    case RowActivation::kRelu:
      return x < 0.f ? 0.f : x;
    default:
      return times_sigmoid(x, 1.702f * x);
  }
}

}  // namespace spate::cuda
