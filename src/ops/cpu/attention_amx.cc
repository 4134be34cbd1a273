#include "spate/kernels/cpu/attention_amx.h"

#include "ops/cpu/attention_kernels.h"

namespace spate::ops::cpu {

kernels::cpu::AttentionKernels attention_bf16_amx() {
  using namespace kernels::cpu::SPATE_CPU_ISA;  // NOLINT(google-build-using-namespace)
  return attention_kernels_with<Bf16Tiles>();
}

}  // namespace spate::ops::cpu
