#include <gtest/gtest.h>

#include "device/arena.h"
#include "device/buffer.h"
#include "device/device.h"

namespace spate {
namespace {

TEST(Buffer, IsAlignedToHugePagesAndZero) {
  const Buffer buffer = Buffer::reserve_host((std::int64_t{5} << 20) + 3).value();

  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % (std::uintptr_t{2} << 20), 0U);
  EXPECT_EQ(buffer.n_bytes(), (std::int64_t{5} << 20) + 3);
  EXPECT_EQ(buffer.data()[0], std::byte{0});
  EXPECT_EQ(buffer.data()[buffer.n_bytes() - 1], std::byte{0});
}

TEST(Buffer, RefusesWhatTheSystemCannotGive) {
  const auto buffer = Buffer::reserve_host(std::int64_t{1} << 60);

  ASSERT_FALSE(buffer);
  EXPECT_EQ(buffer.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(buffer.error().message.find("1152921504606846976"), std::string::npos);
}

TEST(Buffer, OfNothingIsEmpty) { EXPECT_EQ(Buffer::reserve_host(0).value().data(), nullptr); }

TEST(Arena, GivesTheSameAddressesForTheSameShapes) {
  Arena arena(Buffer::reserve_host(1 << 20).value());
  const Tensor a = arena.allocate(DType::kF32, {3, 5});
  const Tensor b = arena.allocate(DType::kBF16, {7});
  arena.reset();

  EXPECT_EQ(arena.allocate(DType::kF32, {3, 5}).data(), a.data());
  EXPECT_EQ(arena.allocate(DType::kBF16, {7}).data(), b.data());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data()) % 64, 0U);
}

TEST(Arena, RemembersItsPeak) {
  Arena arena(Buffer::reserve_host(1 << 20).value());
  arena.allocate_bytes(1000);
  arena.reset();
  arena.allocate_bytes(10);

  EXPECT_EQ(arena.peak(), 1024);
}

TEST(ArenaDeathTest, AbortsBeyondItsBuffer) {
  Arena arena(Buffer::reserve_host(4096).value());

  EXPECT_DEATH(arena.allocate_bytes(4097), "check failed");
}

TEST(Device, RunsOnTheIsaThatWasAskedFor) {
  const auto device = Device::cpu({.threads = {.threads = 2}, .isa = CpuIsa::kGeneric});

  EXPECT_EQ(device->isa(), CpuIsa::kGeneric);
  EXPECT_EQ(device->pool().size(), 2);
  EXPECT_FALSE(device->is_cuda());
}

}  // namespace
}  // namespace spate
