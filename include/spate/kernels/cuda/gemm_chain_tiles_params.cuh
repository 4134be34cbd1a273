// The chain product in tiles (any number of rows, made for 65 and more): its tiles, how they are
// dealt out, and its map of shared memory. What a launch is given is ChainGemmParams; the kernel is
// gemm_chain_tiles.cuh.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_params.cuh"

namespace spate::cuda {

struct TileArguments {
  ChainGemmParams p;
  CUtensorMap weights, rows;  // 64 k x rows x chunks of k
  int row_tiles, column_tiles;
  int chunks;    // of 64 k
  int box_rows;  // of x in a copy
};

// kWidth: rows of W in a tile, the instruction's N; of gates and ups half each.
template <class T_, int kWidth_>
struct TileKernel {
  using T = T_;
  static constexpr int kWidth = kWidth_;

  static constexpr int kWarpgroups = 2;  // consumers, 64 rows of x each
  static constexpr int kRows = 64 * kWarpgroups;
  static constexpr int kThreads = 128 * (kWarpgroups + 1);
  static constexpr int kConsumerRegisters = 232, kProducerRegisters = 40;
  static constexpr int kRowBytes = kRows * 128;
  static constexpr int kHalfBytes = kWidth / 2 * 128;  // half of the rows of W in a stage
  static constexpr int kStageBytes = kRowBytes + 2 * kHalfBytes;
  static constexpr int kBarBytes = 1024;
  // Of each warp: 16 rows x 64 columns of a narrow result, and 8 columns so that no two rows start
  // in the same bank.
  static constexpr int kOutPitch = 144;
  static constexpr int kOutBytes = 16 * kOutPitch;
  static constexpr int kFit = (232448 - kBarBytes - 4 * kWarpgroups * kOutBytes) / kStageBytes;
  static constexpr int kStages = kFit < 8 ? kFit : 8;
  static constexpr int kSharedBytes =
      kBarBytes + kStages * kStageBytes + 4 * kWarpgroups * kOutBytes;
  static_assert(kStages >= 4 && kHalfBytes % 1024 == 0);
  static constexpr int kGroup = 16;  // row tiles whose x stays in L2 while columns pass
};

template <class C>
struct TileShared {
  std::uint32_t full, empty, stages, out;
  __device__ __forceinline__ explicit TileShared(const std::uint8_t* smem) {
    full = smem_address(smem);
    empty = full + 8 * C::kStages;
    stages = full + C::kBarBytes;
    out = stages + C::kStages * C::kStageBytes;
  }
  __device__ __forceinline__ void init() const {
    for (int i = 0; i < C::kStages; ++i) {
      mbar_init(full + 8 * i, 1);
      mbar_init(empty + 8 * i, 4 * C::kWarpgroups);
    }
    mbar_init_fence();
  }
  __device__ __forceinline__ std::uint32_t rows(int stage) const {
    return stages + static_cast<std::uint32_t>(stage * C::kStageBytes);
  }
  __device__ __forceinline__ std::uint32_t weights(int stage) const {
    return rows(stage) + C::kRowBytes;
  }
};

// A tile of the result: rows [row, row_end), columns [column, column_end). The last ones are moved
// up so as not to reach beyond the end, where there is room: computed are kRows from `first_row`
// and a tile's columns from `first_column`.
struct ResultTile {
  int row, row_end, first_row;
  int column, column_end, first_column;
};

// Tiles are dealt to blocks in turn: rows first within a group of row tiles, so that blocks at work
// at the same time read the same weights and few rows.
template <class C>
struct TileWork {
  const TileArguments& a;
  __host__ __device__ __forceinline__ int count() const { return a.row_tiles * a.column_tiles; }
  __host__ __device__ __forceinline__ bool gated() const {
    return a.p.output == ProductOutput::kGated;
  }
  __host__ __device__ __forceinline__ ResultTile at(int i) const {
    const int group = i / (C::kGroup * a.column_tiles), in = i - group * C::kGroup * a.column_tiles;
    const int in_group = min(C::kGroup, a.row_tiles - group * C::kGroup);
    const int columns = static_cast<int>(gated() ? a.p.n / 2 : a.p.n);
    const int width = gated() ? C::kWidth / 2 : C::kWidth;
    ResultTile t;
    t.row = (group * C::kGroup + in % in_group) * C::kRows;
    t.row_end = min(t.row + C::kRows, a.p.rows);
    t.first_row = max(0, min(t.row, a.p.rows - C::kRows));
    t.column = in / in_group * width;
    t.column_end = min(t.column + width, columns);
    t.first_column = max(0, min(t.column, columns - width));
    return t;
  }
  // First row of W of either half of a tile's operand.
  __host__ __device__ __forceinline__ int half(const ResultTile& t, int which) const {
    const int apart = gated() ? static_cast<int>(a.p.n / 2) : C::kWidth / 2;
    return t.first_column + which * apart;
  }
};

// The width with which all tiles are done first. In cycles of a multiprocessor: a tile's products,
// or its copies at 57 bytes a cycle, and what comes before and after them.
inline int good_tile_width(const ChainGemmParams& p, int sm_count) {
  int best = 0;
  std::int64_t least = 0;
  for (const int width : {256, 224, 192, 160, 128}) {
    const std::int64_t tiles = ((p.rows + 127) / 128) * ((p.n + width - 1) / width);
    const std::int64_t chunk = std::max(4 * width, (128 + width) * 128 / 57);
    const std::int64_t cost =
        (tiles + sm_count - 1) / sm_count * (p.k / kChainChunk * chunk + 4000);
    if (best == 0 || cost < least) best = width, least = cost;
  }
  return best;
}

}  // namespace spate::cuda
