// The machine's ceilings as kernels, for `bench roofline` and the benchmarks: how fast products in
// registers and a plain read are, with the instructions that the linear maps use.
#pragma once

#include <cstdint>

#include "device/device.h"

namespace spate::ops::cpu {

struct PeakKernels {
  double (*int8_rounds)(std::int64_t n);  // return operations done
  double (*bf16_rounds)(std::int64_t n);
  double (*f32_rounds)(std::int64_t n);
  void (*read_bytes)(const std::uint8_t* p, std::int64_t n_bytes);
};

PeakKernels peak_kernels_generic();
PeakKernels peak_kernels_avx2();
PeakKernels peak_kernels_avx512();

/// Replaces the products that AMX does better. On top of AVX-512.
void use_amx(PeakKernels& kernels);

/// What a device runs.
PeakKernels peak_kernels(const Device& device);

}  // namespace spate::ops::cpu
