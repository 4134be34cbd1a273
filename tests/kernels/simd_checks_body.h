#pragma once
// The body of the checks in simd_checks.h. Included once per instruction set, after SUFFIX is
// defined as the set's name.
#include "spate/kernels/cpu/simd.h"
#include "tests/kernels/simd_checks.h"

#define SPATE_JOIN2(a, b) a##b
#define SPATE_JOIN(a, b) SPATE_JOIN2(a, b)

namespace spate::kernels_test {

namespace isa = kernels::cpu::SPATE_CPU_ISA;

void SPATE_JOIN(simd_results_, SPATE_CPU_ISA)(const float* in, const std::uint8_t* bytes,
                                              SimdResults* out) {
  const isa::F32x16 a = isa::load_f32(in);
  const isa::F32x16 b = isa::load_f32(in + 16);
  const isa::F32x16 c = isa::load_f32(in + 32);
  const isa::I32x16 u = isa::load_i32(bytes);
  const isa::I32x16 s = isa::load_i32(bytes + 64);
  const isa::F32x16 floats[] = {isa::add(a, b),
                                isa::sub(a, b),
                                isa::mul(a, b),
                                isa::div(a, b),
                                isa::fma(a, b, c),
                                isa::max(a, b),
                                isa::min(a, b),
                                isa::abs(a),
                                isa::if_greater(a, b, c, a),
                                isa::if_nan(a, b, c),
                                isa::sqrt(isa::abs(b)),
                                isa::load_f32_first(in, 11)};
  for (int i = 0; i < 12; ++i) isa::store_f32(out->arithmetic[i], floats[i]);
  isa::store_f32_first(out->arithmetic[11], a, 3);
  const isa::F32x16 d = isa::load_f32(in + 48);
  out->reduced[0] = isa::reduce_add(d);
  out->reduced[1] = isa::reduce_max(d);
  out->reduced[2] = static_cast<float>(isa::reduce_add(isa::round_i32(d)));
  out->reduced[3] = isa::reduce_add(b);
  const isa::I32x16 integers[] = {
      isa::round_i32(a),     isa::add(u, s),
      isa::bit_and(u, s),    isa::bit_or(u, s),
      isa::shift_left<5>(u), isa::shift_right<5>(u),
      isa::dot4(u, u, s),    isa::dot4_nibbles(s, isa::low_nibbles(u), s),
      isa::bf16_bits(a),     isa::broadcast4(bytes + 8)};
  for (int i = 0; i < 10; ++i) isa::store_i32(out->integers[i], integers[i]);
  isa::store_f16(out->halves[0], a);
  isa::store_f16(out->halves[1], isa::load_f16(bytes));
  isa::store_low16(out->halves[2], u);
  isa::store_f16(out->halves[3], isa::low_f16(isa::bit_and(u, isa::set1_i32(0x3bff))));
  isa::I32x16 t[16];
  for (int i = 0; i < 16; ++i) t[i] = isa::add(u, isa::set1_i32(i));
  isa::transpose(t);
  for (int i = 0; i < 16; ++i) isa::store_i32(out->transposed[i], t[i]);
}

void SPATE_JOIN(exp2_, SPATE_CPU_ISA)(const float* x, float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) isa::store_f32(y + i, isa::exp2(isa::load_f32(x + i)));
}

}  // namespace spate::kernels_test
