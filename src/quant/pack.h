// The packing kernels of each instruction set, as function pointers. What they do:
// include/spate/kernels/cpu/pack_panel.h.
#pragma once

#include "spate/kernels/cpu/arguments.h"

namespace spate {

using PackPanel = void (*)(const kernels::cpu::PackPanelArgs& args);

void pack_panel_generic(const kernels::cpu::PackPanelArgs& args);
void pack_panel_avx2(const kernels::cpu::PackPanelArgs& args);
void pack_panel_avx512(const kernels::cpu::PackPanelArgs& args);

}  // namespace spate
