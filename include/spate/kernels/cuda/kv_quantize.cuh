// Writing rows of K and V into an int8 cache: what the kernel that appends to the cache calls for
// each (token, kv head). Symmetric, one scale a row: x is stored as round(x / scale), |.| <= 127.
#pragma once
#include <cstdint>

#include <cuda_fp16.h>

#include "spate/kernels/cuda/kv_image.h"

namespace spate::cuda {

// The scale of a row whose largest magnitude is `largest`, as it is stored. Never below the least
// normal f16, so that a row of zeros divides by something.
__device__ __forceinline__ __half kv_int8_scale(float largest) {
  return __float2half_ru(fmaxf(largest * (1.f / 127.f), 6.103515625e-5f));
}
__device__ __forceinline__ std::uint32_t kv_int8(float x, float inverse_scale) {
  const int q = __float2int_rn(fminf(fmaxf(x * inverse_scale, -127.f), 127.f));
  return static_cast<std::uint32_t>(q) & 255u;
}

// Eight neighbours of a row.
__device__ __forceinline__ uint2 kv_int8_pack(const float (&x)[8], float inverse_scale) {
  std::uint32_t words[2] = {};
#pragma unroll
  for (int i = 0; i < 8; i++) words[i / 4] |= kv_int8(x[i], inverse_scale) << (i % 4 * 8);
  return make_uint2(words[0], words[1]);
}

// One warp writes one row: lane l holds elements l * kEach .. l * kEach + kEach - 1 of the head.
// `block`: the image of this block and kv head; token: inside the block. kEach is 2, 4 or 8 (head
// dims 64, 128, 256).
template <int kEach>
__device__ __forceinline__ void store_kv_int8(std::uint8_t* block, int token, bool value,
                                              int page_tokens, const float (&x)[kEach]) {
  static_assert(kEach == 2 || kEach == 4 || kEach == 8);
  constexpr std::uint32_t kRowBytes = kv_row_bytes(kEach * 32, 1);
  const std::uint32_t lane = threadIdx.x & 31u;
  float largest = 0;
#pragma unroll
  for (int i = 0; i < kEach; i++) largest = fmaxf(largest, fabsf(x[i]));
#pragma unroll
  for (int i = 16; i > 0; i /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, i));
  const __half scale = kv_int8_scale(largest);
  const float inverse = 1.f / __half2float(scale);
  std::uint8_t* row = block + (value ? page_tokens * kRowBytes : 0);
  const std::uint32_t byte = lane * kEach;
  std::uint8_t* to =
      row + kv_offset(static_cast<std::uint32_t>(token), byte / 16, kRowBytes) + byte % 16;
  std::uint32_t words[2] = {};
#pragma unroll
  for (int i = 0; i < kEach; i++) words[i / 4] |= kv_int8(x[i], inverse) << (i % 4 * 8);
  if constexpr (kEach == 2)
    *reinterpret_cast<std::uint16_t*>(to) = static_cast<std::uint16_t>(words[0]);
  else if constexpr (kEach == 4)
    *reinterpret_cast<std::uint32_t*>(to) = words[0];
  else
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
  if (lane == 0)
    *reinterpret_cast<__half*>(block + kv_scale_offset(token, value, page_tokens, kRowBytes)) =
        scale;
}

}  // namespace spate::cuda
