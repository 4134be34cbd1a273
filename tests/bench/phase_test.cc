#include "bench/phase.h"

#include <gtest/gtest.h>

namespace spate::bench {
namespace {

constexpr Ceilings kCeilings{
    .read_bytes = 10.0, .int8_operations = 100.0, .bf16_operations = 50.0, .f32_operations = 20.0};

TEST(Profile, SumsCallsOfTheSameOperatorAndMatrix) {
  Profile profile;
  const OpCost cost{.name = "matmul", .k = 2, .n = 3, .operations = 12.0, .n_bytes = 6.0};

  profile.add(cost, 1.0);
  profile.add(cost, 2.0);
  profile.add({.name = "matmul", .k = 4, .n = 3}, 4.0);

  ASSERT_EQ(profile.lines().size(), 2U);
  EXPECT_EQ(profile.lines()[0].calls, 2);
  EXPECT_EQ(profile.lines()[0].cost.operations, 24.0);
  EXPECT_EQ(profile.seconds(), 7.0);
}

TEST(Profile, ATimerWithoutOneAsksForNoCost) {
  const OpTimer timer(nullptr, []() -> OpCost {
    ADD_FAILURE() << "asked";
    return {};
  });
}

TEST(Ceilings, AnOperatorIsLimitedByTheSlowerOfReadingAndComputing) {
  EXPECT_DOUBLE_EQ(
      kCeilings.seconds({.arithmetic = Arithmetic::kInt8, .operations = 50.0, .n_bytes = 20.0}),
      2.0);
  EXPECT_DOUBLE_EQ(
      kCeilings.seconds({.arithmetic = Arithmetic::kBF16, .operations = 150.0, .n_bytes = 20.0}),
      3.0);
}

TEST(Phase, IsLimitedByAllItReadsOrAllItComputes) {
  Phase phase{.seconds = 10.0};
  phase.profile.add({.name = "a", .arithmetic = Arithmetic::kInt8, .operations = 100.0}, 2.0);
  phase.profile.add({.name = "b", .arithmetic = Arithmetic::kF32, .operations = 40.0}, 3.0);
  phase.profile.add({.name = "c", .n_bytes = 20.0}, 4.0);

  const PhaseLimit limit = limit_of(phase, kCeilings);

  EXPECT_DOUBLE_EQ(limit.memory, 2.0);
  EXPECT_DOUBLE_EQ(limit.compute, 3.0);
  EXPECT_DOUBLE_EQ(limit.seconds(), 3.0);
  EXPECT_DOUBLE_EQ(phase.other_seconds(), 1.0);
}

}  // namespace
}  // namespace spate::bench
