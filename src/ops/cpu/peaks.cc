#include "ops/cpu/peaks.h"

namespace spate::ops::cpu {

PeakKernels peak_kernels(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512:
      return peak_kernels_avx512();
    case CpuIsa::kAvx2:
      return peak_kernels_avx2();
    default:
      return peak_kernels_generic();
  }
}

}  // namespace spate::ops::cpu
