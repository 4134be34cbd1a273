#include "ops/cpu/linear_kernels.h"
#include "spate/kernels/cpu/epilogue.h"
#include "spate/kernels/cpu/gemm.h"
#include "spate/kernels/cpu/head.h"

namespace spate::ops::cpu {

namespace isa = kernels::cpu::SPATE_CPU_ISA;
using kernels::cpu::PanelFormat;

LinearKernels linear_kernels_generic() {
  return {
      .multiply = {isa::multiply_panels<PanelFormat::kF32>, isa::multiply_panels<PanelFormat::kF16>,
                   isa::multiply_panels<PanelFormat::kWideBF16>,
                   isa::multiply_panels<PanelFormat::kBF16>, isa::multiply_panels<PanelFormat::kQ8>,
                   isa::multiply_panels<PanelFormat::kQ4>},
      .pack_row = isa::pack_row,
      .store = isa::store_tile,
      .activate = isa::activate_tile,
      .finish_head = isa::finish_head,
      .widen_row = isa::widen_row};
}

}  // namespace spate::ops::cpu
