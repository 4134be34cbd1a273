#include "ops/cuda/stream_gemm.h"
#include "spate/kernels/cuda/gemm_stream.cuh"

namespace spate::ops::cuda {

cudaError_t stream_gemm_f16(const spate::cuda::StreamGemmParams& params, int sm_count,
                            cudaStream_t stream) {
  return spate::cuda::launch_stream_gemm<spate::cuda::StreamFormat::kF16>(params, sm_count, stream);
}

}  // namespace spate::ops::cuda
