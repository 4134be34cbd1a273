#include "bench/statistics.h"

#include <gtest/gtest.h>

namespace spate::bench {
namespace {

TEST(Statistics, PercentilesLieBetweenNeighbours) {
  const std::vector<double> values{4.0, 1.0, 3.0, 2.0};

  EXPECT_DOUBLE_EQ(percentile(values, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(percentile(values, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(percentile(values, 1.0), 4.0);
}

TEST(Statistics, NothingMeasuredIsZero) { EXPECT_EQ(percentile({}, 0.9), 0.0); }

TEST(Statistics, ASummaryNamesTheExtremes) {
  const Summary s = summarize({5.0, 9.0, 7.0});

  EXPECT_EQ(s.median, 7.0);
  EXPECT_EQ(s.min, 5.0);
  EXPECT_EQ(s.max, 9.0);
}

}  // namespace
}  // namespace spate::bench
