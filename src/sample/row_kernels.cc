#include "sample/row_kernels.h"

#include "sample/row_kernels_impl.h"

namespace spate::internal {

const RowKernels* baseline_kernels() {
  static constexpr RowKernels kKernels = make_kernels<4>("baseline");
  return &kKernels;
}

const RowKernels& row_kernels() {
  if (const RowKernels* kernels = avx512_kernels()) return *kernels;
  if (const RowKernels* kernels = avx2_kernels()) return *kernels;
  return *baseline_kernels();
}

}  // namespace spate::internal
