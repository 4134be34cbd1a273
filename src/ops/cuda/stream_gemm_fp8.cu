#include "ops/cuda/stream_gemm.h"
#include "spate/kernels/cuda/gemm_stream.cuh"

namespace spate::ops::cuda {

cudaError_t stream_gemm_fp8(const spate::cuda::StreamGemmParams& params, int sm_count,
                            cudaStream_t stream) {
  return spate::cuda::launch_stream_gemm<spate::cuda::StreamFormat::kFp8>(params, sm_count, stream);
}

}  // namespace spate::ops::cuda
