// DeviceMatrix: the weights of one linear map in a GPU's memory, and how they get there. It owns
// nothing; the memory belongs to whoever loads the model. The CPU's twin is quant/matrix.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/dtype.h"
#include "quant/format.h"
#include "spate/result.h"

struct CUstream_st;

namespace spate {

/// A CUDA stream, without CUDA's headers.
using CudaStream = CUstream_st*;

/// How a matrix lies in device memory. The float formats and kFp8 are row-major [n, k]; kQ8 and kQ4
/// are tiled for the streaming kernel (kernels/cuda/gemm_quant_layout.cuh), their values those of
/// the CPU's q8 and q4.
enum class DeviceFormat : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kFp8,  // e4m3, a scale per row: weight = value * scales[row]
  kQ8,   // groups of 32 along k: int8 and an f16 scale
  kQ4,   // groups of 32 along k: int4 and an f16 scale
};

std::string_view name_of(DeviceFormat f);

/// What a matrix of that format is on a GPU.
DeviceFormat device_format(WeightFormat f);

/// y = x W^T + bias. Device pointers, 256-byte aligned.
struct DeviceMatrix {
  DeviceFormat format = DeviceFormat::kBF16;
  std::int64_t n = 0;            // outputs; several maps of one input lie row after row
  std::int64_t k = 0;            // inputs, a multiple of 32 for kQ8 and kQ4
  std::byte* weights = nullptr;  // weight_bytes(format, n, k)
  float* scales = nullptr;       // kFp8: [n]; else null
  float* bias = nullptr;         // [n], or null
};

std::int64_t weight_bytes(DeviceFormat f, std::int64_t n, std::int64_t k);
std::int64_t scale_bytes(DeviceFormat f, std::int64_t n);

/// Rows of a matrix, as a checkpoint has them.
struct DeviceRows {
  DType dtype = DType::kBF16;  // kF32, kF16 or kBF16
  const void* data = nullptr;  // device memory, [count, k]
  std::int64_t first = 0;      // row of the matrix that data begins with
  std::int64_t count = 0;
};

/// Writes rows into `to`, rounded or quantized to its format. kQ8 and kQ4 have the bits of the
/// CPU's packing of the same rows; kFp8 rounds to nearest with scale max |row| / 448.
Result<void> convert_rows(const DeviceMatrix& to, const DeviceRows& rows, CudaStream stream);

/// Normal weights with the given deviation: a function of seed, row and column alone, so that the
/// same model comes out on any device and in any order. For models without a checkpoint.
struct RandomFill {
  std::uint64_t seed = 0;
  float deviation = 0.02F;
};
Result<void> fill_random(const DeviceMatrix& to, const RandomFill& fill, CudaStream stream);

/// Rows [first, first + count) as bf16 [count, k], for products of many rows. Any format but kF32.
Result<void> dequantize_rows(const DeviceMatrix& w, std::int64_t first, std::int64_t count,
                             void* bf16_out, CudaStream stream);

}  // namespace spate
