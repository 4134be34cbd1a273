// The product that widens q8 and q4 weights in registers: values against double precision, the bits
// of the weights, and the same bits for every number of rows. Shapes: those of models, with k whole
// and split over clusters, and ends of tiles, blocks and chunks.
#include "ops/cuda/widen_gemm.h"
#include "quant/device_matrix.h"
#include "spate/kernels/cuda/dealt_rows.cuh"
#include "tests/cuda/gemm_problem.h"

namespace spate::cuda_test {
namespace {

using cuda::ProductOutput;

constexpr std::int64_t kMostRows = 300;
constexpr int kSms = 132;

struct WidenCase {
  DeviceFormat format = DeviceFormat::kQ4;
  std::int64_t n = 0, k = 0;
  ProductOutput output = ProductOutput::kF32;
  bool bias = false;
};

class WidenProblem {
 public:
  explicit WidenProblem(const WidenCase& c)
      : c_(c),
        weights_(static_cast<std::size_t>(weight_bytes(c.format, c.n, c.k))),
        bias_host_(normal(static_cast<std::size_t>(c.n), 9, 1.F)),
        bias_(bias_host_),
        old_(normal(static_cast<std::size_t>(kMostRows * c.n), 10, 2.F)),
        x_(static_cast<std::size_t>(kMostRows * c.k)),
        out_(static_cast<std::size_t>((kMostRows + 1) * c.n) * value_bytes()) {
    const auto filled = fill_random(
        matrix(), {.seed = 3, .deviation = 1 / std::sqrt(static_cast<float>(c.k))}, nullptr);
    EXPECT_TRUE(filled) << filled.error().message;
    const DeviceArray<Bf16> wide(static_cast<std::size_t>(c.n * c.k));
    EXPECT_TRUE(dequantize_rows(matrix(), 0, c.n, wide.data(), nullptr));
    values_ = widened(wide.get());
    set_x(widened(rounded(normal(x_.size(), 7, 1.5F))));
  }

  // f32 [kMostRows, k], of which each row is that of x.
  void set_x(const std::vector<float>& x) {
    x_host_ = x;
    std::vector<Bf16> dealt(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      dealt[i / 32 * 32 + static_cast<std::size_t>(cuda::dealt_place(static_cast<int>(i % 32)))] =
          __float2bfloat16(x[i]);
    }
    x_.set(dealt);
  }

  const std::vector<float>& x() const { return x_host_; }

  std::vector<std::uint8_t> run(std::int64_t rows) {
    out_.poison();
    if (c_.output == ProductOutput::kAddF32) {
      require(cudaMemcpy(out_.data(), old_.data(), static_cast<std::size_t>(rows * c_.n) * 4,
                         cudaMemcpyHostToDevice));
    }
    cuda::WidenGemmParams p;
    p.weights = weights_.data();
    p.n = c_.n;
    p.k = c_.k;
    p.rows = static_cast<int>(rows);
    p.x = x_.data();
    p.x_stride = c_.k;
    p.bias = c_.bias ? bias_.data() : nullptr;
    p.out = out_.data();
    p.out_stride = c_.n;
    p.output = c_.output;
    const auto launch =
        c_.format == DeviceFormat::kQ8 ? ops::cuda::widen_gemm_q8 : ops::cuda::widen_gemm_q4;
    require(launch(p, kSms, nullptr));
    require(cudaDeviceSynchronize());
    return out_.get();
  }

  // Each matrix instruction rounds 16 products and the sum so far to f32, at most by 2^-23 of the
  // magnitudes; then come up to 8 parts of k, the bias, the residual and a rounding to the output.
  void check(const std::vector<std::uint8_t>& out, std::int64_t rows) {
    make_reference();
    for (std::int64_t i = 0; i < rows * c_.n; ++i) {
      const auto at = static_cast<std::size_t>(i), column = static_cast<std::size_t>(i % c_.n);
      double y = sums_[at];
      if (c_.bias) y += static_cast<double>(bias_host_[column]);
      if (c_.output == ProductOutput::kAddF32) y += static_cast<double>(old_[at]);
      const double chain = static_cast<double>(c_.k) / 16 + 12;
      const double tolerance = chain * 0x1p-23 * sizes_[at] +
                               std::abs(y) * (value_bytes() == 4 ? 0x1p-22 : 0x1p-8) + 0x1p-23;
      ASSERT_NEAR(value(out, i), y, tolerance) << "row " << i / c_.n << " column " << column;
    }
  }
  double value(const std::vector<std::uint8_t>& out, std::int64_t at) const {
    const auto i = static_cast<std::size_t>(at);
    if (value_bytes() == 4) return reinterpret_cast<const float*>(out.data())[i];
    return __bfloat162float(reinterpret_cast<const Bf16*>(out.data())[i]);
  }
  // Of the weights, as dequantize_rows gives them.
  double weight(std::int64_t row, std::int64_t column) const {
    return values_[static_cast<std::size_t>(row * c_.k + column)];
  }
  std::size_t row_bytes() const { return static_cast<std::size_t>(c_.n) * value_bytes(); }

 private:
  std::size_t value_bytes() const { return c_.output == ProductOutput::kNarrow ? 2 : 4; }
  DeviceMatrix matrix() const {
    return {.format = c_.format,
            .n = c_.n,
            .k = c_.k,
            .weights = reinterpret_cast<std::byte*>(weights_.data())};
  }
  void make_reference() {
    const DeviceArray<float> x(x_host_), w(values_);
    const auto outputs = static_cast<std::size_t>(kMostRows * c_.n);
    const DeviceArray<double> y(outputs), size(outputs);
    const dim3 grid(static_cast<unsigned>((c_.n + 7) / 8), kMostRows);
    reference_kernel<<<grid, 256>>>(x.data(), w.data(), y.data(), size.data(), c_.n, c_.k);
    sums_ = y.get();
    sizes_ = size.get();
  }

  WidenCase c_;
  DeviceArray<std::uint8_t> weights_;
  std::vector<float> bias_host_;
  DeviceArray<float> bias_;
  std::vector<float> old_, x_host_, values_;
  DeviceArray<Bf16> x_;
  DeviceArray<std::uint8_t> out_;
  std::vector<double> sums_, sizes_;
};

// Values of all rows, then the same bits for fewer of them and nothing written beyond.
void expect_right_and_invariant(const WidenCase& c, const std::vector<std::int64_t>& rows_of = {
                                                        1, 17, 33, 64, 100, 128, 160, 256}) {
  WidenProblem problem(c);
  const auto all = problem.run(kMostRows);
  ASSERT_NO_FATAL_FAILURE(problem.check(all, kMostRows));
  for (const std::int64_t rows : rows_of) {
    const auto out = problem.run(rows);
    const auto end =
        static_cast<std::ptrdiff_t>(static_cast<std::size_t>(rows) * problem.row_bytes());
    ASSERT_TRUE(std::equal(out.begin(), out.begin() + end, all.begin())) << rows << " rows";
    ASSERT_TRUE(std::all_of(out.begin() + end, out.end(), [](int byte) { return byte == 0xFF; }))
        << "written beyond row " << rows;
  }
}

class GemmWiden : public ::testing::TestWithParam<DeviceFormat> {};

TEST_P(GemmWiden, MultipliesTheLayersOf8B) {
  expect_right_and_invariant({GetParam(), 6144, 4096, ProductOutput::kNarrow});
  expect_right_and_invariant({GetParam(), 4096, 4096, ProductOutput::kAddF32, true});
}
TEST_P(GemmWiden, MultipliesTheLayersOf1B) {
  expect_right_and_invariant({GetParam(), 3072, 2048, ProductOutput::kNarrow, true});
  expect_right_and_invariant({GetParam(), 2048, 8192, ProductOutput::kAddF32});
}
TEST_P(GemmWiden, WalksManyTiles) {
  expect_right_and_invariant({GetParam(), 40008, 256, ProductOutput::kF32}, {17, 64, 100, 256});
}
TEST_P(GemmWiden, TakesEndsOfTilesAndBlocks) {
  for (const auto output : {ProductOutput::kNarrow, ProductOutput::kF32, ProductOutput::kAddF32}) {
    expect_right_and_invariant({GetParam(), 264, 96, output, true});
    expect_right_and_invariant({GetParam(), 8, 544, output, true});
    expect_right_and_invariant({GetParam(), 776, 1312, output});
  }
}

// Rows of the identity bring out the weights.
TEST_P(GemmWiden, HasTheBitsOfDequantizedWeights) {
  constexpr std::int64_t kN = 520, kK = 288;
  WidenProblem problem({GetParam(), kN, kK});
  std::vector<float> identity(static_cast<std::size_t>(kMostRows * kK));
  for (std::int64_t i = 0; i < kK; ++i) identity[static_cast<std::size_t>(i * kK + i)] = 1;
  problem.set_x(identity);

  const auto out = problem.run(kK);

  for (std::int64_t i = 0; i < kK * kN; ++i) {
    ASSERT_EQ(problem.value(out, i), problem.weight(i % kN, i / kN)) << i;
  }
}

TEST_P(GemmWiden, KeepsNanInItsRow) {
  constexpr std::int64_t kN = 776, kK = 1312;
  for (const auto output : {ProductOutput::kNarrow, ProductOutput::kF32}) {
    WidenProblem problem({GetParam(), kN, kK, output, true});
    const auto want = problem.run(kMostRows);
    const std::vector<float> x = problem.x();
    for (const std::int64_t nan_row : {0, 77, 299}) {
      std::vector<float> dirty = x;
      std::fill_n(dirty.begin() + nan_row * kK, kK, std::nanf(""));
      problem.set_x(dirty);
      const auto out = problem.run(kMostRows);
      const auto n = static_cast<std::ptrdiff_t>(problem.row_bytes());
      const auto first = static_cast<std::ptrdiff_t>(nan_row) * n;
      ASSERT_TRUE(std::equal(want.begin(), want.begin() + first, out.begin()));
      ASSERT_TRUE(std::equal(want.begin() + first + n, want.end(), out.begin() + first + n));
      for (std::int64_t c = 0; c < kN; ++c) {
        ASSERT_TRUE(std::isnan(problem.value(out, nan_row * kN + c))) << nan_row;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GemmWiden,
                         ::testing::Values(DeviceFormat::kQ8, DeviceFormat::kQ4),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(WidenGemm, SplitsKWhereTilesAreFew) {
  EXPECT_EQ(cuda::widen_splits(128256, 4096, kSms), 1);
  EXPECT_EQ(cuda::widen_splits(28672, 4096, kSms), 1);
  EXPECT_GT(cuda::widen_splits(4096, 14336, kSms), 1);
  EXPECT_EQ(cuda::widen_splits(64, 256, kSms), 1);
}
TEST(WidenGemm, RefusesWhatItCannotDo) {
  EXPECT_TRUE(cuda::supports_widen_gemm(8, 32));
  EXPECT_FALSE(cuda::supports_widen_gemm(12, 32));
  EXPECT_FALSE(cuda::supports_widen_gemm(8, 48));
  cuda::WidenGemmParams p;
  p.n = 8;
  p.k = 32;
  p.rows = 17;
  p.out_stride = 12;
  EXPECT_EQ(ops::cuda::widen_gemm_q4(p, kSms, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace spate::cuda_test
