#include "spate/kernels/cpu/peaks_amx.h"

#include "ops/cpu/peaks.h"

namespace spate::ops::cpu {

namespace isa = kernels::cpu::SPATE_CPU_ISA;

void use_amx(PeakKernels& kernels) {
  kernels.int8_rounds = isa::int8_rounds_amx;
  kernels.bf16_rounds = isa::bf16_rounds_amx;
}

}  // namespace spate::ops::cpu
