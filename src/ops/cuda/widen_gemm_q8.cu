#include "ops/cuda/widen_gemm.h"
#include "spate/kernels/cuda/gemm_widen.cuh"

namespace spate::ops::cuda {

cudaError_t widen_gemm_q8(const spate::cuda::WidenGemmParams& params, int sm_count,
                          cudaStream_t stream) {
  return spate::cuda::launch_widen_gemm<8>(params, sm_count, stream);
}

}  // namespace spate::ops::cuda
