// The streaming product's launches, each format compiled in a file of its own: the kernels take
// long to compile, and their callers need only this.
#pragma once

#include "spate/kernels/cuda/gemm_stream_params.cuh"

namespace spate::ops::cuda {

/// kernels/cuda/gemm_stream.cuh. cudaErrorInvalidValue where supports_stream_gemm says no.
cudaError_t stream_gemm(spate::cuda::StreamFormat format,
                        const spate::cuda::StreamGemmParams& params, int sm_count,
                        cudaStream_t stream);

cudaError_t stream_gemm_bf16(const spate::cuda::StreamGemmParams& params, int sm_count,
                             cudaStream_t stream);
cudaError_t stream_gemm_f16(const spate::cuda::StreamGemmParams& params, int sm_count,
                            cudaStream_t stream);
cudaError_t stream_gemm_fp8(const spate::cuda::StreamGemmParams& params, int sm_count,
                            cudaStream_t stream);
cudaError_t stream_gemm_q8(const spate::cuda::StreamGemmParams& params, int sm_count,
                           cudaStream_t stream);
cudaError_t stream_gemm_q4(const spate::cuda::StreamGemmParams& params, int sm_count,
                           cudaStream_t stream);

}  // namespace spate::ops::cuda
