// The streaming product with bf16 weights: values against double precision, the same bits for every
// number of rows, and all epilogues. Shapes: one stage to several slices of k, whole and partial
// tiles, those of small models.
#include "spate/kernels/cuda/gemm_stream.cuh"
#include "tests/cuda/gemm_problem.h"

namespace spate::cuda_test {
namespace {

constexpr auto kFormat = cuda::StreamFormat::kBF16;

void expect_right(const GemmShape& shape) {
  const auto count = static_cast<std::size_t>(shape.n * shape.k);
  const std::vector<Bf16> stored =
      rounded(normal(count, 1, 1 / std::sqrt(static_cast<float>(shape.k))));
  GemmProblem problem(shape, widened(stored));
  const DeviceArray<Bf16> w(stored);
  expect_right_and_invariant(problem, kFormat, {w.data(), nullptr});
}

TEST(GemmStream, StoresBf16) {
  expect_right({.n = 3072, .k = 2048, .output = StreamOutput::kBF16, .norm = true});
  expect_right({.n = 528, .k = 4096, .output = StreamOutput::kBF16, .bias = true});
}
TEST(GemmStream, StoresF32) {
  expect_right({.n = 8008, .k = 512, .output = StreamOutput::kF32, .norm = true, .bias = true});
}
TEST(GemmStream, AddsToTheResidual) {
  expect_right({.n = 4096, .k = 4096, .output = StreamOutput::kAddF32});
  expect_right({.n = 1000, .k = 1536, .output = StreamOutput::kAddF32, .bias = true});
}
TEST(GemmStream, WalksSeveralSlicesOfK) {
  expect_right({.n = 2048, .k = 8192, .output = StreamOutput::kAddF32});
  expect_right({.n = 400, .k = 14336, .output = StreamOutput::kAddF32});
  expect_right({.n = 64, .k = 32768, .output = StreamOutput::kF32});
  expect_right({.n = 96, .k = 4160, .output = StreamOutput::kBF16, .norm = true});
}
TEST(GemmStream, CarriesMoreTilesThanFitAtOnce) {
  expect_right({.n = 2 * 16 * 40, .k = 4224, .output = StreamOutput::kF32, .sms = 2});
}
TEST(GemmStream, TakesSmallModels) {
  expect_right({.n = 288, .k = 320, .output = StreamOutput::kBF16, .norm = true});
  expect_right({.n = 8, .k = 64, .output = StreamOutput::kF32});
  expect_right({.n = 1536, .k = 320, .output = StreamOutput::kGated, .norm = true});
}
TEST(GemmStream, GatesWithEveryActivation) {
  for (const auto a :
       {StreamActivation::kSilu, StreamActivation::kGelu, StreamActivation::kGeluTanh,
        StreamActivation::kRelu, StreamActivation::kQuickGelu}) {
    expect_right(
        {.n = 1760, .k = 1024, .output = StreamOutput::kGated, .bias = true, .activation = a});
  }
  expect_right({.n = 28672, .k = 4096, .output = StreamOutput::kGated, .norm = true});
}
TEST(GemmStream, RefusesWhatItCannotDo) {
  EXPECT_TRUE(cuda::supports_stream_gemm(kFormat, 8, 64, false));
  EXPECT_FALSE(cuda::supports_stream_gemm(kFormat, 12, 64, false));
  EXPECT_FALSE(cuda::supports_stream_gemm(kFormat, 24, 64, true));
  EXPECT_FALSE(cuda::supports_stream_gemm(kFormat, 8, 96, false));
  EXPECT_FALSE(cuda::supports_stream_gemm(kFormat, 8, 65536, false));
  EXPECT_FALSE(cuda::supports_stream_gemm(cuda::StreamFormat::kQ4, 8, 256, false));
}

}  // namespace
}  // namespace spate::cuda_test
