#include "ops/cuda/stream_gemm.h"

namespace spate::ops::cuda {

cudaError_t stream_gemm(spate::cuda::StreamFormat format,
                        const spate::cuda::StreamGemmParams& params, int sm_count,
                        cudaStream_t stream) {
  using spate::cuda::StreamFormat;
  switch (format) {
    case StreamFormat::kF16:
      return stream_gemm_f16(params, sm_count, stream);
    case StreamFormat::kFp8:
      return stream_gemm_fp8(params, sm_count, stream);
    case StreamFormat::kQ8:
      return stream_gemm_q8(params, sm_count, stream);
    case StreamFormat::kQ4:
      return stream_gemm_q4(params, sm_count, stream);
    default:
      return stream_gemm_bf16(params, sm_count, stream);
  }
}

}  // namespace spate::ops::cuda
