// What the GPU's operators have to do, counted one by one.
#include <algorithm>

#include <gtest/gtest.h>

#include "ops/cuda/op_costs.h"

namespace spate::ops::cuda {
namespace {

TEST(GpuOpCosts, AttentionCountsThePairsThatAWindowLeaves) {
  const std::vector<SequenceRows> sequences{{.n_rows = 7, .first_position = 0},
                                            {.n_rows = 1, .first_position = 40},
                                            {.n_rows = 9, .first_position = 5},
                                            {.n_rows = 4, .first_position = 30}};
  const KvLayer layer{.head_bytes = 128 * 64, .kv_heads = 2, .head_dim = 16};
  for (const std::int64_t window : {1, 4, 10, 1000}) {
    std::int64_t pairs = 0;
    std::int64_t keys = 0;
    for (const SequenceRows& s : sequences) {
      std::int64_t first = s.first_position;
      for (std::int64_t row = 0; row < s.n_rows; ++row) {
        const std::int64_t position = s.first_position + row;
        const std::int64_t begin = std::max<std::int64_t>(0, position + 1 - window);
        first = std::min(first, begin);
        pairs += position + 1 - begin;
      }
      keys += s.first_position + s.n_rows - first;
    }

    const OpCost cost = attention_cost(sequences, layer, 6, window);

    EXPECT_EQ(cost.operations, 4.0 * static_cast<double>(pairs * 6 * 16)) << window;
    EXPECT_EQ(cost.n_bytes, static_cast<double>(keys * 2 * 64)) << window;
  }
}

TEST(GpuOpCosts, NumbersOfRowsFallIntoOctaves) {
  EXPECT_EQ(rows_class(1), 1);
  EXPECT_EQ(rows_class(17), 32);
  EXPECT_EQ(rows_class(32), 32);
  EXPECT_EQ(rows_class(1000), 1024);
}

}  // namespace
}  // namespace spate::ops::cuda
