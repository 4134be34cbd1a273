#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "device/device.h"
#include "tests/kernels/softmax_checks.h"

namespace spate::kernels_test {
namespace {

struct Set {
  CpuIsa isa;
  Exp2Below exp2_below;
  RowMaxima row_maxima;
};

class Softmax : public testing::TestWithParam<Set> {
 protected:
  void SetUp() override {
    if (GetParam().isa > best_cpu_isa()) GTEST_SKIP() << "this machine lacks the instructions";
  }
  struct Powers {
    std::vector<float> fine;
    std::vector<float> coarse;
  };
  static Powers powers(Exp2Below f, const std::vector<float>& x) {
    Powers p{std::vector<float>(x.size()), std::vector<float>(x.size())};
    f(x.data(), p.fine.data(), p.coarse.data(), static_cast<std::int64_t>(x.size()));
    return p;
  }
};

/// Every 211th float of [-126, -0], and the ends.
std::vector<float> arguments() {
  std::vector<float> x;
  const auto last = std::bit_cast<std::uint32_t>(-126.0F);
  for (std::uint32_t u = 0x80000000U; u <= last; u += 211) x.push_back(std::bit_cast<float>(u));
  x.push_back(-126.0F);
  while (x.size() % 16 != 0) x.push_back(0.0F);
  return x;
}

TEST_P(Softmax, TakesPowersOfTwoWithinTheStatedErrors) {
  const std::vector<float> x = arguments();

  const Powers p = powers(GetParam().exp2_below, x);

  double fine = 0.0;
  double coarse = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp2(static_cast<double>(x[i]));
    fine = std::max(fine, std::abs(p.fine[i] / exact - 1.0));
    coarse = std::max(coarse, std::abs(p.coarse[i] / exact - 1.0));
  }
  // The polynomials' own errors and two roundings.
  EXPECT_LT(fine, 9.2e-8 + std::exp2(-23));
  EXPECT_LT(coarse, 2.9e-6 + std::exp2(-23));
}

TEST_P(Softmax, TakesPowersOfTwoWithTheBitsOfTheGenericVectors) {
  const std::vector<float> x = arguments();

  const Powers p = powers(GetParam().exp2_below, x);
  const Powers expected = powers(exp2_below_generic, x);

  EXPECT_EQ(p.fine, expected.fine);
  EXPECT_EQ(p.coarse, expected.coarse);
}

TEST_P(Softmax, IsExactAtZeroAndNothingFarBelow) {
  std::vector<float> x(16, -1e30F);
  x[0] = 0.0F;
  x[1] = -0.0F;
  x[2] = -126.00001F;
  x[3] = -std::numeric_limits<float>::infinity();
  x[4] = std::numeric_limits<float>::quiet_NaN();
  x[5] = -7.0F;

  const Powers p = powers(GetParam().exp2_below, x);

  EXPECT_EQ(p.fine[0], 1.0F);
  EXPECT_EQ(p.fine[1], 1.0F);
  EXPECT_EQ(p.fine[2], 0.0F);
  EXPECT_EQ(p.fine[3], 0.0F);
  EXPECT_TRUE(std::isnan(p.fine[4]));
  EXPECT_EQ(p.fine[5], 0x1p-7F);
  EXPECT_EQ(p.fine[15], 0.0F);
}

TEST_P(Softmax, FindsTheMaximumOfEachRow) {
  for (int n = 1; n <= 16; ++n) {
    std::vector<float> rows;
    for (int i = 0; i < n * 16; ++i) rows.push_back(std::sin(static_cast<float>(i * i + n)));
    std::vector<float> maxima(16);

    GetParam().row_maxima(rows.data(), n, maxima.data());

    for (int r = 0; r < n; ++r) {
      const auto* row = rows.data() + r * 16;
      ASSERT_EQ(maxima[static_cast<std::size_t>(r)], *std::max_element(row, row + 16));
    }
    for (int r = n; r < 16; ++r) ASSERT_EQ(maxima[static_cast<std::size_t>(r)], -1e30F);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sets, Softmax,
    testing::Values(Set{CpuIsa::kGeneric, exp2_below_generic, row_maxima_generic},
                    Set{CpuIsa::kAvx2, exp2_below_avx2, row_maxima_avx2},
                    Set{CpuIsa::kAvx512, exp2_below_avx512, row_maxima_avx512}),
    [](const auto& set) { return std::string(name_of(set.param.isa)); });

}  // namespace
}  // namespace spate::kernels_test
