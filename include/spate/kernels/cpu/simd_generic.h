// Sixteen lanes in plain C++: the reference for the other sets, and the path of last resort. Every
// operation gives the bits that the AVX-512 one gives, dot2 apart where values are denormal.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace spate::kernels::cpu::generic {

struct F32x16 {
  float v[16];
};
struct I32x16 {
  std::int32_t v[16];
};

/// Rows of the register tile, by the kind of arithmetic; columns are handled 16 times kTileVectors.
inline constexpr int kTileRowsFloat = 1;
inline constexpr int kTileRowsInt8 = 1;
inline constexpr int kTileVectors = 1;

SPATE_KERNEL F32x16 set1_f32(float x) {
  F32x16 r;
  for (float& e : r.v) e = x;
  return r;
}
SPATE_KERNEL I32x16 set1_i32(std::int32_t x) {
  I32x16 r;
  for (std::int32_t& e : r.v) e = x;
  return r;
}
SPATE_KERNEL F32x16 load_f32(const float* p) {
  F32x16 r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
SPATE_KERNEL void store_f32(float* p, F32x16 x) { std::memcpy(p, &x, sizeof x); }
SPATE_KERNEL F32x16 load_f32_first(const float* p, int n) {
  F32x16 r = set1_f32(0.0F);
  std::memcpy(&r, p, static_cast<unsigned>(n) * sizeof(float));
  return r;
}
SPATE_KERNEL void store_f32_first(float* p, F32x16 x, int n) {
  std::memcpy(p, &x, static_cast<unsigned>(n) * sizeof(float));
}
SPATE_KERNEL I32x16 load_i32(const void* p) {
  I32x16 r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
SPATE_KERNEL void store_i32(void* p, I32x16 x) { std::memcpy(p, &x, sizeof x); }
SPATE_KERNEL I32x16 broadcast4(const void* p) {
  std::int32_t x;
  std::memcpy(&x, p, sizeof x);
  return set1_i32(x);
}
SPATE_KERNEL void prefetch(const void* p) { __builtin_prefetch(p); }
SPATE_KERNEL void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

SPATE_KERNEL F32x16 as_f32(I32x16 x) {
  F32x16 r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
SPATE_KERNEL I32x16 as_i32(F32x16 x) {
  I32x16 r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}

SPATE_KERNEL F32x16 add(F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
SPATE_KERNEL F32x16 sub(F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] -= b.v[i];
  return a;
}
SPATE_KERNEL F32x16 mul(F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] *= b.v[i];
  return a;
}
SPATE_KERNEL F32x16 div(F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] /= b.v[i];
  return a;
}
/// a * b + c, rounded once.
SPATE_KERNEL F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  for (int i = 0; i < 16; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
/// The second operand when one is NaN.
SPATE_KERNEL F32x16 max(F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SPATE_KERNEL F32x16 min(F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SPATE_KERNEL F32x16 sqrt(F32x16 x) {
  for (float& e : x.v) e = __builtin_sqrtf(e);
  return x;
}
SPATE_KERNEL F32x16 abs(F32x16 x) {
  for (float& e : x.v) e = __builtin_fabsf(e);
  return x;
}
/// x > y ? a : b; b when one is NaN.
SPATE_KERNEL F32x16 if_greater(F32x16 x, F32x16 y, F32x16 a, F32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] = x.v[i] > y.v[i] ? a.v[i] : b.v[i];
  return a;
}
SPATE_KERNEL F32x16 if_nan(F32x16 x, F32x16 a, F32x16 b) {
  I32x16 r = as_i32(a);
  const I32x16 other = as_i32(b);
  for (int i = 0; i < 16; ++i) r.v[i] = x.v[i] != x.v[i] ? r.v[i] : other.v[i];
  return as_f32(r);
}

SPATE_KERNEL I32x16 add(I32x16 a, I32x16 b) {
  for (int i = 0; i < 16; ++i) {
    a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) +
                                       static_cast<std::uint32_t>(b.v[i]));
  }
  return a;
}
SPATE_KERNEL I32x16 bit_and(I32x16 a, I32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] &= b.v[i];
  return a;
}
SPATE_KERNEL I32x16 bit_or(I32x16 a, I32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] |= b.v[i];
  return a;
}
template <int N>
SPATE_KERNEL I32x16 shift_left(I32x16 x) {
  for (std::int32_t& e : x.v) {
    e = static_cast<std::int32_t>(static_cast<std::uint32_t>(e) << static_cast<unsigned>(N));
  }
  return x;
}
template <int N>
SPATE_KERNEL I32x16 shift_right(I32x16 x) {  // zeros move in
  for (std::int32_t& e : x.v) {
    e = static_cast<std::int32_t>(static_cast<std::uint32_t>(e) >> static_cast<unsigned>(N));
  }
  return x;
}
/// Nearest even; what does not fit, and NaN, becomes the smallest integer.
SPATE_KERNEL I32x16 round_i32(F32x16 x) {
  I32x16 r;
  for (int i = 0; i < 16; ++i) {
    const bool fits = x.v[i] >= -2147483648.0F && x.v[i] < 2147483648.0F;
    r.v[i] = fits ? static_cast<std::int32_t>(__builtin_rintf(x.v[i])) : INT32_MIN;
  }
  return r;
}
SPATE_KERNEL F32x16 to_f32(I32x16 x) {
  F32x16 r;
  for (int i = 0; i < 16; ++i) r.v[i] = static_cast<float>(x.v[i]);
  return r;
}

/// Lanes 8 apart are added first, then 4, 2 and 1 apart: the same tree in every instruction set.
SPATE_KERNEL float reduce_add(F32x16 x) {
  for (int n = 8; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) x.v[i] += x.v[i + n];
  }
  return x.v[0];
}
SPATE_KERNEL float reduce_max(F32x16 x) {
  for (int n = 8; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) x.v[i] = x.v[i] > x.v[i + n] ? x.v[i] : x.v[i + n];
  }
  return x.v[0];
}
SPATE_KERNEL std::int32_t reduce_add(I32x16 x) {
  std::int32_t sum = 0;
  for (const std::int32_t e : x.v) sum += e;
  return sum;
}

SPATE_KERNEL float f16_to_f32(std::uint16_t h) {
  const std::uint32_t sign = (h & 0x8000U) << 16U;
  const std::uint32_t exponent = (h >> 10U) & 31U;
  const std::uint32_t fraction = h & 0x3ffU;
  std::uint32_t u = sign;
  if (exponent == 31) {
    u |= 0x7f800000U | (fraction << 13U) | (fraction != 0 ? 0x400000U : 0U);
  } else if (exponent > 0) {
    u |= ((exponent + 112U) << 23U) | (fraction << 13U);
  } else {
    // A denormal is its fraction times 2^-24, exactly.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    std::uint32_t bits;
    std::memcpy(&bits, &magnitude, sizeof bits);
    u |= bits;
  }
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}
SPATE_KERNEL std::uint16_t f32_to_f16(float x) {
  std::uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  const auto sign = static_cast<std::uint16_t>((u >> 16U) & 0x8000U);
  u &= 0x7fffffffU;
  std::uint32_t h;
  if (u > 0x7f800000U) {
    h = 0x7e00U | ((u >> 13U) & 0x3ffU);
  } else if (u >= 0x477ff000U) {
    h = 0x7c00U;  // rounds to 65536 or more
  } else if (u >= 0x38800000U) {
    h = (u - 0x38000000U + 0xfffU + ((u >> 13U) & 1U)) >> 13U;
  } else {
    // Adding 0.5 aligns the denormal's unit, 2^-24, with the float's last bit.
    float magnitude;
    std::memcpy(&magnitude, &u, sizeof magnitude);
    magnitude += 0.5F;
    std::memcpy(&h, &magnitude, sizeof h);
    h -= 0x3f000000U;
  }
  return static_cast<std::uint16_t>(sign | h);
}
SPATE_KERNEL F32x16 load_f16(const void* p) {
  std::uint16_t h[16];
  std::memcpy(h, p, sizeof h);
  F32x16 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f16_to_f32(h[i]);
  return r;
}
SPATE_KERNEL void store_f16(void* p, F32x16 x) {
  std::uint16_t h[16];
  for (int i = 0; i < 16; ++i) h[i] = f32_to_f16(x.v[i]);
  std::memcpy(p, h, sizeof h);
}
SPATE_KERNEL F32x16 load_bf16(const void* p) {
  std::uint16_t h[16];
  std::memcpy(h, p, sizeof h);
  I32x16 r;
  for (int i = 0; i < 16; ++i) {
    r.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(h[i]) << 16U);
  }
  return as_f32(r);
}
/// The low halves of the lanes, 32 bytes.
SPATE_KERNEL void store_low16(void* p, I32x16 x) {
  std::uint16_t h[16];
  for (int i = 0; i < 16; ++i) h[i] = static_cast<std::uint16_t>(x.v[i]);
  std::memcpy(p, h, sizeof h);
}
/// The half-precision values in the low halves of the lanes.
SPATE_KERNEL F32x16 low_f16(I32x16 x) {
  F32x16 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f16_to_f32(static_cast<std::uint16_t>(x.v[i]));
  return r;
}
/// The low bytes of the lanes, 16 bytes.
SPATE_KERNEL void store_low8(void* p, I32x16 x) {
  std::int8_t b[16];
  for (int i = 0; i < 16; ++i) b[i] = static_cast<std::int8_t>(x.v[i]);
  std::memcpy(p, b, sizeof b);
}

/// Rows become columns.
SPATE_KERNEL void transpose(I32x16* rows) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const std::int32_t t = rows[i].v[j];
      rows[i].v[j] = rows[j].v[i];
      rows[j].v[i] = t;
    }
  }
}

/// acc + a0 * b0 + a1 * b1 on the bfloat16 pairs of each lane. The odd product is added first, as
/// the instruction does; products of two bfloat16 are exact.
SPATE_KERNEL F32x16 dot2(F32x16 acc, I32x16 a, I32x16 b) {
  const I32x16 high = set1_i32(static_cast<int>(0xffff0000U));
  acc = fma(as_f32(bit_and(a, high)), as_f32(bit_and(b, high)), acc);
  return fma(as_f32(shift_left<16>(a)), as_f32(shift_left<16>(b)), acc);
}

/// acc + the four products of bytes of each lane: u8 of `a` times s8 of `b`, without saturation.
SPATE_KERNEL I32x16 dot4(I32x16 acc, I32x16 a, I32x16 b) {
  for (int i = 0; i < 16; ++i) {
    std::uint8_t u[4];
    std::int8_t s[4];
    std::memcpy(u, &a.v[i], 4);
    std::memcpy(s, &b.v[i], 4);
    for (int j = 0; j < 4; ++j) acc.v[i] += u[j] * s[j];
  }
  return acc;
}
/// As dot4 but on weights of 0 to 15, and with the offset of 128 already taken out of q8 weights
/// where kQ8OffsetInStart says so: what the tiles of gemm.h are made of.
SPATE_KERNEL I32x16 dot4_q8(I32x16 acc, I32x16 a, I32x16 b) { return dot4(acc, a, b); }
inline constexpr bool kQ8OffsetInStart = true;
SPATE_KERNEL I32x16 dot4_nibbles(I32x16 acc, I32x16 a, I32x16 b) { return dot4(acc, a, b); }
SPATE_KERNEL I32x16 low_nibbles(I32x16 x) { return bit_and(x, set1_i32(0x0f0f0f0f)); }
SPATE_KERNEL I32x16 high_nibbles(I32x16 x) { return low_nibbles(shift_right<4>(x)); }
/// How much larger than their value the high nibbles come out.
inline constexpr int kHighNibbleShift = 0;

}  // namespace spate::kernels::cpu::generic
