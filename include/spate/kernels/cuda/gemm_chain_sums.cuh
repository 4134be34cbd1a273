// What becomes of the chain product's sums, one by one, for all its kernels: the library's order of
// rounding.
#pragma once
#include "spate/kernels/cuda/gemm_chain_params.cuh"

namespace spate::cuda {

template <class T>
struct ChainSums {
  static __device__ __forceinline__ float narrowed(float y) {
    return static_cast<float>(static_cast<T>(y));
  }
  // Narrow results are narrowed before a bias as well as after it, f32 ones get it before what they
  // are added to.
  static __device__ __forceinline__ float biased(ProductOutput output, float y, float bias) {
    const bool wide = output == ProductOutput::kF32 || output == ProductOutput::kAddF32;
    return (wide ? y : narrowed(y)) + bias;
  }
  static __device__ __forceinline__ float gated(RowActivation activation, float gate, float up) {
    return activated(activation, narrowed(gate)) * narrowed(up);
  }
};

}  // namespace spate::cuda
