// How the streaming product gets its weights: copies of a stage into the ring, and a warp's
// m16n8k16 B operands out of it, for each format. A lane holds eight neighbours of k (8 t ...) of
// one row of W and of every group of 32, so activations are loaded 16 bytes at a time, whatever the
// format.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_stream_params.cuh"
#include "spate/kernels/cuda/mma.cuh"

namespace spate::cuda {

// ---- copies (one thread)

template <class C>
__device__ __forceinline__ void stream_copy_stage(const StreamArguments& a, std::uint32_t dst,
                                                  std::uint32_t bar, int tile, int k0) {
  if constexpr (!C::kPacked) {
    constexpr int kChunk = 128 * 8 / C::kBits;
    mbar_expect_bytes(bar, C::kStageBytes);
#pragma unroll
    for (int o = 0; o < C::kOctets; ++o) {
      tensor_load(dst + o * C::kOctetBytes, &a.map, bar,
                  {0, StreamWork<C>::row(a, tile, o), k0 / kChunk, 0}, kEvictFirst);
    }
  } else {
    const int per_row = (static_cast<int>(a.p.k) + kQuantBlock - 1) / kQuantBlock;
    const int first = k0 / kQuantBlock, count = min(C::kStageBlocks, per_row - first);
    const auto bytes = static_cast<std::uint32_t>(count * C::kBlockBytes);
    mbar_expect_bytes(bar, bytes * C::kOctets);
#pragma unroll
    for (int o = 0; o < C::kOctets; ++o) {
      const std::int64_t block = std::int64_t{StreamWork<C>::row(a, tile, o) / 8} * per_row + first;
      bulk_load(dst + o * C::kOctetBytes,
                static_cast<const std::uint8_t*>(a.p.weights) + block * C::kBlockBytes, bytes, bar,
                kEvictFirst);
    }
  }
}

// ---- B operands. Place: where a warp's share of a stage lies for this lane. fetch() loads
// kLoadGroups groups of 32 k of an octet of rows; operand(j) makes the registers of group j of the
// load, and for packed formats scale(j) the scales of columns 2 t and 2 t + 1. row_of(n): the row
// of W, in its octet, that column n of the operand is.

__device__ __forceinline__ std::uint32_t fma_bf16x2(std::uint32_t a, std::uint32_t b,
                                                    std::uint32_t c) {
  std::uint32_t r;
  asm("fma.rn.bf16x2 %0,%1,%2,%3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}

template <class C, StreamFormat kFormat = C::kFormat>
struct StreamWeights;

// 128 bytes of k a row, 16-byte pieces swizzled by the row. Columns are dealt to rows so that the
// eight lanes of a quarter of a 16-byte load meet all banks.
template <class C>
struct StreamWeights<C, StreamFormat::kBF16> {
  static constexpr int kLoadGroups = 1;
  static constexpr bool kEvenAndOdd = false;
  std::uint32_t raw[4];

  static __device__ __forceinline__ int row_of(int n) { return (n >> 1) + 4 * (n & 1); }
  struct Place {
    std::uint32_t at;
    int piece, row;
    __device__ __forceinline__ Place(std::uint32_t stage, int warp, int lane)
        : at(stage + warp * C::kShareGroups / 2 * 1024 + row_of(lane >> 2) * 128),
          piece(warp * C::kShareGroups % 2 * 4 + (lane & 3)),
          row(row_of(lane >> 2)) {}
  };
  __device__ __forceinline__ void fetch(const Place& p, int octet, int group) {
    const int piece = (p.piece + group % 2 * 4) ^ p.row;
    load_shared_128(raw, p.at + octet * C::kOctetBytes + group / 2 * 1024 + piece * 16);
  }
  __device__ __forceinline__ std::uint32_t any() const { return raw[0]; }
  __device__ __forceinline__ void operand(int, std::uint32_t (&b)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) b[i] = raw[i];
  }
};

template <class C>
struct StreamWeights<C, StreamFormat::kF16> : StreamWeights<C, StreamFormat::kBF16> {};

// e4m3 to bf16 is exact: the seven low bits move under the exponent, and 2^120 sets it right.
template <class C>
struct StreamWeights<C, StreamFormat::kFp8> {
  static constexpr int kLoadGroups = 1;
  // Of four neighbours, one register has the even ones and one the odd ones: so activations, too.
  static constexpr bool kEvenAndOdd = true;
  std::uint32_t raw[2];

  static __device__ __forceinline__ int row_of(int n) { return 2 * (n & 3) + (n >> 2); }
  struct Place {
    std::uint32_t at;
    int piece, row;
    __device__ __forceinline__ Place(std::uint32_t stage, int warp, int lane)
        : at(stage + warp * C::kShareGroups / 4 * 1024 + row_of(lane >> 2) * 128 + (lane & 1) * 8),
          piece(warp * C::kShareGroups % 4 * 2 + ((lane & 3) >> 1)),
          row(row_of(lane >> 2)) {}
  };
  __device__ __forceinline__ void fetch(const Place& p, int octet, int group) {
    const int piece = (p.piece + group % 4 * 2) ^ p.row;
    asm volatile("ld.shared.v2.b32 {%0,%1},[%2];"
                 : "=r"(raw[0]), "=r"(raw[1])
                 : "r"(p.at + octet * C::kOctetBytes + group / 4 * 1024 + piece * 16)
                 : "memory");
  }
  __device__ __forceinline__ std::uint32_t any() const { return raw[0]; }
  // Signs and magnitudes of two numbers, each in the upper byte of a half (shifts to the left run
  // beside the logic, which is what this loop is short of).
  static __device__ __forceinline__ std::uint32_t widened(std::uint32_t sign,
                                                          std::uint32_t magnitude) {
    return fma_bf16x2((sign & 0x80008000u) | (magnitude & 0x07f007f0u), 0x7b807b80u, 0x80008000u);
  }
  __device__ __forceinline__ void operand(int, std::uint32_t (&b)[4]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      b[2 * i] = widened(raw[i] << 8, raw[i] << 4);
      b[2 * i + 1] = widened(raw[i], raw[i] >> 4);
    }
  }
};

template <class C>
struct StreamPackedWeights {
  using L = QuantLayout<C::kBits == 4 ? 4 : 8>;
  static constexpr int kLoadGroups = L::kLoadGroups;
  static constexpr bool kEvenAndOdd = false;
  static constexpr int kBlockGroups = kQuantBlock / kQuantGroup;
  std::uint32_t raw[4], scales[kLoadGroups];

  static __device__ __forceinline__ int row_of(int n) { return n; }
  struct Place {
    std::uint32_t at, scales_at;
    __device__ __forceinline__ Place(std::uint32_t stage, int warp, int lane) {
      const int first = warp * C::kShareGroups, in_block = first % kBlockGroups;
      const std::uint32_t block = stage + first / kBlockGroups * C::kBlockBytes;
      at = block + in_block / kLoadGroups * 512 + lane * 16;
      scales_at = block + L::kValueBytes + in_block * 16 + (lane & 3) * 4;
    }
  };
  __device__ __forceinline__ void fetch(const Place& p, int octet, int group) {
    const std::uint32_t block = octet * C::kOctetBytes + group / kBlockGroups * C::kBlockBytes;
    load_shared_128(raw, p.at + block + group % kBlockGroups / kLoadGroups * 512);
#pragma unroll
    for (int j = 0; j < kLoadGroups; ++j) {
      asm volatile("ld.shared.b32 %0,[%1];"
                   : "=r"(scales[j])
                   : "r"(p.scales_at + block + (group + j) % kBlockGroups * 16)
                   : "memory");
    }
  }
  __device__ __forceinline__ void clear() {
    raw[0] = raw[1] = raw[2] = raw[3] = 0;
#pragma unroll
    for (int j = 0; j < kLoadGroups; ++j) scales[j] = 0;
  }
  __device__ __forceinline__ std::uint32_t any() const {
    std::uint32_t x = raw[0];
#pragma unroll
    for (int j = 0; j < kLoadGroups; ++j) x ^= scales[j];
    return x;
  }
  __device__ __forceinline__ float2 scale(int j) const {
    return __half22float2(reinterpret_cast<const __half2&>(scales[j]));
  }
};

// Integers below 2^23 are exact in the low bits of a float of exponent 23.
template <class C>
struct StreamWeights<C, StreamFormat::kQ8> : StreamPackedWeights<C> {
  __device__ __forceinline__ void operand(int j, std::uint32_t (&b)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t word = this->raw[j * 2 + i / 2];
      float v[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const auto selector = static_cast<std::uint32_t>(0x7650 + i % 2 * 2 + e);
        v[e] = __uint_as_float(__byte_perm(word, 0x4b000000u, selector)) - 8388736.F;
      }
      b[i] = Element<__nv_bfloat16>::pack(v[0], v[1]);
    }
  }
};

// 0x4300 | u is the bf16 number 128 + u.
template <class C>
struct StreamWeights<C, StreamFormat::kQ4> : StreamPackedWeights<C> {
  __device__ __forceinline__ void operand(int j, std::uint32_t (&b)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t pair = (this->raw[j] >> (4 * i) & 0x000f000fu) | 0x43004300u;
      b[i] = fma_bf16x2(pair, 0x3f803f80u, 0xc308c308u);  // - 136
    }
  }
};

}  // namespace spate::cuda
