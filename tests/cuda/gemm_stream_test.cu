// The streaming product with bf16 and f16 weights: values against double precision, the same bits
// for every number of rows, and all epilogues. Shapes: one stage to several slices of k, whole and
// partial tiles, those of small models.
#include <type_traits>

#include "spate/kernels/cuda/gemm_stream.cuh"
#include "tests/cuda/gemm_problem.h"

namespace spate::cuda_test {
namespace {

using cuda::StreamFormat;

using Expectation = void (*)(GemmProblem&, StreamFormat, const StoredWeights&);

template <class T>
void expect_in(GemmShape shape, Expectation expectation) {
  shape.f16 = std::is_same_v<T, __half>;
  const auto count = static_cast<std::size_t>(shape.n * shape.k);
  const std::vector<T> stored =
      rounded<T>(normal(count, 1, 1 / std::sqrt(static_cast<float>(shape.k))));
  GemmProblem problem(shape, widened(stored));
  const DeviceArray<T> w(stored);
  expectation(problem, shape.f16 ? StreamFormat::kF16 : StreamFormat::kBF16, {w.data(), nullptr});
}
// f16 rows come normalized.
void expect_in_both(GemmShape shape, Expectation expectation) {
  expect_in<Bf16>(shape, expectation);
  shape.norm = false;
  expect_in<__half>(shape, expectation);
}
void expect_right(const GemmShape& shape) { expect_in_both(shape, expect_right_and_invariant); }

TEST(GemmStream, StoresNarrowRows) {
  expect_right({.n = 3072, .k = 2048, .output = ProductOutput::kNarrow, .norm = true});
  expect_right({.n = 528, .k = 4096, .output = ProductOutput::kNarrow, .bias = true});
}
TEST(GemmStream, StoresF32) {
  expect_right({.n = 8008, .k = 512, .output = ProductOutput::kF32, .norm = true, .bias = true});
}
TEST(GemmStream, AddsToTheResidual) {
  expect_right({.n = 4096, .k = 4096, .output = ProductOutput::kAddF32});
  expect_right({.n = 1000, .k = 1536, .output = ProductOutput::kAddF32, .bias = true});
}
TEST(GemmStream, WalksSeveralSlicesOfK) {
  expect_right({.n = 2048, .k = 8192, .output = ProductOutput::kAddF32});
  expect_right({.n = 400, .k = 14336, .output = ProductOutput::kAddF32});
  expect_right({.n = 64, .k = 32768, .output = ProductOutput::kF32});
  expect_right({.n = 96, .k = 4160, .output = ProductOutput::kNarrow, .norm = true});
}
TEST(GemmStream, CarriesMoreTilesThanFitAtOnce) {
  expect_right({.n = 2 * 16 * 40, .k = 4224, .output = ProductOutput::kF32, .sms = 2});
}
TEST(GemmStream, TakesSmallModels) {
  expect_right({.n = 288, .k = 320, .output = ProductOutput::kNarrow, .norm = true});
  expect_right({.n = 8, .k = 64, .output = ProductOutput::kF32});
  expect_right({.n = 1536, .k = 320, .output = ProductOutput::kGated, .norm = true});
}
TEST(GemmStream, GatesWithEveryActivation) {
  for (const auto a : {RowActivation::kSilu, RowActivation::kGelu, RowActivation::kGeluTanh,
                       RowActivation::kRelu, RowActivation::kQuickGelu}) {
    expect_right(
        {.n = 1760, .k = 1024, .output = ProductOutput::kGated, .bias = true, .activation = a});
  }
  expect_right({.n = 28672, .k = 4096, .output = ProductOutput::kGated, .norm = true});
}
TEST(GemmStream, KeepsNanInItsRow) {
  for (const auto output : {ProductOutput::kNarrow, ProductOutput::kF32, ProductOutput::kGated}) {
    expect_in_both({.n = 528, .k = 4160, .output = output, .norm = true}, expect_nan_contained);
    expect_in_both({.n = 64, .k = 320, .output = output, .bias = true}, expect_nan_contained);
  }
}
TEST(GemmStream, RefusesWhatItCannotDo) {
  for (const StreamFormat format : {StreamFormat::kBF16, StreamFormat::kF16}) {
    EXPECT_TRUE(cuda::supports_stream_gemm(format, 8, 64, false));
    EXPECT_FALSE(cuda::supports_stream_gemm(format, 12, 64, false));
    EXPECT_FALSE(cuda::supports_stream_gemm(format, 24, 64, true));
    EXPECT_FALSE(cuda::supports_stream_gemm(format, 8, 96, false));
    EXPECT_FALSE(cuda::supports_stream_gemm(format, 8, 65536, false));
  }
  EXPECT_FALSE(cuda::supports_stream_gemm(StreamFormat::kQ4, 8, 256, false));
  const DeviceArray<float> weight(64);
  StreamGemmParams p;
  p.n = p.k = 64;
  p.rows = 1;
  p.norm_weight = weight.data();
  EXPECT_EQ(ops::cuda::stream_gemm(StreamFormat::kF16, p, 1, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace spate::cuda_test
