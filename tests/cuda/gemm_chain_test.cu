// The chain product: values against double precision, the same bits for every number of rows and
// every place of a row, and those of the library's products of many rows.
#include "ops/cuda/gemm_lt.h"
#include "tests/cuda/chain_problem.h"

namespace spate::cuda_test {
namespace {

// Row i of `out` is row rows_of[i] of `want`, bit by bit, or NaN.
template <class T>
void expect_same_rows(const ChainProblem<T>& problem, const std::vector<std::uint8_t>& want,
                      const std::vector<std::uint8_t>& out, const std::vector<int>& rows_of) {
  const auto n = static_cast<std::ptrdiff_t>(problem.row_bytes());
  for (std::size_t i = 0; i < rows_of.size(); ++i) {
    if (rows_of[i] == kNanRow) {
      for (std::int64_t c = 0; c < problem.shape.columns(); ++c)
        ASSERT_TRUE(std::isnan(problem.value(out, static_cast<std::int64_t>(i), c))) << i;
      continue;
    }
    const auto first = want.begin() + rows_of[i] * n;
    ASSERT_TRUE(std::equal(first, first + n, out.begin() + static_cast<std::ptrdiff_t>(i) * n))
        << "row " << i << " of " << rows_of.size() << ", " << problem.shape.n << " x "
        << problem.shape.k;
  }
}

template <class T>
void expect_right_in(const ChainShape& shape) {
  ChainProblem<T> problem(shape);
  const int most = shape.wide() ? cuda::kWideChainRows : kChainRows;
  const std::vector<int> all = iota(most);
  const auto want = problem.run(all);
  problem.check(want, all);
  for (const int rows :
       {1, 2, 5, 7, 8, 9, 13, 16, 17, 24, 33, 50, 63, 64, 65, 128, 129, 200, 256}) {
    if (rows > most) break;
    std::vector<int> rows_of;
    for (int i = 0; i < rows; ++i) rows_of.push_back((i * 7 + 3) % most);
    const auto out = problem.run(rows_of);
    expect_same_rows(problem, want, out, rows_of);
    for (std::int64_t c = 0; c < shape.columns(); ++c) {
      ASSERT_TRUE(std::isnan(problem.value(out, rows, c))) << "written beyond row " << rows;
    }
  }
}
void expect_right(const ChainShape& shape) {
  expect_right_in<Bf16>(shape);
  expect_right_in<__half>(shape);
}

TEST(GemmChain, StoresNarrowRows) {
  expect_right({.n = 3072, .k = 2048, .output = ProductOutput::kNarrow});
  expect_right({.n = 528, .k = 4096, .output = ProductOutput::kNarrow, .bias = true});
}
TEST(GemmChain, StoresF32) {
  expect_right({.n = 8008, .k = 512, .output = ProductOutput::kF32, .bias = true});
}
TEST(GemmChain, AddsToTheResidual) {
  expect_right({.n = 4096, .k = 4096, .output = ProductOutput::kAddF32});
  expect_right({.n = 1000, .k = 1536, .output = ProductOutput::kAddF32});
  expect_right({.n = 400, .k = 14336, .output = ProductOutput::kAddF32, .bias = true});
}
TEST(GemmChain, TakesSmallModels) {
  expect_right({.n = 288, .k = 320, .output = ProductOutput::kNarrow});
  expect_right({.n = 8, .k = 64, .output = ProductOutput::kF32});
  expect_right({.n = 1536, .k = 320, .output = ProductOutput::kGated});
}
TEST(GemmChain, DealsManyTilesToFewBlocks) {
  expect_right({.n = 2 * 16 * 40, .k = 1152, .output = ProductOutput::kF32, .sms = 4});
  expect_right({.n = 16 * 8 * 4, .k = 8192, .output = ProductOutput::kAddF32, .sms = 2});
  expect_right({.n = 3 * 8 * 19, .k = 640, .output = ProductOutput::kNarrow, .sms = 3});
}
TEST(GemmChain, TakesTilesOfEveryWidth) {
  for (const int width : {128, 160, 192, 224, 256}) {
    expect_right({.n = 1000, .k = 640, .output = ProductOutput::kNarrow, .tile_width = width});
    expect_right({.n = 1000,
                  .k = 64,
                  .output = ProductOutput::kNarrow,
                  .bias = true,
                  .sms = 5,
                  .tile_width = width});
    expect_right({.n = 1232, .k = 192, .output = ProductOutput::kGated, .tile_width = width});
  }
}
TEST(GemmChain, GatesWithEveryActivation) {
  for (const auto a : {RowActivation::kSilu, RowActivation::kGelu, RowActivation::kGeluTanh,
                       RowActivation::kRelu, RowActivation::kQuickGelu}) {
    expect_right(
        {.n = 1760, .k = 1024, .output = ProductOutput::kGated, .bias = true, .activation = a});
  }
  expect_right({.n = 28672, .k = 4096, .output = ProductOutput::kGated});
}

// With 16, 64 and more rows: each of the three kernels.
template <class T>
void expect_nan_in_its_row(const ChainShape& shape) {
  ChainProblem<T> problem(shape);
  const int most = shape.wide() ? cuda::kWideChainRows : kChainRows;
  const auto want = problem.run(iota(most));
  for (const int rows : {1, 3, 16, 40, 64, 129, 300}) {
    if (rows > most) break;
    for (const int nan_row : {0, rows / 2, rows - 1}) {
      std::vector<int> rows_of = iota(rows);
      rows_of[static_cast<std::size_t>(nan_row)] = kNanRow;
      expect_same_rows(problem, want, problem.run(rows_of), rows_of);
    }
  }
}
TEST(GemmChain, KeepsNanInItsRow) {
  for (const auto output : {ProductOutput::kNarrow, ProductOutput::kF32, ProductOutput::kGated}) {
    for (const std::int64_t k : {320, 4096}) {
      expect_nan_in_its_row<Bf16>({.n = 528, .k = k, .output = output, .bias = true});
      expect_nan_in_its_row<__half>({.n = 528, .k = k, .output = output});
    }
  }
}

// What --deterministic rests on: the library's algorithm that stands for all numbers of rows makes
// the same sums.
template <class T>
void expect_the_librarys_bits(const ChainShape& shape, DType type) {
  ChainProblem<T> problem(shape);
  const int rows = shape.wide() ? cuda::kWideChainRows : kChainRows;
  const std::vector<int> all = iota(rows);
  const auto want = problem.run(all);
  auto lt = ops::cuda::GemmLt::create({.deterministic = true});
  ASSERT_TRUE(lt) << lt.error().message;
  const DeviceArray<std::uint8_t> scratch(std::size_t{ops::cuda::kLtWorkspaceBytes});
  const auto input = problem.inputs(all);
  ops::cuda::LtProblem p{.m = rows, .n = shape.n, .k = shape.k, .in = type};
  p.out = shape.wide() ? DType::kF32 : type == DType::kF16 ? DType::kF16 : DType::kBF16;
  p.a = input.x;
  p.w = problem.weights.data();
  p.d = input.out;
  p.bias = shape.bias ? problem.bias.data() : nullptr;
  p.accumulate = shape.output == ProductOutput::kAddF32;
  const auto done = (*lt)->run(p, {scratch.data(), ops::cuda::kLtWorkspaceBytes, nullptr});
  ASSERT_TRUE(done) << done.error().message;
  require(cudaDeviceSynchronize());
  const auto out = problem.output();
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < rows * shape.n; ++i) {
    different += problem.value(out, 0, i) != problem.value(want, 0, i);
  }
  EXPECT_EQ(different, 0) << "of " << rows * shape.n << ": " << shape.n << " x " << shape.k;
}

TEST(GemmChain, HasTheLibrarysBits) {
  for (const ChainShape& s :
       {ChainShape{.n = 6144, .k = 4096, .output = ProductOutput::kNarrow},
        ChainShape{.n = 4096, .k = 4096, .output = ProductOutput::kAddF32},
        ChainShape{.n = 4096, .k = 14336, .output = ProductOutput::kAddF32},
        ChainShape{.n = 2048, .k = 8192, .output = ProductOutput::kF32},
        ChainShape{.n = 896, .k = 896, .output = ProductOutput::kF32, .bias = true},
        ChainShape{.n = 896, .k = 896, .output = ProductOutput::kAddF32, .bias = true},
        ChainShape{.n = 896, .k = 896, .output = ProductOutput::kNarrow, .bias = true}}) {
    expect_the_librarys_bits<Bf16>(s, DType::kBF16);
    expect_the_librarys_bits<__half>(s, DType::kF16);
  }
}

TEST(HostGemmChain, RefusesWhatItCannotDo) {
  EXPECT_TRUE(cuda::supports_chain_gemm(8, 64, false));
  EXPECT_FALSE(cuda::supports_chain_gemm(12, 64, false));
  EXPECT_FALSE(cuda::supports_chain_gemm(24, 64, true));
  EXPECT_FALSE(cuda::supports_chain_gemm(8, 96, false));
  ChainGemmParams p;
  p.n = p.k = 128;
  p.rows = -1;
  EXPECT_EQ(ops::cuda::chain_gemm_bf16(p, 1, nullptr), cudaErrorInvalidValue);
  p.rows = cuda::kWideChainRows + 1;
  p.output = ProductOutput::kF32;
  EXPECT_EQ(ops::cuda::chain_gemm_bf16(p, 1, nullptr), cudaErrorInvalidValue);
  p.output = ProductOutput::kNarrow;
  p.out_stride = 132;
  EXPECT_EQ(ops::cuda::chain_gemm_bf16(p, 1, nullptr), cudaErrorInvalidValue);
  p.out_stride = 128;
  p.tile_width = 100;
  EXPECT_EQ(ops::cuda::chain_gemm_bf16(p, 1, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace spate::cuda_test
