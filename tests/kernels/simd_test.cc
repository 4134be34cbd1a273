#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "device/device.h"
#include "tests/kernels/simd_checks.h"

namespace spate::kernels_test {
namespace {

struct Isa {
  CpuIsa isa;
  SimdCheck results;
  Exp2 exp2;
};

class Simd : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam().isa > best_cpu_isa()) GTEST_SKIP() << "this machine lacks the instructions";
  }
};

std::vector<float> odd_inputs(unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 100.0F);
  std::vector<float> x(64);
  for (float& v : x) v = normal(random);
  const float inf = std::numeric_limits<float>::infinity();
  const float special[] = {NAN,      inf,   -inf,  0.0F, -0.0F, 1e-40F, 65519.9F,
                           65520.0F, 6e-8F, 3e-8F, 0.5F, 1.5F,  2.5F};
  std::memcpy(x.data(), special, sizeof special);
  return x;
}

TEST_P(Simd, GivesTheBitsOfTheGenericVectors) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    const std::vector<float> inputs = odd_inputs(seed);
    std::mt19937 random(seed);
    std::vector<std::uint8_t> bytes(128);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
    SimdResults expected{};
    SimdResults found{};

    simd_results_generic(inputs.data(), bytes.data(), &expected);
    GetParam().results(inputs.data(), bytes.data(), &found);

    for (int i = 0; i < 12; ++i) {
      for (int j = 0; j < 16; ++j) {
        const float e = expected.arithmetic[i][j];
        const float f = found.arithmetic[i][j];
        EXPECT_TRUE(std::memcmp(&e, &f, 4) == 0 || (std::isnan(e) && std::isnan(f)))
            << "operation " << i << " lane " << j << ": " << e << " and " << f;
      }
    }
    EXPECT_EQ(std::memcmp(expected.reduced, found.reduced, sizeof found.reduced), 0);
    EXPECT_EQ(std::memcmp(expected.integers, found.integers, sizeof found.integers), 0);
    EXPECT_EQ(std::memcmp(expected.halves, found.halves, sizeof found.halves), 0);
    EXPECT_EQ(std::memcmp(expected.transposed, found.transposed, sizeof found.transposed), 0);
  }
}

TEST_P(Simd, Exp2IsExactAtZeroAndCloseElsewhere) {
  std::vector<float> x;
  for (float v = -126.0F; v < 127.9F; v += 0.00137F) x.push_back(v);
  x.push_back(0.0F);
  while (x.size() % 16 != 0) x.push_back(0.0F);
  std::vector<float> y(x.size());

  GetParam().exp2(x.data(), y.data(), static_cast<std::int64_t>(x.size()));

  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = std::exp2(static_cast<double>(x[i]));
    EXPECT_NEAR(y[i] / expected, 1.0, 2.3e-7) << x[i];
  }
  EXPECT_EQ(y.back(), 1.0F);
}

TEST_P(Simd, Exp2OfExtremesIsZeroOrLargeOrNaN) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x = {-inf, -1e30F, -126.5F, 500.0F, inf, NAN};
  x.resize(16);
  std::vector<float> y(16);

  GetParam().exp2(x.data(), y.data(), 16);

  EXPECT_EQ(y[0], 0.0F);
  EXPECT_EQ(y[1], 0.0F);
  EXPECT_EQ(y[2], 0.0F);
  EXPECT_GT(y[3], 3e38F);
  EXPECT_GT(y[4], 3e38F);
  EXPECT_TRUE(std::isnan(y[5]));
}

INSTANTIATE_TEST_SUITE_P(Isas, Simd,
                         testing::Values(Isa{CpuIsa::kGeneric, simd_results_generic, exp2_generic},
                                         Isa{CpuIsa::kAvx2, simd_results_avx2, exp2_avx2},
                                         Isa{CpuIsa::kAvx512, simd_results_avx512, exp2_avx512}),
                         [](const auto& i) { return std::string(name_of(i.param.isa)); });

}  // namespace
}  // namespace spate::kernels_test
