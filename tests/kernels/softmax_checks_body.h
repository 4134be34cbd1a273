#pragma once
// The body of the checks in softmax_checks.h, included once per instruction set.
#include "spate/kernels/cpu/softmax.h"
#include "tests/kernels/softmax_checks.h"

#define SPATE_JOIN2(a, b) a##b
#define SPATE_JOIN(a, b) SPATE_JOIN2(a, b)

namespace spate::kernels_test {

namespace isa = kernels::cpu::SPATE_CPU_ISA;

void SPATE_JOIN(exp2_below_, SPATE_CPU_ISA)(const float* x, float* fine, float* coarse,
                                            std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) {
    isa::store_f32(fine + i, isa::exp2_below(isa::load_f32(x + i), isa::kExp2Fine));
    isa::store_f32(coarse + i, isa::exp2_below(isa::load_f32(x + i), isa::kExp2Coarse));
  }
}

void SPATE_JOIN(row_maxima_, SPATE_CPU_ISA)(const float* rows, int n, float* maxima) {
  isa::F32x16 vectors[16];
  for (int r = 0; r < n; ++r) vectors[r] = isa::load_f32(rows + r * 16);
  isa::store_f32(maxima, isa::row_maxima(vectors, n));
}

}  // namespace spate::kernels_test
