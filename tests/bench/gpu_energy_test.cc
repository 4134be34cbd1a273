#include "bench/gpu_energy.h"

#include <gtest/gtest.h>

namespace spate::bench {
namespace {

TEST(GpuEnergy, ReadsTheCounterOfTheDeviceOnTheBus) {
  const auto energy = GpuEnergy::open("0000:3B:00.0", SPATE_FAKE_NVML);
  ASSERT_TRUE(energy.has_value());
  const double before = energy->joules();
  EXPECT_DOUBLE_EQ(energy->joules() - before, 0.25);
}

TEST(GpuEnergy, IsNothingWithoutTheDeviceOrTheLibrary) {
  EXPECT_FALSE(GpuEnergy::open("0000:5E:00.0", SPATE_FAKE_NVML).has_value());
  EXPECT_FALSE(GpuEnergy::open("0000:3B:00.0", "libno-such-driver.so.1").has_value());
}

TEST(GpuEnergy, IsNothingWithALibraryThatLacksTheCounter) {
  EXPECT_FALSE(GpuEnergy::open("0000:3B:00.0", "libm.so.6").has_value());
}

}  // namespace
}  // namespace spate::bench
