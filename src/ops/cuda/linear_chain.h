// Products whose sums are single chains over k, as the library's are: the bits of a row do not
// depend on how many rows there are. Of few rows the weights are read once; gates and ups of many
// rows have the activation inside.
#pragma once

#include "device/gpu.h"
#include "ops/cuda/gemm_lt.h"
#include "ops/cuda/product_result.h"
#include "ops/linear.h"
#include "quant/device_matrix.h"

namespace spate::ops::cuda {

/// Whether a kernel takes such a product: weights and extents that it knows, and numbers of rows
/// for which it is the faster one.
bool can_chain(const Gpu& gpu, const DeviceMatrix& w, std::int64_t rows, ProductResult result);

/// out: kWrite narrow or f32 [rows, n]; kAdd f32 [rows, n]; kGated narrow [rows, n / 2]. x: of the
/// type of the weights. Narrow is f16 for f16 weights, else bf16. Throws DeviceError.
void chain_product(Gpu& gpu, Tensor out, Tensor x, const DeviceMatrix& w, ProductResult result,
                   Activation activation = Activation::kSilu);

/// Whether the kernels that may take this problem, which becomes `result`, give it the bits that
/// the library's products of many rows have, tried on random rows. Runs both; not for a stream
/// under capture.
bool chain_has_bits_of(GemmLt& lt, const LtProblem& problem, ProductResult result, Gpu& gpu,
                       const LtScratch& scratch);

}  // namespace spate::ops::cuda
