// What the attention kernels need to know about an element type (bf16, f16), and the matrix
// instructions of one warp: ldmatrix, stmatrix, movmatrix, mma m16n8k16.
#pragma once
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

// Accumulators of a 16 x 8 tile: c[0], c[1] at (row lane / 4, columns 2 * (lane % 4) and + 1),
// c[2], c[3] eight rows below. A is 16 x 16 (4 registers), B is 16 x 8 (2 registers).
template <class T>
struct Element;

template <>
struct Element<__nv_bfloat16> {
  static __device__ __forceinline__ std::uint32_t pack(float low, float high) {
    std::uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
  static __device__ __forceinline__ float low(std::uint32_t x) { return __uint_as_float(x << 16); }
  static __device__ __forceinline__ float high(std::uint32_t x) {
    return __uint_as_float(x & 0xffff0000u);
  }
  static __device__ __forceinline__ void mma(float (&c)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

template <>
struct Element<__half> {
  static __device__ __forceinline__ std::uint32_t pack(float low, float high) {
    std::uint32_t r;
    asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
  static __device__ __forceinline__ float low(std::uint32_t x) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(x & 0xffffu)));
  }
  static __device__ __forceinline__ float high(std::uint32_t x) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(x >> 16)));
  }
  static __device__ __forceinline__ void mma(float (&c)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void stmatrix_x4(std::uint32_t address, const std::uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0],{%1,%2,%3,%4};" ::"r"(address),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}
__device__ __forceinline__ std::uint32_t movmatrix_trans(std::uint32_t a) {
  std::uint32_t r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(r) : "r"(a));
  return r;
}
// x[i] of lane t and x[t] of lane i of a quad change places.
__device__ __forceinline__ void transpose_quad(std::uint32_t (&x)[4]) {
  const bool odd = (threadIdx.x & 1) != 0, upper = (threadIdx.x & 2) != 0;
  auto exchange = [](std::uint32_t& a, std::uint32_t& b, bool second, int distance) {
    const std::uint32_t y = __shfl_xor_sync(~0u, second ? a : b, distance);
    if (second)
      a = y;
    else
      b = y;
  };
  exchange(x[0], x[1], odd, 1);
  exchange(x[2], x[3], odd, 1);
  exchange(x[0], x[2], upper, 2);
  exchange(x[1], x[3], upper, 2);
}
__device__ __forceinline__ void load_shared_128(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void load_shared_64(std::uint32_t (&r)[2], std::uint32_t address) {
  asm volatile("ld.shared.v2.b32 {%0,%1},[%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
}
__device__ __forceinline__ void store_shared_64(std::uint32_t address, int a, int b) {
  asm volatile("st.shared.v2.b32 [%0],{%1,%2};" ::"r"(address), "r"(a), "r"(b) : "memory");
}
__device__ __forceinline__ void store_shared_zero_128(std::uint32_t address) {
  asm volatile("st.shared.v4.b32 [%0],{%1,%1,%1,%1};" ::"r"(address), "r"(0) : "memory");
}
__device__ __forceinline__ void store_shared_128(std::uint32_t address, std::uint32_t a,
                                                 std::uint32_t b, std::uint32_t c,
                                                 std::uint32_t d) {
  asm volatile("st.shared.v4.b32 [%0],{%1,%2,%3,%4};" ::"r"(address), "r"(a), "r"(b), "r"(c), "r"(d)
               : "memory");
}
// Four e4m3 bytes become two registers of two f16 each; exact.
__device__ __forceinline__ void e4m3x4_to_f16(std::uint32_t x, std::uint32_t& low,
                                              std::uint32_t& high) {
#if __CUDA_ARCH__ >= 890
  asm("{.reg .b16 a,b; mov.b32 {a,b},%2; cvt.rn.f16x2.e4m3x2 %0,a; cvt.rn.f16x2.e4m3x2 %1,b;}"
      : "=r"(low), "=r"(high)
      : "r"(x));
#else
  // Exponent and mantissa moved into place leave a factor 2^-8.
  auto widen = [](std::uint32_t w) {
    std::uint32_t r = ((w >> 1) & 0x3f803f80u) | (w & 0x80008000u);
    asm("mul.f16x2 %0,%0,%1;" : "+r"(r) : "r"(0x5c005c00u));
    return r;
  };
  low = widen(__byte_perm(x, 0, 0x1404));
  high = widen(__byte_perm(x, 0, 0x3424));
#endif
}
// Four int8 become two registers of two f16 each: 1024 + (x + 128) is a pattern of bits.
__device__ __forceinline__ void int8x4_to_f16(std::uint32_t x, std::uint32_t& low,
                                              std::uint32_t& high) {
  const std::uint32_t biased = x ^ 0x80808080u;
  low = __byte_perm(biased, 0x64646464u, 0x4140);
  high = __byte_perm(biased, 0x64646464u, 0x4342);
  asm("sub.f16x2 %0,%0,%1;" : "+r"(low) : "r"(0x64806480u));
  asm("sub.f16x2 %0,%0,%1;" : "+r"(high) : "r"(0x64806480u));
}
// A power of two, and its reciprocal, that brings `largest` to 2^14 at most: f16 then holds what
// bf16 held beside it.
struct F16Scale {
  float up, down;
  __device__ __forceinline__ static F16Scale of(float largest) {
    const int exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 127 - 14;
    const int e = min(max(exponent, -120), 120);
    return {__uint_as_float(static_cast<std::uint32_t>(127 - e) << 23),
            __uint_as_float(static_cast<std::uint32_t>(127 + e) << 23)};
  }
};
__device__ __forceinline__ unsigned short load_shared_u16(std::uint32_t address) {
  unsigned short x;
  asm volatile("ld.shared.u16 %0,[%1];" : "=h"(x) : "r"(address) : "memory");
  return x;
}
__device__ __forceinline__ float load_shared_f16(std::uint32_t address) {
  return __half2float(__ushort_as_half(load_shared_u16(address)));
}
// Pairs of f16 times an f16.
template <int N>
__device__ __forceinline__ void scale_f16(std::uint32_t (&x)[N], unsigned short scale) {
  const std::uint32_t both = scale * 0x10001u;
#pragma unroll
  for (std::uint32_t& y : x) asm("mul.f16x2 %0,%0,%1;" : "+r"(y) : "r"(both));
}

// Copies of 16 bytes that a thread does not wait for, sm_80 and later; `bytes` 0: zeros instead.
__device__ __forceinline__ void copy_async_16(std::uint32_t dst, const void* src) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(dst), "l"(src) : "memory");
}
__device__ __forceinline__ void copy_async_16(std::uint32_t dst, const void* src, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace spate::cuda
