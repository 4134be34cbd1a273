// Quantized weights as bf16, in registers: what a warpgroup's matrix instruction takes as its A
// operand. The values are those of dequantize_kernel (gemm_convert.cuh): the products of integers
// and scales are exact in f32 and rounded once.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_quant_layout.cuh"
#include "spate/kernels/cuda/mma.cuh"

namespace spate::cuda {

// Four pairs of bf16 from a lane's eight values of a group. An integer u that lies at bit `p` of a
// float's mantissa, under the exponent 23 - p, is the float 2^(23 - p) + u; one fma with the scale
// takes off what was added, exactly, because (2^(23 - p) + offset) * scale has few enough bits for
// an f32 (p >= 8: 13 bits of q4's times 11 of an f16).
template <int kBits>
struct WidenedGroup;

template <>
struct WidenedGroup<8> {
  static __device__ __forceinline__ void run(const std::uint32_t* words, float scale,
                                             std::uint32_t (&pairs)[4]) {
    const float offset = -32896.F * scale;  // 2^15 + 128
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float v[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const auto selector = static_cast<std::uint32_t>(0x7404 + (i % 2 * 2 + e) * 16);
        const std::uint32_t bits = __byte_perm(words[i / 2], 0x47000000u, selector);
        v[e] = __fmaf_rn(__uint_as_float(bits), scale, offset);
      }
      pairs[i] = Element<__nv_bfloat16>::pack(v[0], v[1]);
    }
  }
};

template <>
struct WidenedGroup<4> {
  template <int kBit>
  static __device__ __forceinline__ float value(std::uint32_t word, float scale, float offset) {
    constexpr std::uint32_t kExponent = static_cast<std::uint32_t>(127 + 23 - kBit) << 23;
    std::uint32_t bits;  // word & mask | exponent: the compiler would take two instructions
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;"
        : "=r"(bits)
        : "r"(word), "n"(0xF << kBit), "n"(kExponent));
    return __fmaf_rn(__uint_as_float(bits), scale, offset);
  }
  static __device__ __forceinline__ void run(const std::uint32_t* words, float scale,
                                             std::uint32_t (&pairs)[4]) {
    using Bf16 = Element<__nv_bfloat16>;
    const std::uint32_t word = words[0], low = word << 8, high = word >> 12;
    const float at8 = -32776.F * scale, at12 = -2056.F * scale, at16 = -136.F * scale;
    pairs[0] = Bf16::pack(value<8>(low, scale, at8), value<16>(word, scale, at16));
    pairs[1] = Bf16::pack(value<12>(low, scale, at12), value<8>(high, scale, at8));
    pairs[2] = Bf16::pack(value<8>(word, scale, at8), value<12>(high, scale, at12));
    pairs[3] = Bf16::pack(value<12>(word, scale, at12), value<16>(high, scale, at16));
  }
};

// A lane's weights of one load (kGroups groups) from the two octets of rows that its warp has.
template <class C>
struct WidenWeights {
  using L = typename C::Layout;
  static constexpr int kWords = L::kGroupBytes / 4;  // of a group
  // 16 bytes, or 8 where sums of many rows leave no registers for more.
  static constexpr int kGroups = C::kBits == 4 && C::kRows > 96 ? 2 : L::kLoadGroups;
  std::uint32_t raw[2][kGroups * kWords];

  // `part`: where this warp's octets begin, in shared memory.
  __device__ __forceinline__ void fetch(std::uint32_t part, int lane, int group) {
#pragma unroll
    for (int o = 0; o < 2; ++o) {
      const std::uint32_t from = part + o * L::kBlockBytes + group / L::kLoadGroups * 512 +
                                 group % L::kLoadGroups * L::kGroupBytes + lane * 16;
      if constexpr (kGroups * kWords == 4) {
        load_shared_128(raw[o], from);
      } else {
        load_shared_64(raw[o], from);
      }
    }
  }
  __device__ __forceinline__ std::uint32_t any() const { return raw[0][0] ^ raw[1][0]; }
  // The scales of a group, ahead of its operands.
  unsigned short scales[2];
  __device__ __forceinline__ void fetch_scales(std::uint32_t part, int lane, int group) {
#pragma unroll
    for (int o = 0; o < 2; ++o) {
      asm volatile("ld.shared.u16 %0,[%1];"
                   : "=h"(scales[o])
                   : "r"(part + o * L::kBlockBytes + L::kValueBytes + group * (kQuantRows * 2) +
                         lane / 4 * 2)
                   : "memory");
    }
  }
  // Two A operands: of the first and of the second 16 k of a group, as x is dealt out.
  __device__ __forceinline__ void operands(const float (&scale)[2], int group,
                                           std::uint32_t (&a)[8]) const {
#pragma unroll
    for (int o = 0; o < 2; ++o) {
      std::uint32_t pairs[4];
      WidenedGroup<C::kBits>::run(raw[o] + group % kGroups * kWords, scale[o], pairs);
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i / 2 * 4 + i % 2 * 2 + o] = pairs[i];
    }
  }
};

}  // namespace spate::cuda
