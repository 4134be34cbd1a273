#include "quant/pack.h"
#include "spate/kernels/cpu/pack_panel.h"

namespace spate {

void pack_panel_avx2(const kernels::cpu::PackPanelArgs& args) {
  kernels::cpu::SPATE_CPU_ISA::pack_panel(args);
}

}  // namespace spate
