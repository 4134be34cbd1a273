// Marks on a GPU's stream, made into the times of operators: the part that needs no GPU.
#include "device/gpu_timeline.h"

#include <gtest/gtest.h>

namespace spate {
namespace {

TEST(GpuTimeline, AnOperatorHasTheTimeOfItsOwnMarksAndNotOfThoseInsideIt) {
  const std::vector<OpCost> calls{{.name = "outer"}, {.name = "inner"}, {.name = "outer"}};
  constexpr std::int32_t kBetween = GpuMark::kBetween;
  const std::vector<GpuMark> marks{{kBetween}, {0}, {1}, {0}, {kBetween}, {2}, {kBetween}};
  const std::vector<double> seconds{1.0, 2.0, 4.0, 8.0, 16.0, 32.0};
  Profile profile;

  add_calls(calls, marks, seconds, profile);

  ASSERT_EQ(profile.lines().size(), 2U);
  EXPECT_EQ(profile.lines()[0].seconds, 2.0 + 8.0 + 32.0);
  EXPECT_EQ(profile.lines()[0].calls, 2);
  EXPECT_EQ(profile.lines()[1].seconds, 4.0);
  EXPECT_EQ(profile.between_seconds(), 1.0 + 16.0);
}

TEST(Profile, CallsOfOtherNumbersOfRowsAreSummedApart) {
  Profile profile;
  profile.add({.name = "matmul", .k = 2, .n = 3, .rows = 16}, 1.0);
  profile.add({.name = "matmul", .k = 2, .n = 3, .rows = 32}, 2.0);
  profile.add({.name = "matmul", .k = 2, .n = 3, .rows = 16}, 4.0);

  ASSERT_EQ(profile.lines().size(), 2U);
  EXPECT_EQ(profile.lines()[0].seconds, 5.0);
}

}  // namespace
}  // namespace spate
