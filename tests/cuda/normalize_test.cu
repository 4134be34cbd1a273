// RMSNorm, LayerNorm and plain conversion of rows against double precision. Bounds: the sum of k
// squares in float has a relative error of at most (k / threads + 20) 2^-24 and enters by its root;
// after it come a handful of roundings of values no larger than those that the reference reports.
#include <cmath>

#include "spate/kernels/cuda/normalize.cuh"
#include "tests/cuda/row_data.h"

namespace spate::cuda_test {
namespace {

using cuda::RowNorm;

struct Case {
  RowType in, out;
  RowNorm norm;
  int k;
  int padding = 0;  // of a row, elements
  bool bias = false;
};

struct Outcome {
  Bytes out;
  std::vector<float> scales;
};

class Normalize {
 public:
  Normalize(const Case& c, std::int64_t rows) : c_(c), rows_(rows), stride_(c.k + c.padding) {
    x_ = random_values(rows * stride_, 1, 3);
    weight_ = random_values(c.k, 2);
    bias_ = random_values(c.k, 3);
  }
  std::vector<float>& x() { return x_; }
  std::int64_t stride() const { return stride_; }

  Outcome run(std::int64_t first, std::int64_t rows, bool dealt = false) const {
    const DeviceArray<std::uint8_t> x(to_type(x_, c_.in));
    const DeviceArray<float> weight(weight_), bias(bias_);
    const DeviceArray<std::uint8_t> out(
        static_cast<std::size_t>(rows * stride_ * cuda::row_type_bytes(c_.out)));
    const DeviceArray<float> scales(static_cast<std::size_t>(rows));
    cuda::NormalizeParams p;
    p.x = x.data() + first * stride_ * cuda::row_type_bytes(c_.in);
    p.x_type = c_.in;
    p.x_stride = p.out_stride = stride_;
    p.norm = c_.norm;
    if (c_.norm != RowNorm::kNone) p.weight = weight.data();
    if (c_.bias) p.bias = bias.data();
    p.eps = 1e-5f;
    p.out = out.data();
    p.out_type = c_.out;
    p.dealt = dealt;
    p.scales = scales.data();
    p.rows = rows;
    p.k = c_.k;
    p.dependent_launch = true;
    require(cuda::launch_normalize(p, nullptr));
    require(cudaDeviceSynchronize());
    return {out.get(), scales.get()};
  }

  // Expected row and the error of the arithmetic before the conversion.
  void expect(std::int64_t row, std::vector<double>* want, std::vector<double>* error) const {
    const Bytes x = to_type(x_, c_.in);
    double mean = 0, squares = 0, magnitude = 0;
    for (int i = 0; i < c_.k; ++i) {
      mean += value_at(x, c_.in, row * stride_ + i) / c_.k;
      magnitude += std::abs(value_at(x, c_.in, row * stride_ + i)) / c_.k;
    }
    if (c_.norm != RowNorm::kLayer) mean = 0;
    for (int i = 0; i < c_.k; ++i) {
      squares += std::pow(value_at(x, c_.in, row * stride_ + i) - mean, 2) / c_.k;
    }
    const double inverse = 1 / std::sqrt(squares + 1e-5);
    for (int i = 0; i < c_.k; ++i) {
      const double from = value_at(x, c_.in, row * stride_ + i);
      const bool plain = c_.norm == RowNorm::kNone;
      const double w = plain ? 1 : static_cast<double>(weight_[static_cast<std::size_t>(i)]);
      const double b = c_.bias ? static_cast<double>(bias_[static_cast<std::size_t>(i)]) : 0;
      want->push_back(plain ? from : (from - mean) * inverse * w + b);
      const double shift_error = c_.norm == RowNorm::kLayer ? 32 * 0x1p-24 * magnitude : 0;
      error->push_back(plain
                           ? 0
                           : 0x1p-24 * (32 * std::abs((from - mean) * inverse * w) + std::abs(b)) +
                                 shift_error * inverse * std::abs(w));
    }
  }

  void check(const Outcome& run) const {
    for (std::int64_t row = 0; row < rows_; ++row) {
      std::vector<double> want, error;
      expect(row, &want, &error);
      expect_row({&run.out, c_.out, row * stride_, run.scales[static_cast<std::size_t>(row)]}, want,
                 error);
    }
  }
  // Nothing is written behind a row's end.
  void check_padding(const Outcome& run) const {
    for (std::int64_t row = 0; row < rows_; ++row) {
      const Bytes rest = slice(run.out, c_.out, row * stride_ + c_.k, c_.padding);
      EXPECT_EQ(rest, Bytes(rest.size(), 0xFF));
    }
  }

 private:
  Case c_;
  std::int64_t rows_, stride_;
  std::vector<float> x_, weight_, bias_;
};

class NormalizeTest : public testing::TestWithParam<Case> {};

TEST_P(NormalizeTest, AgreesWithDoublePrecisionAndKeepsItsHandsOffThePadding) {
  const Normalize problem(GetParam(), 5);
  const Outcome run = problem.run(0, 5);
  problem.check(run);
  problem.check_padding(run);
}

TEST_P(NormalizeTest, GivesARowTheSameBitsAloneAndInACrowd) {
  const Normalize problem(GetParam(), 70);
  const Outcome all = problem.run(0, 70);
  const Outcome one = problem.run(33, 1);
  const std::int64_t first = 33 * problem.stride();
  EXPECT_EQ(slice(all.out, GetParam().out, first, GetParam().k),
            slice(one.out, GetParam().out, 0, GetParam().k));
}

// The order of the widening product, and nothing but the order.
TEST(NormalizeDealt, HasTheSameValuesInAnotherOrder) {
  for (const Case& c : {Case{RowType::kF32, RowType::kBF16, RowNorm::kRms, 4096},
                        Case{RowType::kBF16, RowType::kBF16, RowNorm::kNone, 14336, 32},
                        Case{RowType::kF32, RowType::kBF16, RowNorm::kLayer, 96, 32}}) {
    const Normalize problem(c, 3);
    const Outcome plain = problem.run(0, 3), dealt = problem.run(0, 3, true);
    for (std::int64_t i = 0; i < 3 * problem.stride(); ++i) {
      const std::int64_t to = i / 32 * 32 + cuda::dealt_place(static_cast<int>(i % 32));
      ASSERT_EQ(slice(plain.out, c.out, i, 1), slice(dealt.out, c.out, to, 1)) << i;
    }
  }
}

TEST_P(NormalizeTest, KeepsANanInItsRow) {
  Normalize problem(GetParam(), 3);
  const Outcome clean = problem.run(0, 3);
  problem.x()[static_cast<std::size_t>(problem.stride() + GetParam().k / 2)] = std::nanf("");
  const Outcome run = problem.run(0, 3);
  for (const std::int64_t row : {0, 2}) {
    EXPECT_EQ(slice(run.out, GetParam().out, row * problem.stride(), GetParam().k),
              slice(clean.out, GetParam().out, row * problem.stride(), GetParam().k));
  }
  EXPECT_TRUE(std::isnan(value_at(run.out, GetParam().out, problem.stride() + GetParam().k / 2)));
}

constexpr RowType kF32 = RowType::kF32, kBF16 = RowType::kBF16, kE4M3 = RowType::kE4M3;
INSTANTIATE_TEST_SUITE_P(
    Shapes, NormalizeTest,
    testing::Values(
        Case{kF32, kBF16, RowNorm::kRms, 4096}, Case{kF32, kE4M3, RowNorm::kRms, 4096},
        Case{kF32, kF32, RowNorm::kRms, 2048, 64},
        Case{kF32, kBF16, RowNorm::kLayer, 5120, 8, true},
        Case{kF32, kE4M3, RowNorm::kLayer, 768, 16, true}, Case{kF32, kBF16, RowNorm::kRms, 64},
        Case{kF32, kBF16, RowNorm::kRms, 8192}, Case{kF32, kBF16, RowNorm::kRms, 16384},
        Case{kBF16, kE4M3, RowNorm::kLayer, 24576}, Case{kF32, kBF16, RowNorm::kRms, 289, 3},
        Case{kF32, kE4M3, RowNorm::kRms, 1}, Case{kBF16, kF32, RowNorm::kLayer, 4099, 2, true},
        Case{kF32, kE4M3, RowNorm::kNone, 14336}, Case{kBF16, kE4M3, RowNorm::kNone, 4096},
        Case{kF32, kBF16, RowNorm::kNone, 4095, 1}, Case{kBF16, kF32, RowNorm::kNone, 256},
        Case{kF32, RowType::kF16, RowNorm::kRms, 1024}));

TEST(NormalizeEdges, ZeroRowsAndZeroColumnsAreNoWork) {
  cuda::NormalizeParams p;
  EXPECT_EQ(cuda::launch_normalize(p, nullptr), cudaSuccess);
  p.rows = 3;
  EXPECT_EQ(cuda::launch_normalize(p, nullptr), cudaSuccess);
}

TEST(NormalizeEdges, ARowOfZerosHasScaleZero) {
  const DeviceArray<float> x(std::vector<float>(64, 0.f));
  const DeviceArray<std::uint8_t> out(64);
  const DeviceArray<float> scale(1);
  cuda::NormalizeParams p;
  p.x = x.data();
  p.x_stride = p.out_stride = p.k = 64;
  p.out = out.data();
  p.out_type = kE4M3;
  p.scales = scale.data();
  p.rows = 1;
  require(cuda::launch_normalize(p, nullptr));
  EXPECT_EQ(out.get(), Bytes(64, 0));
  EXPECT_EQ(scale.get()[0], 0.f);
}

TEST(NormalizeEdges, ARowTooLongIsRefused) {
  cuda::NormalizeParams p;
  p.rows = 1;
  p.k = cuda::kLongestHeldRow + 1;
  EXPECT_EQ(cuda::launch_normalize(p, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace spate::cuda_test
