// How the chain product's tiles are dealt out, on the host.
#include <vector>

#include <gtest/gtest.h>

#include "spate/kernels/cuda/gemm_chain_tiles_params.cuh"

namespace spate::cuda_test {
namespace {

using cuda::ProductOutput;

template <int kWidth>
void expect_every_value_once(int rows, std::int64_t n, ProductOutput output) {
  using C = cuda::TileKernel<__nv_bfloat16, kWidth>;
  cuda::TileArguments a{};
  a.p.rows = rows;
  a.p.n = n;
  a.p.output = output;
  const bool gated = output == ProductOutput::kGated;
  const int columns = static_cast<int>(gated ? n / 2 : n), width = gated ? kWidth / 2 : kWidth;
  a.row_tiles = (rows + C::kRows - 1) / C::kRows;
  a.column_tiles = (columns + width - 1) / width;
  const cuda::TileWork<C> work{a};
  std::vector<int> times(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  for (int i = 0; i < work.count(); ++i) {
    const cuda::ResultTile t = work.at(i);
    ASSERT_GE(t.row, t.first_row);
    ASSERT_LE(t.row_end, t.first_row + C::kRows);
    ASSERT_GE(t.column, t.first_column);
    ASSERT_LE(t.column_end, t.first_column + width);
    ASSERT_TRUE(rows < C::kRows || t.first_row + C::kRows <= rows) << "rows beyond the end";
    ASSERT_TRUE(columns < width || t.first_column + width <= columns) << "columns beyond the end";
    ASSERT_EQ(work.half(t, 0), t.first_column);
    ASSERT_EQ(work.half(t, 1), t.first_column + (gated ? columns : kWidth / 2));
    for (int r = t.row; r < t.row_end; ++r) {
      for (int c = t.column; c < t.column_end; ++c) {
        ++times[static_cast<std::size_t>(r) * static_cast<std::size_t>(columns) +
                static_cast<std::size_t>(c)];
      }
    }
  }
  for (const int n_times : times) ASSERT_EQ(n_times, 1);
}

TEST(HostChainTiles, CoverEveryValueOnce) {
  for (const int rows : {1, 65, 128, 129, 300, 2049, 5000}) {
    for (const std::int64_t n : {16, 272, 1000, 1232}) {
      expect_every_value_once<128>(rows, n, ProductOutput::kNarrow);
      expect_every_value_once<256>(rows, n, ProductOutput::kNarrow);
      if (n % 16 != 0) continue;
      expect_every_value_once<160>(rows, n, ProductOutput::kGated);
      expect_every_value_once<224>(rows, n, ProductOutput::kGated);
    }
  }
}

TEST(HostChainTiles, WidthsFillTheMultiprocessors) {
  cuda::ChainGemmParams p;
  p.n = 28672;
  p.k = 4096;
  p.rows = 256;  // 256 tiles of 224, 224 of 256
  EXPECT_EQ(cuda::good_tile_width(p, 132), 224);
  p.rows = 16384;
  EXPECT_EQ(cuda::good_tile_width(p, 132), 256);
}

}  // namespace
}  // namespace spate::cuda_test
