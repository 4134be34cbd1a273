#include <algorithm>

#include <cuda_runtime.h>

#include "ops/cuda/bit_trial.h"
#include "quant/device_matrix.h"

namespace spate::ops::cuda {
namespace {

constexpr std::int64_t kMostRows = 2048;
constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;  // of a result

DeviceFormat format_of(DType t) {
  switch (t) {
    case DType::kF32:
      return DeviceFormat::kF32;
    case DType::kF16:
      return DeviceFormat::kF16;
    case DType::kF8E4M3:
      return DeviceFormat::kFp8;
    default:
      return DeviceFormat::kBF16;
  }
}

__global__ void compare_kernel(const unsigned* a, const unsigned* b, std::int64_t n,
                               unsigned* different) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  bool mine = false;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step)
    mine = mine || a[i] != b[i];
  if (mine) *different = 1;
}

Buffer memory_or_none(std::int64_t n_bytes) {
  Result<Buffer> memory = Buffer::reserve_gpu((n_bytes + 255) / 256 * 256);
  return memory ? std::move(*memory) : Buffer();
}

}  // namespace

BitTrial::BitTrial(const LtProblem& like, CUstream_st* stream) : problem_(like), stream_(stream) {
  const std::int64_t row_bytes = like.n * size_of(like.out);
  problem_.m = std::clamp<std::int64_t>(kMostBytes / row_bytes, 1, std::min(like.m, kMostRows));
  problem_.d = nullptr;
  problem_.d_stride = problem_.a_stride = 0;
  rows_ = memory_or_none(problem_.m * like.k * size_of(like.in));
  scales_ = memory_or_none(problem_.m * std::int64_t{sizeof(float)});
  results_ = memory_or_none(2 * (problem_.m * row_bytes + 255));
  differences_ = memory_or_none(sizeof(unsigned));
  const bool all = rows_.data() != nullptr && scales_.data() != nullptr &&
                   results_.data() != nullptr && differences_.data() != nullptr;
  if (!all) return;
  const DeviceMatrix rows{.format = format_of(like.in),
                          .n = problem_.m,
                          .k = like.k,
                          .weights = rows_.data(),
                          .scales = reinterpret_cast<float*>(scales_.data())};
  if (!fill_random(rows, {.seed = 1, .deviation = 1.0F}, stream)) return;
  problem_.a = rows_.data();
  if (like.in == DType::kF8E4M3) problem_.a_scales = rows.scales;
  problem_.d = results_.data();
}

const LtProblem& BitTrial::next() {
  const std::int64_t n_bytes = problem_.m * problem_.n * size_of(problem_.out);
  // What is added to is no zero, which would hide in which order it is added.
  cudaMemsetAsync(problem_.d, problem_.accumulate ? 0x3f : 0, static_cast<std::size_t>(n_bytes),
                  stream_);
  return problem_;
}

void BitTrial::keep() {
  problem_.d = results_.data() + results_.n_bytes() / 512 * 256;  // the second half
}

bool BitTrial::same() {
  const std::int64_t n_bytes = problem_.m * problem_.n * size_of(problem_.out);
  auto* different = reinterpret_cast<unsigned*>(differences_.data());
  cudaMemsetAsync(different, 0, sizeof(unsigned), stream_);
  compare_kernel<<<264, 256, 0, stream_>>>(reinterpret_cast<const unsigned*>(results_.data()),
                                           static_cast<const unsigned*>(problem_.d), n_bytes / 4,
                                           different);
  unsigned found = 1;
  const cudaError_t copied =
      cudaMemcpyAsync(&found, different, sizeof(found), cudaMemcpyDeviceToHost, stream_);
  return copied == cudaSuccess && cudaStreamSynchronize(stream_) == cudaSuccess && found == 0;
}

}  // namespace spate::ops::cuda
