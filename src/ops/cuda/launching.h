// What the operators' launches share. For .cu files.
#pragma once

#include <string>

#include <cuda_runtime.h>

#include "core/dtype.h"
#include "device/gpu.h"
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::ops::cuda {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw DeviceError(std::string("the GPU refused ") + what + ": " + cudaGetErrorString(error));
}

inline spate::cuda::RowType row_type(DType t) {
  switch (t) {
    case DType::kF32:
      return spate::cuda::RowType::kF32;
    case DType::kF16:
      return spate::cuda::RowType::kF16;
    case DType::kF8E4M3:
      return spate::cuda::RowType::kE4M3;
    case DType::kI8:
      return spate::cuda::RowType::kI8;
    default:
      return spate::cuda::RowType::kBF16;
  }
}

}  // namespace spate::ops::cuda
