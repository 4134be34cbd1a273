#include "sample/row_kernels_impl.h"

namespace spate::internal {

const RowKernels* avx2_kernels() {
  static constexpr RowKernels kKernels = make_kernels<8>("avx2");
  // The compiler may use whatever the flags of this file allow, so all of it is asked for.
  const bool supported = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  return supported ? &kKernels : nullptr;
}

}  // namespace spate::internal
