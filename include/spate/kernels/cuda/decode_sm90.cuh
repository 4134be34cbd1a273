// Decode attention for Hopper (sm_90a): one to a few queries a request over a cache of KV blocks,
// bf16 or f16 queries, bf16, f16 or e4m3 cache. Public: DecodeParams, DecodeVariant, DecodeKernel,
// launch_decode; the work list is plan_decode's (decode_plan.h). The kernel owns nothing.
//
// It is a memory stream with a little arithmetic attached (about 4 * columns operations a byte
// at 4.6 TB/s), and everything serves the stream: the cache holds blocks as shared memory wants
// them, so a page is one bulk copy; a host-made list deals the blocks out to a persistent grid, one
// thread block an SM; a producer warp keeps the ring full; consumer warps never wait for each
// other; epilogue warps keep stores, atomics and merges off the stream.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/decode_consumer.cuh"
#include "spate/kernels/cuda/decode_epilogue.cuh"
#include "spate/kernels/cuda/decode_producer.cuh"
#include "spate/kernels/cuda/launch.cuh"

namespace spate::cuda {

template <class C>
__global__ __launch_bounds__(C::kThreads,
                             1) void decode_kernel(const __grid_constant__ DecodeArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs: decode_mma.cuh
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const DecodeShared<C> shared(smem);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  constexpr int kProducer = C::kWarps + C::kEpilogueWarps;
  DecodeShare share;
  bool started = false;
  if (warp == kProducer) {
    share = args.p.shares[blockIdx.x];
    if (elect_one()) shared.init();
    __syncwarp();
    started = DecodeProducer<C>(args, shared).start(share);
  }
  __syncthreads();
  grid_launch_dependents();
  if (warp == kProducer) {
    DecodeProducer<C>(args, shared).run(share, started);
  } else if (warp >= C::kWarps) {
    DecodeEpilogue<C>(args, shared, static_cast<int>(threadIdx.x) - C::kWarps * 32).run();
  } else {
    DecodeConsumer<C>(args, shared).run();
  }
#endif
}

// Launches on `stream`; captures into graphs.
template <class Variant>
cudaError_t launch_decode(const DecodeParams& p, cudaStream_t stream) {
  using C = DecodeKernel<Variant>;
  if (p.grid == 0) return cudaSuccess;
  const bool page_fits = p.page_tokens >= 16 && (p.page_tokens & (p.page_tokens - 1)) == 0;
  const bool grouped = p.kv_heads > 0 && p.q_heads % p.kv_heads == 0;
  if (!page_fits || !grouped || p.q_heads / p.kv_heads > C::kColumns) return cudaErrorInvalidValue;
  DecodeArguments args{p, p.q_heads / p.kv_heads, 0};
  while (1 << args.page_shift < p.page_tokens) ++args.page_shift;
  if (C::kInt8 && p.page_tokens != C::kBlockTokens) return cudaErrorInvalidValue;
  if (args.p.head_stride == 0)
    args.p.head_stride = std::int64_t{2} * p.page_tokens * (C::kRowBytes + C::kScaleBytes);
  if (args.p.page_stride == 0) args.p.page_stride = args.p.head_stride * p.kv_heads;
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(p.grid)),
                          .threads = C::kThreads,
                          .dependent = p.dependent_launch,
                          .shared_bytes = static_cast<int>(C::kSharedBytes)};
  return launch_kernel(decode_kernel<C>, args, shape, stream);
}

}  // namespace spate::cuda
