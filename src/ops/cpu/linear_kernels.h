// The kernels of linear maps as function pointers, one table per instruction set, filled from the
// same source.
#pragma once

#include "spate/kernels/cpu/arguments.h"

namespace spate {
class Device;
}

namespace spate::ops::cpu {

struct LinearKernels {
  void (*multiply[6])(const kernels::cpu::MultiplyArgs&) = {};  // by WeightFormat
  void (*pack_row)(const kernels::cpu::PackRowArgs&) = nullptr;
  void (*store)(const kernels::cpu::StoreArgs&) = nullptr;
  void (*activate)(const kernels::cpu::ActivateArgs&) = nullptr;
  void (*finish_head)(const kernels::cpu::HeadArgs&) = nullptr;
  void (*widen_row)(kernels::cpu::Element, const std::uint8_t*, std::int64_t, float*) = nullptr;
  /// bf16 weights that are not packed, or null where they must be.
  void (*multiply_in_place)(const kernels::cpu::InPlaceArgs&) = nullptr;
};

LinearKernels linear_kernels_generic();
LinearKernels linear_kernels_avx2();
LinearKernels linear_kernels_avx512();

/// Replaces the multiplications that AMX does better. On top of AVX-512.
void use_amx(LinearKernels& kernels);

/// What a device runs.
LinearKernels linear_kernels(const Device& device);

}  // namespace spate::ops::cpu
