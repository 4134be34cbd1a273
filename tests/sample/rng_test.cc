#include "sample/rng.h"

#include <gtest/gtest.h>

namespace spate {
namespace {

using Block = std::array<std::uint32_t, 4>;

// The known answers of Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, StaysBelowOneAndFillsTheInterval) {
  constexpr std::int64_t kDraws = 100000;
  double sum = 0;
  double least = 1;
  double most = 0;

  for (std::int64_t i = 0; i < kDraws; ++i) {
    const double u = uniform({7, 0}, i, RandomStream::kDraw);
    sum += u;
    least = std::min(least, u);
    most = std::max(most, u);
  }

  // The mean's deviation is 1 / sqrt(12 n) = 0.0009; five of them. An end's gap is over 2e-4 with
  // a probability of exp(-20).
  EXPECT_NEAR(sum / kDraws, 0.5, 0.0046);
  EXPECT_GE(least, 0.0);
  EXPECT_LT(least, 2e-4);
  EXPECT_LT(most, 1.0);
  EXPECT_GT(most, 1 - 2e-4);
}

TEST(Uniform, DependsOnEveryPartOfItsKey) {
  const double u = uniform({1, 2}, 3, RandomStream::kDraw);

  EXPECT_EQ(u, uniform({1, 2}, 3, RandomStream::kDraw));
  EXPECT_NE(u, uniform({2, 2}, 3, RandomStream::kDraw));
  EXPECT_NE(u, uniform({1 + (std::uint64_t{1} << 40), 2}, 3, RandomStream::kDraw));
  EXPECT_NE(u, uniform({1, 3}, 3, RandomStream::kDraw));
  EXPECT_NE(u, uniform({1, 2}, 4, RandomStream::kDraw));
  EXPECT_NE(u, uniform({1, 2}, 3 + (std::int64_t{1} << 32), RandomStream::kDraw));
  EXPECT_NE(u, uniform({1, 2}, 3, RandomStream::kAccept));
}

TEST(RequestSeed, DiffersFromRequestToRequest) {
  EXPECT_EQ(request_seed(1, 2), request_seed(1, 2));
  EXPECT_NE(request_seed(1, 2), request_seed(1, 3));
  EXPECT_NE(request_seed(1, 2), request_seed(2, 2));
}

}  // namespace
}  // namespace spate
