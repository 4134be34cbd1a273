// Activation functions on vectors. Errors are a few units in the last place, except that erf is
// Abramowitz and Stegun's 7.1.26 (absolute error 1.5e-7).
#pragma once

#include "spate/kernels/cpu/arguments.h"
#include "spate/kernels/cpu/simd.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

inline constexpr float kLog2E = 1.44269504F;

/// x / (1 + e^(-c x)).
SPATE_KERNEL F32x16 times_sigmoid(F32x16 x, F32x16 cx) {
  const F32x16 e = exp2(mul(cx, set1_f32(-kLog2E)));
  return div(x, add(set1_f32(1.0F), e));
}

/// 0.5 x (1 + erf(x / sqrt 2)).
SPATE_KERNEL F32x16 gelu(F32x16 x) {
  const F32x16 one = set1_f32(1.0F);
  const F32x16 z = mul(abs(x), set1_f32(0.707106781F));
  const F32x16 t = div(one, fma(z, set1_f32(0.3275911F), one));
  F32x16 p = set1_f32(1.061405429F);
  p = fma(p, t, set1_f32(-1.453152027F));
  p = fma(p, t, set1_f32(1.421413741F));
  p = fma(p, t, set1_f32(-0.284496736F));
  p = fma(p, t, set1_f32(0.254829592F));
  // 1 - erf(|z|): what is left of x on its negative side
  const F32x16 rest = mul(mul(p, t), exp2(mul(mul(z, z), set1_f32(-kLog2E))));
  const F32x16 half_rest = mul(set1_f32(0.5F), rest);
  return mul(x, if_greater(x, set1_f32(0.0F), sub(one, half_rest), half_rest));
}

/// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
SPATE_KERNEL F32x16 gelu_tanh(F32x16 x) {
  const F32x16 cube = mul(mul(x, x), x);
  const F32x16 inner = fma(cube, set1_f32(0.044715F), x);
  return times_sigmoid(x, mul(inner, set1_f32(1.59576912F)));
}

SPATE_KERNEL F32x16 activated(ActivationKind kind, F32x16 x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return times_sigmoid(x, x);
    case ActivationKind::kGelu:
      return gelu(x);
    case ActivationKind::kGeluTanh:
      return gelu_tanh(x);
    case ActivationKind::kRelu:
      return if_greater(set1_f32(0.0F), x, set1_f32(0.0F), x);
    default:
      return times_sigmoid(x, mul(x, set1_f32(1.702F)));
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
