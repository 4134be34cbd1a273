// What a launch of the chain product is given; of its kernel for up to 16 rows, how the work is
// dealt out and its map of shared memory. The kernel is gemm_chain.cuh.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "spate/kernels/cuda/activation_function.cuh"
#include "spate/kernels/cuda/product_output.h"
#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

inline constexpr int kNarrowChainRows = 16;  // more of them are gemm_chain_wide.cuh's
inline constexpr int kWideChainRows = 64;    // more of them are gemm_chain_tiles.cuh's
inline constexpr int kChainChunk = 64;       // k in 128 bytes: a row of a swizzled tile

// y = x W^T + bias. Device pointers; rows of x and W are 16-byte aligned, of more than
// kWideChainRows rows those of out, too.
struct ChainGemmParams {
  const void* weights = nullptr;  // [n, k] bf16 or f16
  std::int64_t n = 0;             // a multiple of 8 (of 16, if gated)
  std::int64_t k = 0;             // a multiple of 64
  int rows = 0;                   // more than kWideChainRows: kNarrow and kGated alone
  const void* x = nullptr;        // [rows, k], of the type of W
  std::int64_t x_stride = 0;      // elements
  const float* bias = nullptr;    // [n], or null
  void* out = nullptr;
  std::int64_t out_stride = 0;  // elements
  ProductOutput output = ProductOutput::kNarrow;
  RowActivation activation = RowActivation::kSilu;
  // Of up to 16 rows: KB of weights, per block, as far as there is room; 0: a good number.
  int copies_in_flight = 0;
  // Of tiles: rows of W in each, 128, 160, 192, 224 or 256; 0: a good number. Not 0: tiles for any
  // number of rows.
  int tile_width = 0;
  // The launch may overlap the kernel before it in the stream, whose results it waits for.
  bool dependent_launch = true;
};

// Whether launch_chain_gemm takes a matrix of this shape.
inline bool supports_chain_gemm(std::int64_t n, std::int64_t k, bool gated) {
  return n > 0 && n % (gated ? 16 : 8) == 0 && k > 0 && k % kChainChunk == 0;
}

// What the kernel gets: the parameters, the maps of W and x, and how the work is dealt out.
struct ChainArguments {
  ChainGemmParams p;
  CUtensorMap weights, rows;  // 64 k x rows x chunks of k
  int tiles;                  // of kOctets octets of rows of W
  int slabs;                  // of k
};

// kTokens: rows of x in the tile, 8 or 16. kOctets: octets of rows of W in a tile; two where they
// are gates and ups.
template <class T_, int kTokens_, int kOctets_>
struct ChainKernel {
  using T = T_;
  static constexpr int kTokens = kTokens_;
  static constexpr int kOctets = kOctets_;

  static constexpr int kWarps = 8;                    // consumers, a tile each
  static constexpr int kThreads = 32 * (kWarps + 2);  // a warp copies weights, another one x
  static constexpr int kChunks = 8;
  static constexpr int kSlab = kChunks * kChainChunk;  // k of a stage
  static constexpr int kOctetBytes = 8 * kSlab * 2;
  static constexpr int kStageBytes = kOctets * kOctetBytes;
  static constexpr int kRowStages = kTokens == 8 ? 4 : 3;
  static constexpr int kRowChunkBytes = kTokens * kChainChunk * 2;
  static constexpr int kRowBytes = kChunks * kRowChunkBytes;
  static constexpr int kBudget = 232448;
  static constexpr int kBarBytes = 1024;
  static constexpr int kStages = (kBudget - kBarBytes - kRowStages * kRowBytes) / kStageBytes;
  // Copies may end out of order. A warp that waits for a stage has seen its last one, which was
  // issued a group's stages before; and what lay in the stage's slot until then must have come by
  // that time, or its barrier is a phase behind and a wait for it returns at once. So copies in
  // flight and tiles of a group are together no more than there are stages.
  static constexpr int kLeastCopies = 4;
  static constexpr int kMostTiles =
      kWarps < kStages - kLeastCopies ? kWarps : kStages - kLeastCopies;
  static constexpr int kSharedBytes = kBarBytes + kRowStages * kRowBytes + kStages * kStageBytes;
  static_assert(8 * 2 * (kStages + kRowStages) <= kBarBytes);
};

template <class C>
struct ChainShared {
  std::uint32_t weight_full, weight_empty, row_full, row_empty, rows, weights;
  __device__ __forceinline__ explicit ChainShared(const std::uint8_t* smem) {
    weight_full = smem_address(smem);
    weight_empty = weight_full + 8 * C::kStages;
    row_full = weight_empty + 8 * C::kStages;
    row_empty = row_full + 8 * C::kRowStages;
    rows = smem_address(smem) + C::kBarBytes;
    weights = rows + C::kRowStages * C::kRowBytes;
  }
  __device__ __forceinline__ void init() const {
    for (int i = 0; i < C::kStages; ++i) {
      mbar_init(weight_full + 8 * i, 1);
      mbar_init(weight_empty + 8 * i, 1);
    }
    for (int i = 0; i < C::kRowStages; ++i) {
      mbar_init(row_full + 8 * i, 1);
      mbar_init(row_empty + 8 * i, C::kWarps);
    }
    mbar_init_fence();
  }
};

// The work of one block, in the order that all its warps walk it: groups of its tiles, slabs of k,
// tiles of the group, one for each consumer.
template <class C>
struct ChainWork {
  int tiles, group;
  __device__ __forceinline__ explicit ChainWork(const ChainArguments& a) {
    const int first = static_cast<int>(blockIdx.x), grid = static_cast<int>(gridDim.x);
    tiles = first < a.tiles ? (a.tiles - 1 - first) / grid + 1 : 0;
    const int groups = (tiles + C::kMostTiles - 1) / C::kMostTiles;
    group = groups == 0 ? 1 : (tiles + groups - 1) / groups;
  }
  static __device__ __forceinline__ int tile(int i) {
    return static_cast<int>(blockIdx.x) + i * static_cast<int>(gridDim.x);
  }
  // First row of W of a tile's octet.
  static __device__ __forceinline__ int row(const ChainArguments& a, int tile, int octet) {
    if (a.p.output == ProductOutput::kGated) return tile * 8 + octet * static_cast<int>(a.p.n / 2);
    return (tile * C::kOctets + octet) * 8;
  }
};

}  // namespace spate::cuda
