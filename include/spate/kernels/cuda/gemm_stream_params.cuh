// What a launch of the streaming product (few rows) is given, which variant it is, and its map
// of shared memory. The kernel is gemm_stream.cuh.
#pragma once
#include <cstdint>
#include <type_traits>

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "spate/kernels/cuda/activation_function.cuh"
#include "spate/kernels/cuda/gemm_quant_layout.cuh"
#include "spate/kernels/cuda/product_output.h"
#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

enum class StreamFormat : std::uint8_t { kBF16, kF16, kFp8, kQ8, kQ4 };

// Whether weights are rows of 16-bit numbers, as the matrix instruction takes them.
constexpr bool has_plain_weights(StreamFormat f) {
  return f == StreamFormat::kBF16 || f == StreamFormat::kF16;
}

// Of more rows the chain product (gemm_chain.cuh) is faster, or, with q8 and q4, the widening one
// (gemm_widen.cuh).
constexpr int stream_max_rows(StreamFormat f) { return f == StreamFormat::kFp8 ? 16 : 8; }

// y = x W^T + bias. Device pointers. Rows are f16 with weights in f16, bf16 with all others; those
// of x and out are 16-byte aligned, out's stride (in elements) is a multiple of 8;
// supports_stream_gemm says which n and k.
struct StreamGemmParams {
  const void* weights = nullptr;         // [n, k]; kQ8, kQ4: gemm_quant_layout.cuh
  const float* weight_scales = nullptr;  // kFp8: [n]
  std::int64_t n = 0;
  std::int64_t k = 0;
  int rows = 0;             // up to stream_max_rows
  const void* x = nullptr;  // [rows, k]; with norm_weight f32
  std::int64_t x_stride = 0;
  const std::int32_t* row_index = nullptr;  // x row of each row, or null: 0, 1, 2 ...
  // [k]: RMSNorm of x (Zhang and Sennrich 2019), or null. Not with kF16: products with x times the
  // weight are divided by the root of the mean square in the end, and f16 has no range for that.
  const float* norm_weight = nullptr;
  float norm_eps = 0;
  const float* bias = nullptr;  // [n], or null
  void* out = nullptr;
  std::int64_t out_stride = 0;
  ProductOutput output = ProductOutput::kNarrow;
  RowActivation activation = RowActivation::kSilu;
  int copies_in_flight = 3;  // stages of weights, per block
  // The launch may overlap the kernel before it in the stream, whose results it waits for.
  bool dependent_launch = true;
};

// Whether launch_stream_gemm takes a matrix of this shape (`gated`: with output kGated).
inline bool supports_stream_gemm(StreamFormat format, std::int64_t n, std::int64_t k, bool gated) {
  const std::int64_t rows = gated || !has_plain_weights(format) ? 16 : 8;
  return k >= 64 && k <= 32768 && k % 64 == 0 && n > 0 && n % rows == 0;
}

// What the kernel gets: the parameters, the map of the weights, and how the work is dealt out.
struct StreamArguments {
  StreamGemmParams p;
  CUtensorMap map;  // plain weights and kFp8: 128 bytes of k x rows x chunks of k
  int tiles;        // of 8 or 16 rows of W
};

// kOctets: octets of rows of W in a tile. kWide: more than 8 rows of x. kSlice: k whose activations
// are kept in registers at a time.
template <StreamFormat kFormat_, int kOctets_, bool kWide_, int kSlice_ = 4096>
struct StreamKernel {
  static constexpr StreamFormat kFormat = kFormat_;
  static constexpr int kOctets = kOctets_;
  static constexpr bool kWide = kWide_;
  using T = std::conditional_t<kFormat == StreamFormat::kF16, __half, __nv_bfloat16>;  // of rows
  static constexpr bool kNorms = kFormat != StreamFormat::kF16;
  static constexpr int kBits = has_plain_weights(kFormat)     ? 16
                               : kFormat == StreamFormat::kQ4 ? 4
                                                              : 8;
  static constexpr bool kPacked = kFormat == StreamFormat::kQ8 || kFormat == StreamFormat::kQ4;

  static constexpr int kWarps = 8;      // consumers; each takes an eighth of a stage's k
  static constexpr int kEpilogues = 3;  // warps, and buffers of partial sums: one each
  static constexpr int kThreads = 32 * (1 + kEpilogues + kWarps);
  static constexpr int kTokens = kWide ? 16 : 8;
  static constexpr int kSlice = kSlice_;
  // One block an SM: two smaller ones, the next launch's filling its ring while this one drains,
  // were faster alone but came to lie two on one SM and none on another.
  static constexpr int kConsumerRegisters = 216;
  static constexpr int kOtherRegisters = 72;

  static constexpr int kGroup = 32;  // k that one 16-byte row load covers
  static constexpr int kShare = 16384 / (kBits * kOctets * kWarps);  // k of a warp in a stage
  static constexpr int kShareGroups = kShare / kGroup;
  static constexpr int kStageK = kShare * kWarps;
  static constexpr int kSliceStages = kStageK < kSlice ? kSlice / kStageK : 1;
  static constexpr int kSliceGroups = kSliceStages * kShareGroups;  // of a warp

  static constexpr int kStageBlocks = kStageK / kQuantBlock;  // packed formats, per octet
  static constexpr int kBlockBytes = QuantLayout < kBits == 4 ? 4 : 8 > ::kBlockBytes;
  static constexpr int kOctetBytes = kPacked ? kStageBlocks * kBlockBytes : 16384 / kOctets;
  static constexpr int kStageBytes = kOctetBytes * kOctets;

  // Partial sums of a tile: [buffer][warp][token][pitch]; the padding keeps stores off one bank.
  static constexpr int kPitch = 8 * kOctets + 4;
  static constexpr int kPartBytes = kTokens * kPitch * 4;
  static constexpr int kRedBytes = kEpilogues * kWarps * kPartBytes;
  static constexpr int kTileBytes = kTokens * 8 * kOctets * 4;  // sums carried between slices

  static constexpr int kBudget = 232448;
  static constexpr int kFixedBytes = 1024 + kRedBytes;  // barriers, sums of squares, partial sums
  static constexpr int kMinCarryBytes = kSlice * 4;
  static constexpr int kStages = (kBudget - kFixedBytes - kMinCarryBytes) / kStageBytes;
  static constexpr int kCarryTiles = (kBudget - kFixedBytes - kStages * kStageBytes) / kTileBytes;
  static constexpr int kOffsetRed = kStages * kStageBytes;
  static constexpr int kOffsetCarry = kOffsetRed + kRedBytes;
  static constexpr int kOffsetSquares = kOffsetCarry + kCarryTiles * kTileBytes;
  static constexpr int kOffsetBars = kOffsetSquares + kWarps * 16 * 4;
  static constexpr int kSharedBytes = kOffsetBars + 8 * (2 * kStages + 2 * kEpilogues);
  static_assert(kSharedBytes <= kBudget && kStages >= 4 && kSliceStages >= 1);
  static_assert(kCarryTiles * kTileBytes >= kSlice * 4);  // the norm's weights lie there too
};

template <class C>
struct StreamShared {
  std::uint8_t* base;
  std::uint32_t ring, full, empty, red_full, red_empty;
  __device__ __forceinline__ explicit StreamShared(std::uint8_t* smem) : base(smem) {
    ring = smem_address(smem);
    full = ring + C::kOffsetBars;
    empty = full + 8 * C::kStages;
    red_full = empty + 8 * C::kStages;
    red_empty = red_full + 8 * C::kEpilogues;
  }
  __device__ __forceinline__ float* red(int buffer, int warp) const {  // [kTokens][kPitch]
    return reinterpret_cast<float*>(base + C::kOffsetRed +
                                    (buffer * C::kWarps + warp) * C::kPartBytes);
  }
  __device__ __forceinline__ float4* carry(int tile) const {  // [kTokens][2 * kOctets]
    return reinterpret_cast<float4*>(base + C::kOffsetCarry + tile * C::kTileBytes);
  }
  __device__ __forceinline__ float* squares(int warp) const {  // [16]
    return reinterpret_cast<float*>(base + C::kOffsetSquares) + warp * 16;
  }
  // All lanes of a warp arrive: racecheck credits an arrival to the arriving thread alone.
  __device__ __forceinline__ void init() const {
    for (int i = 0; i < C::kStages; ++i) {
      mbar_init(full + 8 * i, 1);
      mbar_init(empty + 8 * i, 32 * C::kWarps);
    }
    for (int i = 0; i < C::kEpilogues; ++i) {
      mbar_init(red_full + 8 * i, 32 * C::kWarps);
      mbar_init(red_empty + 8 * i, 32);
    }
    mbar_init_fence();
  }
};

// The work of one block, in the order that producer, consumers and epilogue all walk it: groups of
// its tiles, slices of k, tiles of the group. Where k is one slice, all tiles are one group.
template <class C>
struct StreamWork {
  int tiles, slices, group;
  __device__ __forceinline__ explicit StreamWork(const StreamArguments& a) {
    const int first = static_cast<int>(blockIdx.x), grid = static_cast<int>(gridDim.x);
    tiles = first < a.tiles ? (a.tiles - 1 - first) / grid + 1 : 0;
    slices = static_cast<int>((a.p.k + C::kSlice - 1) / C::kSlice);
    group = slices == 1 ? tiles : C::kCarryTiles;
  }
  static __device__ __forceinline__ int tile(int i) {
    return static_cast<int>(blockIdx.x) + i * static_cast<int>(gridDim.x);
  }
  static __device__ __forceinline__ int stages(const StreamArguments& a, int slice) {
    const int left = static_cast<int>(a.p.k) - slice * C::kSlice;
    return left >= C::kSlice ? C::kSliceStages : (left + C::kStageK - 1) / C::kStageK;
  }
  // First row of W of a tile's octet.
  static __device__ __forceinline__ int row(const StreamArguments& a, int tile, int octet) {
    if (a.p.output == ProductOutput::kGated) {
      return tile * 8 + octet * static_cast<int>(a.p.n / 2);
    }
    return (tile * C::kOctets + octet) * 8;
  }
};

}  // namespace spate::cuda
