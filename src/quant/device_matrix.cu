#include <algorithm>

#include <cuda_runtime.h>
#include <fmt/format.h>

#include "core/check.h"
#include "quant/device_matrix.h"
#include "spate/kernels/cuda/gemm_convert.cuh"

namespace spate {
namespace {

constexpr unsigned kThreads = 256;

unsigned blocks_of(std::int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}
/// For kernels that loop: enough blocks to fill any GPU.
unsigned looping_blocks_of(std::int64_t threads) { return std::min(blocks_of(threads), 4096U); }

struct Span {
  std::int64_t first = 0, count = 0;
};

template <int kBits, class Source>
void quantize(const DeviceMatrix& to, Span rows, const Source& source, cudaStream_t stream) {
  const std::int64_t groups =
      cuda::QuantLayout<kBits>::blocks_per_row(to.k) * (cuda::kQuantBlock / cuda::kQuantGroup);
  cuda::quantize_kernel<kBits><<<blocks_of(rows.count * groups), kThreads, 0, stream>>>(
      reinterpret_cast<std::uint8_t*>(to.weights), source, rows.first, rows.count, to.k);
}

template <class T, class Source>
void convert(const DeviceMatrix& to, Span rows, const Source& source, cudaStream_t stream) {
  cuda::convert_kernel<<<looping_blocks_of(rows.count * to.k), kThreads, 0, stream>>>(
      reinterpret_cast<T*>(to.weights) + rows.first * to.k, source, rows.count, to.k);
}

template <class Source>
Result<void> write_rows(const DeviceMatrix& to, Span rows, const Source& source,
                        cudaStream_t stream) {
  SPATE_CHECK(rows.first >= 0 && rows.first + rows.count <= to.n);
  if (rows.count == 0) return {};
  switch (to.format) {
    case DeviceFormat::kF32:
      convert<float>(to, rows, source, stream);
      break;
    case DeviceFormat::kF16:
      convert<__half>(to, rows, source, stream);
      break;
    case DeviceFormat::kBF16:
      convert<__nv_bfloat16>(to, rows, source, stream);
      break;
    case DeviceFormat::kFp8:
      cuda::convert_fp8_kernel<<<static_cast<unsigned>(rows.count), kThreads, 0, stream>>>(
          reinterpret_cast<__nv_fp8_e4m3*>(to.weights) + rows.first * to.k, to.scales + rows.first,
          source, to.k);
      break;
    case DeviceFormat::kQ8:
      quantize<8>(to, rows, source, stream);
      break;
    case DeviceFormat::kQ4:
      quantize<4>(to, rows, source, stream);
      break;
  }
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    return Error{ErrorCode::kInternal,
                 fmt::format("writing {} weights [{}, {}]: {}", name_of(to.format), to.n, to.k,
                             cudaGetErrorString(error))};
  }
  return {};
}

/// Whether rows of `from` are already what `to` holds.
bool is_plain_copy(DeviceFormat to, DType from) {
  return (to == DeviceFormat::kF32 && from == DType::kF32) ||
         (to == DeviceFormat::kF16 && from == DType::kF16) ||
         (to == DeviceFormat::kBF16 && from == DType::kBF16);
}

}  // namespace

std::string_view name_of(DeviceFormat f) {
  switch (f) {
    case DeviceFormat::kF32:
      return "f32";
    case DeviceFormat::kF16:
      return "f16";
    case DeviceFormat::kBF16:
      return "bf16";
    case DeviceFormat::kFp8:
      return "fp8";
    case DeviceFormat::kQ8:
      return "q8";
    default:
      return "q4";
  }
}

DeviceFormat device_format(WeightFormat f) {
  switch (f) {
    case WeightFormat::kF32:
      return DeviceFormat::kF32;
    case WeightFormat::kF16:
      return DeviceFormat::kF16;
    case WeightFormat::kQ8:
      return DeviceFormat::kQ8;
    case WeightFormat::kQ4:
      return DeviceFormat::kQ4;
    case WeightFormat::kFp8:
      return DeviceFormat::kFp8;
    default:
      return DeviceFormat::kBF16;
  }
}

std::int64_t weight_bytes(DeviceFormat f, std::int64_t n, std::int64_t k) {
  switch (f) {
    case DeviceFormat::kF32:
      return n * k * 4;
    case DeviceFormat::kFp8:
      return n * k;
    case DeviceFormat::kQ8:
      return cuda::QuantLayout<8>::bytes(n, k);
    case DeviceFormat::kQ4:
      return cuda::QuantLayout<4>::bytes(n, k);
    default:
      return n * k * 2;
  }
}

std::int64_t scale_bytes(DeviceFormat f, std::int64_t n) {
  return f == DeviceFormat::kFp8 ? n * static_cast<std::int64_t>(sizeof(float)) : 0;
}

Result<void> convert_rows(const DeviceMatrix& to, const DeviceRows& rows, CudaStream stream) {
  const Span span{rows.first, rows.count};
  if (is_plain_copy(to.format, rows.dtype)) {
    const std::int64_t row_bytes = to.k * size_of(rows.dtype);
    SPATE_CHECK(rows.first >= 0 && rows.first + rows.count <= to.n);
    const cudaError_t error = cudaMemcpyAsync(to.weights + rows.first * row_bytes, rows.data,
                                              static_cast<std::size_t>(rows.count * row_bytes),
                                              cudaMemcpyDefault, stream);
    if (error == cudaSuccess) return {};
    return Error{ErrorCode::kInternal,
                 fmt::format("copying weights: {}", cudaGetErrorString(error))};
  }
  if (rows.dtype == DType::kF32) {
    return write_rows(to, span, cuda::RowSource<float>{static_cast<const float*>(rows.data), to.k},
                      stream);
  }
  if (rows.dtype == DType::kF16) {
    return write_rows(to, span,
                      cuda::RowSource<__half>{static_cast<const __half*>(rows.data), to.k}, stream);
  }
  SPATE_CHECK(rows.dtype == DType::kBF16);
  return write_rows(
      to, span, cuda::RowSource<__nv_bfloat16>{static_cast<const __nv_bfloat16*>(rows.data), to.k},
      stream);
}

Result<void> fill_random(const DeviceMatrix& to, const RandomFill& fill, CudaStream stream) {
  return write_rows(to, {0, to.n}, cuda::NoiseSource{fill.seed, fill.deviation, 0}, stream);
}

Result<void> dequantize_rows(const DeviceMatrix& w, std::int64_t first, std::int64_t count,
                             void* bf16_out, CudaStream stream) {
  SPATE_CHECK(first >= 0 && first + count <= w.n);
  SPATE_CHECK(w.format != DeviceFormat::kF32);
  if (count == 0) return {};
  auto* out = static_cast<__nv_bfloat16*>(bf16_out);
  const auto* packed = reinterpret_cast<const std::uint8_t*>(w.weights);
  const unsigned packed_blocks = blocks_of(count * (w.k / 8));
  const unsigned plain_blocks = looping_blocks_of(count * w.k);
  if (w.format == DeviceFormat::kQ8) {
    cuda::dequantize_kernel<8>
        <<<packed_blocks, kThreads, 0, stream>>>(out, packed, first, count, w.k);
  } else if (w.format == DeviceFormat::kQ4) {
    cuda::dequantize_kernel<4>
        <<<packed_blocks, kThreads, 0, stream>>>(out, packed, first, count, w.k);
  } else if (w.format == DeviceFormat::kFp8) {
    cuda::to_bf16_kernel<<<plain_blocks, kThreads, 0, stream>>>(
        out, reinterpret_cast<const __nv_fp8_e4m3*>(w.weights) + first * w.k, w.scales + first,
        count, w.k);
  } else if (w.format == DeviceFormat::kF16) {
    cuda::to_bf16_kernel<<<plain_blocks, kThreads, 0, stream>>>(
        out, reinterpret_cast<const __half*>(w.weights) + first * w.k, nullptr, count, w.k);
  } else {
    cudaMemcpyAsync(out, w.weights + first * w.k * 2, static_cast<std::size_t>(count * w.k * 2),
                    cudaMemcpyDefault, stream);
  }
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    return Error{ErrorCode::kInternal,
                 fmt::format("unpacking weights: {}", cudaGetErrorString(error))};
  }
  return {};
}

}  // namespace spate
