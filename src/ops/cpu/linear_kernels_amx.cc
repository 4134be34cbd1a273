#include "ops/cpu/linear_kernels.h"
#include "spate/kernels/cpu/gemm_amx_few.h"
#include "spate/kernels/cpu/gemm_amx_int8.h"

namespace spate::ops::cpu {

namespace isa = kernels::cpu::SPATE_CPU_ISA;
using kernels::cpu::PanelFormat;

void use_amx(LinearKernels& kernels) {
  kernels.multiply[static_cast<int>(PanelFormat::kBF16)] = isa::multiply_panels_bf16_amx;
  kernels.multiply_in_place = isa::multiply_in_place_bf16_amx;
  kernels.multiply[static_cast<int>(PanelFormat::kQ8)] =
      isa::multiply_panels_int8_amx<PanelFormat::kQ8>;
  kernels.multiply[static_cast<int>(PanelFormat::kQ4)] =
      isa::multiply_panels_int8_amx<PanelFormat::kQ4>;
}

}  // namespace spate::ops::cpu
