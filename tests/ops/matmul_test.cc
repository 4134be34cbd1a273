#include <limits>

#include <gtest/gtest.h>

#include "tests/ops/linear_fixture.h"

namespace spate::ops_test {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kF32,      WeightFormat::kF16,
                                     WeightFormat::kWideBF16, WeightFormat::kBF16,
                                     WeightFormat::kQ8,       WeightFormat::kQ4};

std::vector<CpuIsa> isas() {
  std::vector<CpuIsa> all;
  for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (isa <= best_cpu_isa()) all.push_back(isa);
  }
  return all;
}

struct Machine {
  CpuIsa isa;
  bool amx;
};

std::vector<Machine> machines() {
  std::vector<Machine> all;
  for (const CpuIsa isa : isas()) all.push_back({isa, false});
  if (amx_available()) all.push_back({CpuIsa::kAvx512, true});
  return all;
}

std::string short_name(const testing::TestParamInfo<WeightFormat>& info) {
  if (info.param == WeightFormat::kWideBF16) return "wide_bf16";
  return std::string(name_of(info.param));
}

struct Shape {
  std::int64_t n;
  std::int64_t k;
};

class Matmul : public testing::TestWithParam<WeightFormat> {
 protected:
  /// Tolerance relative to sum |a b|: the rounding of a chain of additions for floats, of one
  /// product and one fused addition per 32 for the quantized formats. Measured errors are a tenth.
  static double tolerance() { return row_format_of(GetParam()) == RowFormat::kInt8 ? 4e-7 : 2e-6; }
};

TEST_P(Matmul, AgreesWithDoublePrecisionOnTheStoredNumbers) {
  for (const auto& [isa, amx] : machines()) {
    for (const Shape s : {Shape{64, 32}, {1, 64}, {33, 40}, {96, 576}, {70, 2048}}) {
      TestMatrix w(GetParam(), s.n, s.k);
      w.pack();
      TestDevice d(2, isa, amx);
      const std::int64_t n_rows = 9;
      std::vector<float> x = random_floats(n_rows * s.k, 1.0F, 3);

      const std::vector<float> y = product(d, x, w.matrix(), s.n);

      for (std::int64_t r = 0; r < n_rows; ++r) {
        const auto row = stored_row(row_format_of(GetParam()), x.data() + r * s.k, s.k);
        for (std::int64_t n = 0; n < s.n; ++n) {
          double sum = 0;
          double magnitude = 0;
          for (std::int64_t k = 0; k < s.k; ++k) {
            const double p = row[static_cast<std::size_t>(k)] * w.weight(n, k);
            sum += p;
            magnitude += std::fabs(p);
          }
          ASSERT_NEAR(y[static_cast<std::size_t>(r * s.n + n)], sum, tolerance() * magnitude)
              << name_of(isa) << " n " << s.n << " k " << s.k << " at " << r << ", " << n;
        }
      }
    }
  }
}

TEST_P(Matmul, GivesTheSameBitsForEveryNumberOfRowsAndThreads) {
  const std::int64_t n = 208;  // panels: some side by side, some left over
  const std::int64_t k = 576;
  const std::int64_t most = 511;
  TestMatrix w(GetParam(), n, k);
  w.pack();
  TestDevice one(1);
  std::vector<float> x = random_floats(most * k, 1.0F, 3);
  const std::vector<float> expected = product(one, x, w.matrix(), n);
  for (int threads = 1; threads <= 4; ++threads) {
    TestDevice d(threads);
    for (const std::int64_t rows :
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 37, 64, 511}) {
      std::vector<float> first(x.begin(), x.begin() + rows * k);

      const std::vector<float> y = product(d, first, w.matrix(), n);

      ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0)
          << rows << " rows on " << threads << " threads";
    }
  }
}

TEST_P(Matmul, GivesTheSameBitsInPlaceAndPacked) {
  for (const std::int64_t k : {200, 224}) {  // rows that end inside a step, and with it
    TestMatrix in_place(GetParam(), 75, k);
    TestMatrix packed(GetParam(), 75, k);
    packed.pack();
    TestDevice d(2);
    for (const std::int64_t rows : {1, 2, 5, 40}) {
      std::vector<float> x = random_floats(rows * k, 1.0F, 3);

      EXPECT_EQ(product(d, x, in_place.matrix(), 75), product(d, x, packed.matrix(), 75))
          << rows << " rows of " << k;
    }
  }
}

TEST_P(Matmul, GivesTheSameBitsForFewAndManyRowsOfDenormals) {
  const std::int64_t k = 64;
  std::vector<float> values = random_floats(128 * k, 1e-38F, 5);
  TestMatrix w(GetParam(), 128, k, values);
  w.pack();
  TestDevice d(1);
  std::vector<float> x = random_floats(20 * k, 1.0F, 3);
  const std::vector<float> expected = product(d, x, w.matrix(), 128);
  std::vector<float> first(x.begin(), x.begin() + k);

  const std::vector<float> y = product(d, first, w.matrix(), 128);

  EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0);
}

TEST_P(Matmul, GivesTheSameBitsOnEveryIsa) {
  if (GetParam() == WeightFormat::kBF16) GTEST_SKIP() << "the processor defines bf16's rounding";
  TestMatrix w(GetParam(), 96, 416);
  w.pack();
  std::vector<float> x = random_floats(9 * 416, 1.0F, 3);
  TestDevice generic(2, CpuIsa::kGeneric);
  const std::vector<float> expected = product(generic, x, w.matrix(), 96);
  for (const CpuIsa isa : isas()) {
    TestDevice d(2, isa);
    EXPECT_EQ(product(d, x, w.matrix(), 96), expected) << name_of(isa);
  }
}

TEST_P(Matmul, DoesNothingForNoRows) {
  TestMatrix w(GetParam(), 32, 32);
  w.pack();
  TestDevice d(2);
  std::vector<float> x;

  EXPECT_TRUE(product(d, x, w.matrix(), 32).empty());
}

TEST_P(Matmul, KeepsNaNOfAWeightInItsColumn) {
  std::vector<float> values = random_floats(64 * 64, 1.0F, 5);
  values[40 * 64 + 7] = std::numeric_limits<float>::quiet_NaN();
  TestMatrix w(GetParam(), 64, 64, values);
  w.pack();
  TestDevice d(2);
  std::vector<float> x = random_floats(3 * 64, 1.0F, 3);

  const std::vector<float> y = product(d, x, w.matrix(), 64);

  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % 64 == 40) << i;
}

TEST_P(Matmul, KeepsInfinityOfARowInItsRow) {
  TestMatrix w(GetParam(), 64, 64);
  w.pack();
  TestDevice d(2);
  std::vector<float> x = random_floats(5 * 64, 1.0F, 3);
  x[2 * 64 + 9] = std::numeric_limits<float>::infinity();

  const std::vector<float> y = product(d, x, w.matrix(), 64);

  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(!std::isfinite(y[i]), i / 64 == 2) << i;
}

INSTANTIATE_TEST_SUITE_P(Formats, Matmul, testing::ValuesIn(kFormats), short_name);

// The largest sums that int8 can make: 32 products of 255 and 127 before the offset is taken out.
TEST(MatmulInt8, SurvivesTheLargestSums) {
  std::vector<float> values(64 * 64);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? 127.0F : -127.0F;
  TestMatrix w(WeightFormat::kQ8, 64, 64, values);
  w.pack();
  for (const CpuIsa isa : isas()) {
    TestDevice d(1, isa);
    std::vector<float> x(values.begin(), values.begin() + 64);

    const std::vector<float> y = product(d, x, w.matrix(), 64);

    for (const float v : y) EXPECT_EQ(v, 64.0F * 127.0F * 127.0F);
  }
}

TEST(MatmulAdd, AddsProductAndBiasToTheResidual) {
  TestMatrix w(WeightFormat::kF32, 40, 64);
  w.pack();
  std::vector<float> bias(64, 0.0F);
  for (std::size_t i = 0; i < 40; ++i) bias[i] = static_cast<float>(i);
  TestDevice d(2);
  std::vector<float> x = random_floats(3 * 64, 1.0F, 3);
  const std::vector<float> plain = product(d, x, w.matrix(), 40);
  w.matrix().set_bias(bias);
  std::vector<float> residual(3 * 40, 2.0F);

  ops::matmul_add(*d.device, d.arena, Tensor(residual.data(), DType::kF32, {3, 40}), rows_of(x, 64),
                  w.matrix());

  for (std::size_t i = 0; i < residual.size(); ++i) {
    EXPECT_EQ(residual[i], 2.0F + (plain[i] + bias[i % 40]));
  }
}

TEST(MatmulOutput, WritesNothingBeyondTheOutput) {
  TestMatrix w(WeightFormat::kQ8, 33, 64);
  w.pack();
  TestDevice d(2);
  std::vector<float> x = random_floats(2 * 64, 1.0F, 3);
  std::vector<float> out(2 * 50, -5.0F);
  const Tensor wide(out.data(), DType::kF32, {2, 50});

  ops::matmul(*d.device, d.arena, wide.slice(1, 0, 33), rows_of(x, 64), w.matrix());

  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i] == -5.0F, i % 50 >= 33) << i;
}

}  // namespace
}  // namespace spate::ops_test
