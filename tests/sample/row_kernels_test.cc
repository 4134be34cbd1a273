#include "sample/row_kernels.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sample/rows.h"

namespace spate::internal {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::int64_t kSizes[] = {1, 15, 64, 65, 1000, 1024, 1025, 5000, 32000};

// The instruction sets that this machine has beyond the baseline.
std::vector<const RowKernels*> others() {
  std::vector<const RowKernels*> found;
  for (const RowKernels* kernels : {avx2_kernels(), avx512_kernels()}) {
    if (kernels != nullptr) found.push_back(kernels);
  }
  return found;
}

std::vector<float> padded(std::vector<float> row) {
  row.resize(static_cast<std::size_t>(padded_size(static_cast<std::int64_t>(row.size()))), -kInf);
  return row;
}

struct Results {
  std::vector<float> maxima;
  RowScan scan;
  std::vector<float> weights;
  std::vector<double> sums;
  Tail tails[kPivots];
  std::vector<std::int32_t> collected;
  std::vector<float> kept;
  std::vector<double> kept_sums;
};

Results run(const RowKernels& kernels, const std::vector<float>& row) {
  const auto n = static_cast<std::int64_t>(row.size());
  const std::vector<float> keys = padded(row);
  Results r;
  r.maxima.resize(static_cast<std::size_t>(block_count(n)));
  kernels.scan(row.data(), n, r.maxima.data(), &r.scan);
  r.weights.assign(keys.size(), -1.0F);
  r.sums.resize(static_cast<std::size_t>(piece_count(n)));
  kernels.weigh(row.data(), n, r.scan.max, 0.7F, r.weights.data(), r.sums.data());
  const float pivots[kPivots] = {-3, 0, 1, 2.5F};
  kernels.tails(keys.data(), r.weights.data(), n, pivots, r.tails);
  r.collected.resize(keys.size() + 16);
  const std::int64_t count = kernels.collect(row.data(), n, -1, 2, r.collected.data());
  r.collected.resize(static_cast<std::size_t>(count));
  r.kept = r.weights;
  r.kept_sums.resize(r.sums.size());
  kernels.keep(keys.data(), 0.5F, r.kept.data(), n, r.kept_sums.data());
  return r;
}

TEST(RowKernels, GiveTheSameBitsOnEveryInstructionSet) {
  for (const std::int64_t n : kSizes) {
    std::vector<float> row = normal_row(n, 5, 11);
    if (n > 100) row[70] = -kInf;
    const Results expected = run(*baseline_kernels(), row);

    for (const RowKernels* kernels : others()) {
      const Results actual = run(*kernels, row);

      EXPECT_EQ(actual.maxima, expected.maxima) << kernels->name << " n=" << n;
      EXPECT_EQ(actual.scan.max, expected.scan.max);
      EXPECT_EQ(actual.weights, expected.weights) << kernels->name << " n=" << n;
      EXPECT_EQ(actual.sums, expected.sums) << kernels->name << " n=" << n;
      for (std::size_t p = 0; p < kPivots; ++p) {
        EXPECT_EQ(actual.tails[p].mass, expected.tails[p].mass) << kernels->name << " n=" << n;
        EXPECT_EQ(actual.tails[p].count, expected.tails[p].count) << kernels->name << " n=" << n;
      }
      EXPECT_EQ(actual.collected, expected.collected) << kernels->name << " n=" << n;
      EXPECT_EQ(actual.kept, expected.kept) << kernels->name << " n=" << n;
      EXPECT_EQ(actual.kept_sums, expected.kept_sums) << kernels->name << " n=" << n;
    }
  }
}

TEST(RowKernels, CountAndCollectWhatTheySay) {
  for (const std::int64_t n : kSizes) {
    const std::vector<float> row = normal_row(n, 5, 12);
    const Results r = run(row_kernels(), row);
    std::int64_t above_one = 0;
    double mass = 0;
    std::vector<std::int32_t> inside;

    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i] > 1) ++above_one;
      if (row[i] > 1) mass += double{r.weights[i]};
      if (row[i] > -1 && row[i] <= 2) inside.push_back(static_cast<std::int32_t>(i));
    }

    EXPECT_EQ(r.tails[2].count, above_one);
    EXPECT_NEAR(r.tails[2].mass, mass, mass * 0x1p-20);
    EXPECT_EQ(r.collected, inside);
  }
}

TEST(RowKernels, ScanFindsNanAnywhere) {
  for (const std::int64_t n : kSizes) {
    for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
      std::vector<float> row = normal_row(n, 1, 13);
      row[static_cast<std::size_t>(at)] = NAN;

      EXPECT_TRUE(run(row_kernels(), row).scan.has_nan) << n << " " << at;
    }
    EXPECT_FALSE(run(row_kernels(), normal_row(n, 1, 13)).scan.has_nan);
  }
}

// Relative error: reduction and polynomial round about six times near 1 at half an ulp each of
// 2^-24 .. 2^-23; the bound 2^-22 is what the callers rely on.
TEST(RowKernels, WeighIsTheExponentialFunction) {
  std::vector<float> row;
  for (float y = 0; y > -87.0F; y -= 1.7e-3F) row.push_back(y);
  std::vector<float> weights(
      static_cast<std::size_t>(padded_size(static_cast<std::int64_t>(row.size()))));
  std::vector<double> sums(weights.size() / kPiece);

  row_kernels().weigh(row.data(), static_cast<std::int64_t>(row.size()), 0, 1, weights.data(),
                      sums.data());

  for (std::size_t i = 0; i < row.size(); ++i) {
    const double exact = std::exp(double{row[i]});
    ASSERT_NEAR(weights[i], exact, exact * 0x1p-22) << row[i];
  }
  EXPECT_EQ(weights[0], 1.0F);
}

TEST(RowKernels, WeighGivesZeroWhereTheFloatsEnd) {
  const std::vector<float> row{0, -87.5F, -1000, -3e38F, -kInf};
  std::vector<float> weights(kPiece, 5);
  double sum = 0;

  row_kernels().weigh(row.data(), 5, 0, 1e5F, weights.data(), &sum);

  EXPECT_EQ(weights[0], 1.0F);
  for (std::size_t i = 1; i < weights.size(); ++i) EXPECT_EQ(weights[i], 0.0F) << i;
  EXPECT_EQ(sum, 1.0);
}

}  // namespace
}  // namespace spate::internal
