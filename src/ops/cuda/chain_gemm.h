// The chain product's launches, each type of weights compiled in a file of its own.
#pragma once

#include "spate/kernels/cuda/gemm_chain_params.cuh"

namespace spate::ops::cuda {

/// kernels/cuda/gemm_chain.cuh. cudaErrorInvalidValue where supports_chain_gemm says no.
cudaError_t chain_gemm_bf16(const spate::cuda::ChainGemmParams& params, int sm_count,
                            cudaStream_t stream);
cudaError_t chain_gemm_f16(const spate::cuda::ChainGemmParams& params, int sm_count,
                           cudaStream_t stream);

}  // namespace spate::ops::cuda
