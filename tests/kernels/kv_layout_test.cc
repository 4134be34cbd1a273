// The cache's layout: what goes in comes out, wherever it lies and however it is written.
#include "spate/kernels/cpu/kv_layout.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace spate::kernels::cpu {
namespace {

using Parameters = std::tuple<KvFormat, std::int64_t>;

class KvLayoutTest : public testing::TestWithParam<Parameters> {
 protected:
  KvLayout layout() const { return {std::get<0>(GetParam()), std::get<1>(GetParam())}; }
  std::vector<std::byte> block() const {
    return std::vector<std::byte>(static_cast<std::size_t>(layout().head_bytes()), std::byte{0xff});
  }
  /// Values of alternating sign whose magnitudes grow with the token.
  std::vector<float> rows() const {
    std::vector<float> x;
    for (std::int64_t i = 0; i < kKvTokens * layout().head_dim; ++i) {
      x.push_back(std::sin(static_cast<float>(i)) * static_cast<float>(1 + i / layout().head_dim));
    }
    return x;
  }
  /// Largest error of a stored value of the row: half a unit of its format.
  double tolerance(double value, double peak) const {
    switch (layout().format) {
      case KvFormat::kF32:
        return 0.0;
      case KvFormat::kF16:
        return std::abs(value) * std::exp2(-11) + std::exp2(-25);
      case KvFormat::kBF16:
        return std::abs(value) * std::exp2(-8);
      default:
        return peak / 127.0 * 0.5001;
    }
  }
};

TEST_P(KvLayoutTest, ReturnsWhatWasAppended) {
  const KvLayout kv = layout();
  const std::vector<float> x = rows();
  std::vector<std::byte> memory = block();
  append_keys(kv, memory.data(), 0, kKvTokens, {x.data(), kv.head_dim});
  append_values(kv, memory.data(), 0, kKvTokens, {x.data(), kv.head_dim});

  for (std::int64_t t = 0; t < kKvTokens; ++t) {
    const float* row = x.data() + t * kv.head_dim;
    double peak = 0.0;
    for (std::int64_t d = 0; d < kv.head_dim; ++d) peak = std::fmax(peak, std::abs(row[d]));
    for (std::int64_t d = 0; d < kv.head_dim; ++d) {
      ASSERT_NEAR(key_at(kv, memory.data(), t, d), row[d], tolerance(row[d], peak));
      ASSERT_NEAR(value_at(kv, memory.data(), t, d), row[d], tolerance(row[d], peak));
    }
  }
}

TEST_P(KvLayoutTest, HoldsTheSameBytesHoweverTheRunIsCut) {
  const KvLayout kv = layout();
  const std::vector<float> x = rows();
  std::vector<std::byte> at_once = block();
  append_keys(kv, at_once.data(), 0, kKvTokens, {x.data(), kv.head_dim});
  append_values(kv, at_once.data(), 0, kKvTokens, {x.data(), kv.head_dim});

  for (const std::int64_t step : {1, 3, 16, 20}) {
    std::vector<std::byte> pieces = block();
    for (std::int64_t t = 0; t < kKvTokens; t += step) {
      const std::int64_t n = std::min(step, kKvTokens - t);
      const KvRows run{x.data() + t * kv.head_dim, kv.head_dim};
      append_keys(kv, pieces.data(), t, n, run);
      append_values(kv, pieces.data(), t, n, run);
    }
    ASSERT_EQ(pieces, at_once) << "in steps of " << step;
  }
}

TEST_P(KvLayoutTest, WritesNoOtherToken) {
  const KvLayout kv = layout();
  const std::vector<float> x = rows();
  std::vector<std::byte> memory = block();
  append_keys(kv, memory.data(), 0, kKvTokens, {x.data(), kv.head_dim});
  append_values(kv, memory.data(), 0, kKvTokens, {x.data(), kv.head_dim});
  const std::vector<std::byte> before = memory;

  append_keys(kv, memory.data(), 17, 1, {x.data(), kv.head_dim});
  append_values(kv, memory.data(), 17, 1, {x.data(), kv.head_dim});
  append_keys(kv, memory.data(), 17, 1, {x.data() + 17 * kv.head_dim, kv.head_dim});
  append_values(kv, memory.data(), 17, 1, {x.data() + 17 * kv.head_dim, kv.head_dim});

  EXPECT_EQ(memory, before);
}

TEST_P(KvLayoutTest, StartsPanelsOnCacheLines) {
  const KvLayout kv = layout();

  EXPECT_EQ(kv.key_panel_bytes() % 64, 0);
  EXPECT_EQ(kv.value_offset() % 64, 0);
  EXPECT_EQ(kv.value_panel_bytes() % 64, 0);
  EXPECT_EQ(kv.head_bytes() % 64, 0);
}

TEST_P(KvLayoutTest, KeepsANaN) {
  const KvLayout kv = layout();
  std::vector<float> x(static_cast<std::size_t>(kv.head_dim), 1.0F);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::byte> memory = block();
  append_keys(kv, memory.data(), 5, 1, {x.data(), 0});
  append_values(kv, memory.data(), 5, 1, {x.data(), 0});

  EXPECT_TRUE(std::isnan(key_at(kv, memory.data(), 5, 3)));
  EXPECT_TRUE(std::isnan(value_at(kv, memory.data(), 5, 3)));
}

INSTANTIATE_TEST_SUITE_P(Formats, KvLayoutTest,
                         testing::Combine(testing::Values(KvFormat::kF32, KvFormat::kF16,
                                                          KvFormat::kBF16, KvFormat::kInt8),
                                          testing::Values(16, 64, 80, 96, 112, 128, 256)));

TEST(KvF16, RoundsToNearestEvenAndStopsAtTheLargestNumber) {
  using kv_detail::to_f16;

  EXPECT_EQ(to_f16(1.0F), 0x3c00);
  EXPECT_EQ(to_f16(1.0F + 0x1p-11F), 0x3c00);             // a tie goes to the even one
  EXPECT_EQ(to_f16(1.0F + 0x1p-11F + 0x1p-20F), 0x3c01);  // beyond the tie
  EXPECT_EQ(to_f16(0x1p-24F), 0x0001);
  EXPECT_EQ(to_f16(-0x1p-26F), 0x8000);
  EXPECT_EQ(to_f16(1e9F), 0x7bff);
  EXPECT_EQ(to_f16(-std::numeric_limits<float>::infinity()), 0xfbff);
}

TEST(KvF16, WidensExactlyWhatItRounded) {
  for (std::uint32_t h = 0; h < 0x7c00; ++h) {
    const float x = kv_detail::widened_f16(static_cast<std::uint16_t>(h));
    ASSERT_EQ(kv_detail::to_f16(x), h);
  }
}

TEST(KvInt8, GivesARowOfZerosTheScaleZero) {
  const std::vector<float> zeros(64, 0.0F);

  const kv_detail::Int8Scale scale = kv_detail::int8_scale(zeros.data(), 64);

  EXPECT_EQ(scale.scale, 0.0F);
  EXPECT_EQ(scale.inverse, 0.0F);
}

}  // namespace
}  // namespace spate::kernels::cpu
