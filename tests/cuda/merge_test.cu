// Merging of attention states.
#include "spate/kernels/cuda/merge.cuh"
#include "tests/cuda/attention_problem.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {
namespace {

using T = __nv_bfloat16;
constexpr std::size_t kRows = 100, kDim = 128;
constexpr float kEmpty = -std::numeric_limits<float>::infinity();

struct States {
  std::vector<T> out;
  std::vector<float> lse;
};

States random_states(std::size_t n) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  States s;
  for (std::size_t i = 0; i < n * kRows * kDim; ++i)
    s.out.push_back(__float2bfloat16(normal(random)));
  for (std::size_t i = 0; i < n * kRows; ++i)
    s.lse.push_back(i % 5 == 2 ? kEmpty : 3 * normal(random));
  for (std::size_t i = 0; i < n; ++i) s.lse[i * kRows] = kEmpty;  // row 0 saw no key at all
  return s;
}

States merge(const States& s, std::size_t n) {
  const DeviceArray<T> states(s.out), out(kRows * kDim);
  const DeviceArray<float> lse(s.lse), out_lse(kRows);
  require(cuda::launch_merge<T>(
      {states.data(), lse.data(), kRows, kDim, static_cast<int>(n), out.data(), out_lse.data()},
      nullptr));
  return {out.get(), out_lse.get()};
}

TEST(Merge, WeighsStatesByTheirSums) {
  for (const std::size_t n : {1u, 2u, 7u}) {
    const States s = random_states(n);
    const auto [got, got_lse] = merge(s, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i)
        sum += std::exp(static_cast<double>(s.lse[i * kRows + r]));
      if (sum == 0) {
        EXPECT_EQ(got_lse[r], kEmpty);
      } else {
        EXPECT_NEAR(got_lse[r], std::log(sum), 1e-5);
      }
      for (std::size_t d = 0; d < kDim; ++d) {
        double want = 0, magnitude = 0;
        for (std::size_t i = 0; i < n && sum > 0; ++i) {
          const double x = std::exp(static_cast<double>(s.lse[i * kRows + r])) / sum *
                           static_cast<double>(to_float(s.out[(i * kRows + r) * kDim + d]));
          want += x;
          magnitude += std::abs(x);
        }
        ASSERT_NEAR(to_float(got[r * kDim + d]), want,
                    kRoundoff<T> * std::abs(want) + 1e-5 * magnitude);
      }
    }
  }
}

// In a state's output, or in its sum; what stands in empty states counts for nothing.
TEST(Merge, KeepsNanInItsRow) {
  constexpr std::size_t kStates = 3, kOut = 50, kLse = 70;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const States clean = random_states(kStates);
  States dirty = clean;
  for (std::size_t d = 0; d < kDim; ++d) dirty.out[(kRows + kOut) * kDim + d] = to_element<T>(nan);
  dirty.lse[kRows + kOut] = 0.5f;
  dirty.lse[kRows + kLse] = nan;
  for (std::size_t d = 0; d < kDim; ++d) dirty.out[d] = to_element<T>(nan);  // row 0 is empty

  const States want = merge(clean, kStates), got = merge(dirty, kStates);

  for (std::size_t r = 0; r < kRows; ++r) {
    const bool reached = r == kOut || r == kLse;
    EXPECT_EQ(std::isnan(got.lse[r]), r == kLse) << r;
    for (std::size_t d = 0; d < kDim; ++d) {
      const float x = to_float(got.out[r * kDim + d]);
      if (reached)
        ASSERT_TRUE(std::isnan(x)) << r;
      else
        ASSERT_EQ(x, to_float(want.out[r * kDim + d])) << r;
    }
  }
}

}  // namespace
}  // namespace spate::cuda_test
