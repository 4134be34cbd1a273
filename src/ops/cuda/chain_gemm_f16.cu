#include "ops/cuda/chain_gemm.h"
#include "spate/kernels/cuda/gemm_chain.cuh"

namespace spate::ops::cuda {

cudaError_t chain_gemm_f16(const spate::cuda::ChainGemmParams& params, int sm_count,
                           cudaStream_t stream) {
  return spate::cuda::launch_chain_gemm<__half>(params, sm_count, stream);
}

}  // namespace spate::ops::cuda
