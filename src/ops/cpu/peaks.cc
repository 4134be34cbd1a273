#include "ops/cpu/peaks.h"

namespace spate::ops::cpu {
namespace {

PeakKernels vector_kernels(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512:
      return peak_kernels_avx512();
    case CpuIsa::kAvx2:
      return peak_kernels_avx2();
    default:
      return peak_kernels_generic();
  }
}

}  // namespace

PeakKernels peak_kernels(const Device& device) {
  PeakKernels kernels = vector_kernels(device.isa());
  if (device.amx()) use_amx(kernels);
  return kernels;
}

}  // namespace spate::ops::cpu
