#include "ops/cpu/peaks.h"
#include "spate/kernels/cpu/peaks.h"

namespace spate::ops::cpu {

namespace isa = kernels::cpu::SPATE_CPU_ISA;

PeakKernels peak_kernels_avx2() {
  return {.int8_rounds = isa::int8_rounds,
          .bf16_rounds = isa::bf16_rounds,
          .f32_rounds = isa::f32_rounds,
          .read_bytes = isa::read_bytes};
}

}  // namespace spate::ops::cpu
