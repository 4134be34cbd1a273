#include "ops/cpu/linear_kernels.h"
#include "spate/kernels/cpu/gemm_amx.h"

namespace spate::ops::cpu {

namespace isa = kernels::cpu::SPATE_CPU_ISA;
using kernels::cpu::PanelFormat;

void use_amx(LinearKernels& kernels) {
  kernels.multiply[static_cast<int>(PanelFormat::kBF16)] = isa::multiply_panel_bf16_amx;
}

}  // namespace spate::ops::cpu
