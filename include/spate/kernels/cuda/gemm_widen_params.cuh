// What a launch of the widening product (q8 and q4 weights, many rows) is given, which variant it
// is, how its work is dealt out, and its map of shared memory. The kernel is gemm_widen.cuh.
#pragma once
#include <algorithm>
#include <cstdint>

#include <cuda.h>
#include <cuda_runtime.h>

#include "spate/kernels/cuda/cluster.cuh"
#include "spate/kernels/cuda/gemm_quant_layout.cuh"
#include "spate/kernels/cuda/product_output.h"
#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

// y = x W^T + bias. Device pointers; rows of x and out are 16-byte aligned.
struct WidenGemmParams {
  const void* weights = nullptr;  // gemm_quant_layout.cuh
  std::int64_t n = 0;             // a multiple of 8
  std::int64_t k = 0;             // a multiple of 32
  int rows = 0;
  const void* x = nullptr;  // bf16 [rows, k], values of each group of 32 dealt out (dealt_place)
  std::int64_t x_stride = 0;
  const float* bias = nullptr;  // [n], or null
  void* out = nullptr;
  std::int64_t out_stride = 0;  // elements, a multiple of 8
  ProductOutput output = ProductOutput::kNarrow;
  // The launch may overlap the kernel before it in the stream, whose results it waits for.
  bool dependent_launch = true;
};

inline bool supports_widen_gemm(std::int64_t n, std::int64_t k) {
  return n > 0 && n % kQuantRows == 0 && k > 0 && k % kQuantGroup == 0;
}

// What the kernel gets: the parameters, the map of x, and how the work is dealt out.
struct WidenArguments {
  WidenGemmParams p;
  CUtensorMap map;  // boxes of 64 k x rows of a tile
  int row_tiles;
  int items;   // tiles of W times tiles of x
  int splits;  // of k: blocks of a cluster
};

// kRows: rows of x in a tile, the N of the matrix instruction; W's rows are its M.
template <int kBits_, int kRows_>
struct WidenKernel {
  static constexpr int kBits = kBits_;
  static constexpr int kRows = kRows_;
  using Layout = QuantLayout<kBits>;

  static constexpr int kWarpgroups = 4;  // consumers, 64 rows of W each
  static constexpr int kTile = 64 * kWarpgroups;
  static constexpr int kConsumers = 128 * kWarpgroups;
  static constexpr int kThreads = kConsumers + 128;  // a warp copies weights, another one x
  static constexpr int kConsumerRegisters = 112;
  static constexpr int kOtherRegisters = 24;

  // Weights: a stage is a block of 256 k of all rows of the tile; each warpgroup has its part.
  static constexpr int kPartBytes = 8 * Layout::kBlockBytes;
  static constexpr int kWeightStages = kBits == 8 ? 2 : kRows <= 64 ? 4 : 3;
  static constexpr int kWeightBytes = kWeightStages * kWarpgroups * kPartBytes;
  // x: a stage is a chunk of 128 k, in two boxes of 128 bytes a row.
  static constexpr int kChunk = 128;
  static constexpr int kBlockChunks = kQuantBlock / kChunk;
  static constexpr int kBox = 64;
  static constexpr int kBoxBytes = kRows * kBox * 2;
  static constexpr int kChunkBytes = kBoxBytes * (kChunk / kBox);
  static constexpr int kBudget = 232448 - 1024;
  static constexpr int kMostStages = 8;
  static constexpr int kFitting = (kBudget - kWeightBytes) / kChunkBytes;
  static constexpr int kChunkStages = kFitting < kMostStages ? kFitting : kMostStages;
  static_assert(kChunkStages >= 2);

  static constexpr int kOffsetWeights = kChunkStages * kChunkBytes;
  static constexpr int kOffsetBars = kOffsetWeights + kWeightBytes;
  static constexpr int kBars = 2 * (kChunkStages + kWeightStages * kWarpgroups);
  static constexpr int kSharedBytes = kOffsetBars + 8 * kBars;
  // Sums of a block of a cluster, [kRows][kPitch] f32, lie over the rings. The padding keeps stores
  // off one bank.
  static constexpr int kPitch = kTile + 4;
  static_assert(kRows * kPitch * 4 <= kOffsetBars);
};

template <class C>
struct WidenShared {
  std::uint32_t chunks, weights, chunk_full, chunk_empty, weight_full, weight_empty;
  __device__ __forceinline__ explicit WidenShared(std::uint8_t* smem) {
    chunks = smem_address(smem);
    weights = chunks + C::kOffsetWeights;
    chunk_full = chunks + C::kOffsetBars;
    chunk_empty = chunk_full + 8 * C::kChunkStages;
    weight_full = chunk_empty + 8 * C::kChunkStages;
    weight_empty = weight_full + 8 * C::kWeightStages * C::kWarpgroups;
  }
  __device__ __forceinline__ std::uint32_t part(int stage, int warpgroup) const {
    return weights +
           static_cast<std::uint32_t>((stage * C::kWarpgroups + warpgroup) * C::kPartBytes);
  }
  __device__ __forceinline__ void init() const {
    for (int i = 0; i < C::kChunkStages; ++i) {
      mbar_init(chunk_full + 8 * i, 1);
      mbar_init(chunk_empty + 8 * i, 4 * C::kWarpgroups);
    }
    for (int i = 0; i < C::kWeightStages * C::kWarpgroups; ++i) {
      mbar_init(weight_full + 8 * i, 1);
      mbar_init(weight_empty + 8 * i, 4 * 32);
    }
    mbar_init_fence();
  }
};

// The work of one block, as producers and consumers walk it: items (a tile of W times one of x, the
// latter first, so that a tile of W is read by several blocks at a time), and of each the blocks of
// k that this rank of the cluster adds up. What lies beyond k is zeros, in x as in W.
template <class C>
struct WidenWork {
  int first_item, item_step, rank, first_block, blocks;
  __device__ __forceinline__ explicit WidenWork(const WidenArguments& a) {
    // Not read from the cluster's rank register: the compiler shall see that all threads agree.
    rank = static_cast<int>(blockIdx.x) % a.splits;
    first_item = static_cast<int>(blockIdx.x) / a.splits;
    item_step = static_cast<int>(gridDim.x) / a.splits;
    const int all = static_cast<int>(C::Layout::blocks_per_row(a.p.k));
    first_block = rank * all / a.splits;
    blocks = (rank + 1) * all / a.splits - first_block;
  }
  static __device__ __forceinline__ int column(const WidenArguments& a, int item) {
    return item / a.row_tiles * C::kTile;
  }
  static __device__ __forceinline__ int row(const WidenArguments& a, int item) {
    return item % a.row_tiles * C::kRows;
  }
};

// Into how many parts k is split, each for a block of a cluster: a function of the matrix and the
// GPU alone, so that sums have the same order for every number of rows.
inline int widen_splits(std::int64_t n, std::int64_t k, int sm_count) {
  // How many clusters of s blocks run at once on 132 SMs, which lie in groups that a cluster may
  // not leave (cudaOccupancyMaxActiveClusters on an H200).
  constexpr int kAtOnce[] = {132, 66, 39, 30, 22, 17, 15, 15};
  constexpr std::int64_t kTile = WidenKernel<8, 64>::kTile;
  const std::int64_t tiles = (n + kTile - 1) / kTile, blocks = (k + kQuantBlock - 1) / kQuantBlock;
  int best = 1;
  double best_cost = 0;
  for (int s = 1; s <= 8 && s <= blocks; ++s) {
    const std::int64_t at_once = std::max(1, kAtOnce[s - 1] * sm_count / 132);
    const std::int64_t waves = (tiles + at_once - 1) / at_once;
    // In blocks of k; adding up costs as much as one and a half.
    const double cost = static_cast<double>(waves) *
                        (static_cast<double>((blocks + s - 1) / s) + (s > 1 ? 1.5 : 0));
    if (s == 1 || cost < best_cost) {
      best = s;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace spate::cuda
