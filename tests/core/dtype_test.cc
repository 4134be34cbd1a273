#include "core/dtype.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace spate {
namespace {

TEST(BF16, RoundsToNearestEven) {
  EXPECT_EQ(BF16::from_float(1.0F).bits, 0x3f80);
  EXPECT_EQ(BF16::from_float(std::bit_cast<float>(0x3f808000U)).bits, 0x3f80);  // tie, to even
  EXPECT_EQ(BF16::from_float(std::bit_cast<float>(0x3f818000U)).bits, 0x3f82);
}

TEST(BF16, KeepsNan) {
  EXPECT_TRUE(std::isnan(BF16::from_float(std::numeric_limits<float>::quiet_NaN()).to_float()));
}

TEST(F16, EveryValueSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const F16 h{static_cast<std::uint16_t>(bits)};
    const float x = h.to_float();

    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(F16::from_float(x).to_float()));
    } else {
      EXPECT_EQ(F16::from_float(x).bits, bits);
    }
  }
}

TEST(F16, OverflowsToInfinityAtTheRightPlace) {
  EXPECT_EQ(F16::from_float(65519.0F).bits, 0x7bff);
  EXPECT_EQ(F16::from_float(65520.0F).bits, 0x7c00);
}

TEST(DType, KnowsEveryDialect) {
  EXPECT_EQ(dtype_named("BF16"), DType::kBF16);
  EXPECT_EQ(dtype_named("torch.float16"), DType::kF16);
  EXPECT_EQ(dtype_named("f32"), DType::kF32);
  EXPECT_FALSE(dtype_named("complex64").has_value());
}

}  // namespace
}  // namespace spate
