// The layout of the KV cache on the GPU, the one place that knows it. A block is byte for byte what
// the attention kernels want to find in shared memory: page_tokens tokens of one kv head, first all
// K rows, then all V rows, so that whole runs of tokens are one contiguous copy. Plain C++; nothing
// here owns memory.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define SPATE_HOST_DEVICE __host__ __device__
#else
#define SPATE_HOST_DEVICE
#endif

namespace spate::cuda {

// Bytes of one token's K (or V) row: the head dim padded to 64 or else to 128 bytes. Padding is
// never read as data.
SPATE_HOST_DEVICE constexpr std::uint32_t kv_row_bytes(int head_dim, int element_bytes) {
  const auto bytes = static_cast<std::uint32_t>(head_dim * element_bytes);
  return bytes <= 64 ? 64 : (bytes + 127u) / 128u * 128u;
}

// Byte offset of the 16-byte chunk `chunk` of token `token` inside the K (or V) half of a block.
// Groups of 8 tokens are contiguous; inside a group every 128 bytes of the row form one atom of 8
// rows x 128 bytes with the 128-byte swizzle, as ldmatrix without bank conflicts and wgmma like it.
// Rows of 64 bytes lie in pairs, with the 64-byte swizzle.
SPATE_HOST_DEVICE constexpr std::uint32_t kv_offset(std::uint32_t token, std::uint32_t chunk,
                                                    std::uint32_t row_bytes) {
  if (row_bytes == 64) return token * 64 + (((chunk ^ (token >> 1)) & 3) << 4);
  return (token >> 3) * 8 * row_bytes + (chunk >> 3) * 1024 + (token & 7) * 128 +
         (((chunk ^ token) & 7) << 4);
}

// An int8 cache keeps one f16 scale a token, for K and for V: what the row's integers are
// multiplied by. They lie behind the rows, those of K first. Values must stay below 32,000.
inline constexpr int kKvScaleBytes = 2;
SPATE_HOST_DEVICE constexpr std::int64_t kv_scale_offset(int token, bool value, int page_tokens,
                                                         std::uint32_t row_bytes) {
  return std::int64_t{2} * page_tokens * row_bytes +
         std::int64_t{kKvScaleBytes} * ((value ? page_tokens : 0) + token);
}

// Bytes of one block: page_tokens rows of K and of V, and their scales.
SPATE_HOST_DEVICE constexpr std::int64_t kv_block_bytes(int page_tokens, int head_dim,
                                                        int element_bytes, bool scales = false) {
  return std::int64_t{2} * page_tokens *
         (kv_row_bytes(head_dim, element_bytes) + (scales ? kKvScaleBytes : 0));
}

}  // namespace spate::cuda
