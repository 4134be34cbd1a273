// Products of many rows with q8 and q4 weights, which are widened in registers: no bf16 copy of
// them is written and read.
#pragma once

#include "core/tensor.h"
#include "device/gpu.h"
#include "quant/device_matrix.h"

namespace spate::ops::cuda {

/// A product, as far as it decides which kernel takes it.
struct WidenShape {
  std::int64_t rows = 0, n = 0, k = 0;
};

/// Whether such a product with quantized weights is to be widened in registers.
bool widens(const Gpu& gpu, const WidenShape& shape);

/// out f32 or bf16 [rows, n] = x W^T + bias, or, to `accumulate`, f32 +=. x: bf16 [rows, k], dealt
/// (kernels/cuda/dealt_rows.cuh). Throws DeviceError.
void widen_product(Gpu& gpu, Tensor out, Tensor x, const DeviceMatrix& w, bool accumulate);

}  // namespace spate::ops::cuda
