// Activations against double precision. The exponential's argument y is rounded, so its relative
// error is up to 2^-22 (1 + |y|), and the functions take at most that from it.
#include <cmath>

#include "spate/kernels/cuda/activation.cuh"
#include "tests/cuda/row_data.h"

namespace spate::cuda_test {
namespace {

using cuda::RowActivation;

struct Case {
  RowType in, out;
  RowActivation activation;
  bool gated;
  int n;
  bool bias = false;
  int padding = 0;
};

double reference(RowActivation activation, double x) {
  switch (activation) {
    case RowActivation::kSilu:
      return x / (1 + std::exp(-x));
    case RowActivation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case RowActivation::kGeluTanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case RowActivation::kRelu:
      return x < 0 ? 0 : x;
    default:
      return x / (1 + std::exp(-1.702 * x));
  }
}

struct Outcome {
  Bytes out;
  std::vector<float> scales;
};

class Activate {
 public:
  Activate(const Case& c, std::int64_t rows)
      : c_(c),
        columns_(c.gated ? 2 * c.n : c.n),
        stride_(columns_ + c.padding),
        x_(random_values(rows * stride_, 1, 4)),
        bias_(random_values(columns_, 2)) {}

  std::vector<float>& x() { return x_; }
  std::int64_t stride() const { return stride_; }

  Outcome run(std::int64_t first, std::int64_t rows, bool dealt = false) const {
    const DeviceArray<std::uint8_t> x(to_type(x_, c_.in));
    const DeviceArray<float> bias(bias_);
    const DeviceArray<std::uint8_t> out(
        static_cast<std::size_t>(rows * c_.n * cuda::row_type_bytes(c_.out)));
    const DeviceArray<float> scales(static_cast<std::size_t>(rows));
    cuda::ActivationParams p;
    p.x = x.data() + first * stride_ * cuda::row_type_bytes(c_.in);
    p.x_type = c_.in;
    p.x_stride = stride_;
    p.gated = c_.gated;
    p.activation = c_.activation;
    if (c_.bias) p.bias = bias.data();
    p.out = out.data();
    p.out_type = c_.out;
    p.dealt = dealt;
    p.out_stride = c_.n;
    p.scales = scales.data();
    p.rows = rows;
    p.n = c_.n;
    p.dependent_launch = true;
    require(cuda::launch_activation(p, nullptr));
    require(cudaDeviceSynchronize());
    return {out.get(), scales.get()};
  }

  void check_row(const Outcome& run, std::int64_t row) const {
    const Bytes x = to_type(x_, c_.in);
    const auto at = [&](int column) {
      const double bias =
          c_.bias ? static_cast<double>(bias_[static_cast<std::size_t>(column)]) : 0;
      return value_at(x, c_.in, row * stride_ + column) + bias;
    };
    std::vector<double> want, error;
    for (int i = 0; i < c_.n; ++i) {
      const double g = at(i), up = c_.gated ? at(c_.n + i) : 1;
      const double y = std::abs(g) * (1.7 + std::abs(0.08 * g * g));
      want.push_back(reference(c_.activation, g) * up);
      // Results below 1e-35 may become zero: the division's divisor is bounded by 2^126.
      // The bias's rounding moves the result by a slope of at most 1.2.
      error.push_back(
          std::abs(want.back()) * 0x1p-22 * (4 + 3 * y) +
          (c_.bias ? 0x1p-23 * (std::abs(g) * std::abs(up) + std::abs(want.back())) : 0) + 1e-35);
    }
    expect_row({&run.out, c_.out, row * c_.n, run.scales[static_cast<std::size_t>(row)]}, want,
               error);
  }

 private:
  Case c_;
  std::int64_t columns_, stride_;
  std::vector<float> x_, bias_;
};

class ActivationTest : public testing::TestWithParam<Case> {};

TEST_P(ActivationTest, AgreesWithDoublePrecision) {
  const Activate problem(GetParam(), 4);
  const Outcome run = problem.run(0, 4);
  for (std::int64_t row = 0; row < 4; ++row) problem.check_row(run, row);
}

TEST_P(ActivationTest, GivesARowTheSameBitsAloneAndInACrowd) {
  const Case& c = GetParam();
  const Activate problem(c, 70);
  EXPECT_EQ(slice(problem.run(0, 70).out, c.out, std::int64_t{41} * c.n, c.n),
            problem.run(41, 1).out);
}

TEST_P(ActivationTest, KeepsANanInItsRow) {
  const Case& c = GetParam();
  Activate problem(c, 3);
  const Outcome clean = problem.run(0, 3);
  problem.x()[static_cast<std::size_t>(problem.stride())] = std::nanf("");
  const Outcome run = problem.run(0, 3);
  for (const std::int64_t row : {0, 2}) {
    EXPECT_EQ(slice(run.out, c.out, row * c.n, c.n), slice(clean.out, c.out, row * c.n, c.n));
  }
  EXPECT_TRUE(std::isnan(value_at(run.out, c.out, c.n)));
}

// The order of the widening product, and nothing but the order.
TEST(ActivationDealt, HasTheSameValuesInAnotherOrder) {
  const Case c{RowType::kBF16, RowType::kBF16, RowActivation::kSilu, true, 14336};
  const Activate problem(c, 3);
  const Outcome plain = problem.run(0, 3), dealt = problem.run(0, 3, true);
  for (std::int64_t i = 0; i < std::int64_t{3} * c.n; ++i) {
    const std::int64_t to = i / 32 * 32 + cuda::dealt_place(static_cast<int>(i % 32));
    ASSERT_EQ(slice(plain.out, c.out, i, 1), slice(dealt.out, c.out, to, 1)) << i;
  }
}

constexpr RowType kF32 = RowType::kF32, kBF16 = RowType::kBF16, kF16 = RowType::kF16,
                  kE4M3 = RowType::kE4M3;
INSTANTIATE_TEST_SUITE_P(
    Shapes, ActivationTest,
    testing::Values(Case{kBF16, kBF16, RowActivation::kSilu, true, 14336},
                    Case{kF32, kBF16, RowActivation::kSilu, true, 1024},
                    Case{kBF16, kE4M3, RowActivation::kSilu, true, 14336},
                    Case{kF32, kE4M3, RowActivation::kSilu, true, 28672},
                    Case{kF32, kF32, RowActivation::kGelu, false, 3072, true},
                    Case{kF32, kF32, RowActivation::kGeluTanh, true, 512, false, 32},
                    Case{kF32, kF32, RowActivation::kRelu, false, 333, true, 1},
                    Case{kF32, kF32, RowActivation::kQuickGelu, false, 64},
                    Case{kBF16, kE4M3, RowActivation::kGeluTanh, false, 1001, true},
                    Case{kBF16, kBF16, RowActivation::kGelu, true, 9, false, 5},
                    Case{kF16, kF16, RowActivation::kSilu, true, 14336},
                    Case{kF16, kF16, RowActivation::kGelu, false, 333, true, 1},
                    Case{kF16, kE4M3, RowActivation::kSilu, true, 1024},
                    Case{kF32, kF32, RowActivation::kSilu, true, 1}));

TEST(ActivationEdges, WhatF16CannotHoldIsInfinite) {
  const DeviceArray<float> x(std::vector<float>{65504.f, 65536.f, 1e9f, 0.f});
  const DeviceArray<std::uint8_t> out(8);
  cuda::ActivationParams p;
  p.x = x.data();
  p.x_type = kF32;
  p.out_type = kF16;
  p.gated = false;
  p.activation = RowActivation::kRelu;
  p.out = out.data();
  p.rows = 1;
  p.n = p.x_stride = p.out_stride = 4;
  require(cuda::launch_activation(p, nullptr));
  const Bytes y = out.get();
  EXPECT_EQ(value_at(y, kF16, 0), 65504.0);
  EXPECT_EQ(value_at(y, kF16, 1), HUGE_VAL);
  EXPECT_EQ(value_at(y, kF16, 2), HUGE_VAL);
  EXPECT_EQ(value_at(y, kF16, 3), 0.0);
}

TEST(ActivationEdges, FarTailsAreZerosAndIdentities) {
  const DeviceArray<float> x(
      std::vector<float>{-1e30f, -200.f, -0.f, 0.f, 200.f, 1e30f, -88.f, 1.f});
  const DeviceArray<float> out(8);
  cuda::ActivationParams p;
  p.x = x.data();
  p.x_type = p.out_type = kF32;
  p.gated = false;
  p.out = out.data();
  p.rows = 1;
  p.n = 8;
  p.x_stride = p.out_stride = 8;
  for (const auto activation : {RowActivation::kSilu, RowActivation::kGelu,
                                RowActivation::kGeluTanh, RowActivation::kQuickGelu}) {
    p.activation = activation;
    require(cuda::launch_activation(p, nullptr));
    const std::vector<float> y = out.get();
    EXPECT_EQ(y[4], 200.f);
    EXPECT_EQ(y[5], 1e30f);
    for (const std::size_t i : {0, 1, 2, 3, 6}) EXPECT_NEAR(y[i], 0, 1e-30);
  }
}

}  // namespace
}  // namespace spate::cuda_test
