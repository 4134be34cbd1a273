// The widening product's launches, each format compiled in a file of its own, as the streaming
// product's are (stream_gemm.h).
#pragma once

#include "spate/kernels/cuda/gemm_widen_params.cuh"

namespace spate::ops::cuda {

/// kernels/cuda/gemm_widen.cuh. cudaErrorInvalidValue where supports_widen_gemm says no.
cudaError_t widen_gemm_q8(const spate::cuda::WidenGemmParams& params, int sm_count,
                          cudaStream_t stream);
cudaError_t widen_gemm_q4(const spate::cuda::WidenGemmParams& params, int sm_count,
                          cudaStream_t stream);

}  // namespace spate::ops::cuda
