// How q8 and q4 weights lie in a GPU's memory, for who writes them (gemm_convert.cuh) and who
// multiplies with them (gemm_stream.cuh). Values are those of the CPU's q8 and q4: groups of 32
// along k, one f16 scale each.
//
// A matrix is [n / 8][ceil(k / 256)] blocks of 8 rows x 256 k: values first, then scales [8
// groups][8 rows]. Values are in the order of the registers of a warp's m16n8k16 B operand: lane
// 4 * row + t holds 8 neighbours (8 t ...) of each group, 16 bytes at a time, so that every load
// from shared memory is one 16-byte load a lane without bank conflicts.
#pragma once
#include <cstdint>

#include <cuda_runtime.h>

namespace spate::cuda {

inline constexpr int kQuantGroup = 32;
inline constexpr int kQuantRows = 8;
inline constexpr int kQuantBlock = 256;  // k of a block
inline constexpr int kQuantScaleBytes = kQuantRows * (kQuantBlock / kQuantGroup) * 2;

template <int kBits>
struct QuantLayout {
  static_assert(kBits == 8 || kBits == 4);
  static constexpr int kValueBytes = kQuantRows * kQuantBlock * kBits / 8;
  static constexpr int kBlockBytes = kValueBytes + kQuantScaleBytes;
  static constexpr int kGroupBytes = kBits;       // of a lane: 8 values
  static constexpr int kLoadGroups = 16 / kBits;  // groups in one 16-byte load
  static constexpr float kLow = kBits == 8 ? -127.F : -8.F;
  static constexpr float kHigh = kBits == 8 ? 127.F : 7.F;
  static constexpr int kOffset = kBits == 8 ? 128 : 8;  // what is added to stored values

  static __host__ __device__ constexpr std::int64_t blocks_per_row(std::int64_t k) {
    return (k + kQuantBlock - 1) / kQuantBlock;
  }
  static __host__ __device__ constexpr std::int64_t bytes(std::int64_t n, std::int64_t k) {
    return (n + kQuantRows - 1) / kQuantRows * blocks_per_row(k) * kBlockBytes;
  }
  // First byte of the block with row `row` and group `group` (of all groups of the row).
  static __host__ __device__ constexpr std::int64_t block_at(std::int64_t row, std::int64_t group,
                                                             std::int64_t k) {
    return (row / kQuantRows * blocks_per_row(k) + group * kQuantGroup / kQuantBlock) * kBlockBytes;
  }
  // Within the block: the values 8 t ... of a group (kGroupBytes of them), and its scale.
  static __host__ __device__ constexpr int values_at(int row, int group, int t) {
    const int lane = row % kQuantRows * 4 + t, g = group % (kQuantBlock / kQuantGroup);
    return g / kLoadGroups * 512 + lane * 16 + g % kLoadGroups * kGroupBytes;
  }
  static __host__ __device__ constexpr int scale_at(int row, int group) {
    return kValueBytes + (group % (kQuantBlock / kQuantGroup) * kQuantRows + row % kQuantRows) * 2;
  }
};

// Of the eight nibbles of a lane's q4 group, which one is element e: elements 2 i and 2 i + 1 are
// 16 bits apart, so that a shift and a mask make a pair of 16-bit numbers.
__host__ __device__ constexpr int q4_nibble(int e) { return e / 2 + e % 2 * 4; }

}  // namespace spate::cuda
