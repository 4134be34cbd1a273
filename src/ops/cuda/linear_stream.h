// Products of few rows, as long as reading the weights once. What surrounds them is fused:
// RMSNorm of the input; bias, residual or gate of the output.
#pragma once

#include "device/gpu.h"
#include "ops/cuda/product_result.h"
#include "ops/linear.h"
#include "quant/device_matrix.h"

namespace spate::ops::cuda {

/// Whether such a product is to be streamed: few rows, weights and extents that the kernel knows.
bool streams(const Gpu& gpu, const DeviceMatrix& w, std::int64_t rows, ProductResult result);

/// out: kWrite narrow or f32 [rows, n]; kAdd f32 [rows, n]; kGated narrow [rows, n / 2].
/// x: narrow rows, or f32 rows with an RMSNorm to be applied (not for f16 weights). Narrow is f16
/// for f16 weights, else bf16. Throws DeviceError.
void stream_product(Gpu& gpu, Tensor out, const Rows& x, const DeviceMatrix& w,
                    ProductResult result, Activation activation = Activation::kSilu);

}  // namespace spate::ops::cuda
