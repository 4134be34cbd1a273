// Which keys a query sees and what happens to its scores, as compile-time variants: the plain path
// pays for none of the others. Positions count keys of one request; the last query of a request
// stands on the last key (bottom-right alignment), so appending to a cache needs nothing special.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

enum class Mask {
  kFull,    // every key
  kCausal,  // keys up to the query's position
  kWindow,  // keys from position - window_left to position + window_right
  kBits,    // keys before the request's mask_columns last ones, and of those what its bits say
};

enum class Score {
  kPlain,
  kSoftCap,  // cap * tanh(score / cap)
  kAlibi,    // score + slope[head] * (key position - query position), Press et al. 2022
};

enum class KvLayout {
  kStrided,  // [token][kv_head][dim] with any strides, requests one after another
  kPages,    // blocks of kv_image.h through a page table
};

enum class KvFormat {
  kElement,  // the element type of the queries
  kE4M3,     // with a scale a kv head
  kInt8,     // with a scale a token and kv head, kv_image.h
};

// The keys [begin, end) that a mask of intervals shows to a query at `position`.
struct KeyRange {
  int begin, end;
};

template <Mask kMask>
__device__ __forceinline__ KeyRange visible_keys(int position, int kv_len, int window_left,
                                                 int window_right) {
  if constexpr (kMask == Mask::kCausal) return {0, min(kv_len, position + 1)};
  if constexpr (kMask == Mask::kWindow) {
    return {max(0, position - window_left), min(kv_len, position + 1 + window_right)};
  }
  return {0, kv_len};
}

// tanh by one exponential and one reciprocal: absolute error about 2e-7, where tanh.approx has
// 5e-4, too much once multiplied by a cap of 50.
__device__ __forceinline__ float tanh_exp(float x) {
  return 1.f - 2.f * rcp_approx(exp2_approx(2.f * kLog2E * x) + 1.f);
}

// 32 mask bits from bit `first` on of a row of `words` words. Bits before the row are ones (keys
// that need no mask), bits behind it zeros.
__device__ __forceinline__ std::uint32_t mask_word(const std::uint32_t* row, int words, int first) {
  const int index = first >> 5;
  auto word = [&](int i) { return i < 0 ? ~0u : i < words ? __ldg(row + i) : 0u; };
  return __funnelshift_r(word(index), word(index + 1), static_cast<std::uint32_t>(first & 31));
}

}  // namespace spate::cuda
