// Product of 17 to 64 rows with a bf16 or f16 weight matrix, for Hopper (sm_90a): the part of
// gemm_chain.cuh that uses the matrix instruction of a warpgroup. Same parameters, outputs and
// bits. Public: launch_wide_chain_gemm. The kernel owns nothing.
//
// Every block takes an equal band of the weights, to the octet of rows, and runs all of it past x
// side by side: weights are read once, and x once a block.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_map.cuh"
#include "spate/kernels/cuda/gemm_chain_wide_consumer.cuh"
#include "spate/kernels/cuda/launch.cuh"

namespace spate::cuda {

// One thread.
template <class C>
__device__ __forceinline__ void wide_chain_copy_weights(const WideChainArguments& a,
                                                        const WideChainShared<C>& s) {
  const WideChainWork work(a);
  WideChainRing ring(a.stages, 1);
  for (int pass = 0; pass < a.passes; ++pass) {
    const int first = work.first(pass), count = work.count(pass);
    for (int slab = 0; slab < a.slabs; ++slab, ring.next()) {
      const std::uint32_t full = s.full + 8 * ring.stage;
      const std::uint32_t to =
          s.weights + static_cast<std::uint32_t>(ring.stage * a.octets * C::kOctetBytes);
      mbar_wait(s.empty + 8 * ring.stage, ring.parity);
      mbar_expect_bytes(full, static_cast<std::uint32_t>(count * C::kOctetBytes));
      for (int o = 0; o < count; ++o) {
        tensor_load(to + o * C::kOctetBytes, &a.weights, full,
                    {0, WideChainWork::row(a, first + o), slab * C::kChunks, 0}, kEvictFirst);
      }
    }
  }
}

// One thread. Only rows that there are: boxes that reach beyond the end of x are slow. What shared
// memory holds in place of the others makes sums that nobody stores.
template <class C>
__device__ __forceinline__ void wide_chain_copy_rows(const WideChainArguments& a,
                                                     const WideChainShared<C>& s) {
  WideChainRing ring(a.stages, 1);
  grid_dependency_wait();
  for (int i = 0; i < a.passes * a.slabs; ++i, ring.next()) {
    const std::uint32_t full = s.full + 8 * ring.stage;
    const std::uint32_t to = s.rows + ring.stage * C::kRowBytes;
    mbar_wait(s.empty + 8 * ring.stage, ring.parity);
    mbar_expect_bytes(full, static_cast<std::uint32_t>(a.p.rows * 128 * C::kChunks));
#pragma unroll
    for (int c = 0; c < C::kChunks; ++c) {
      tensor_load(to + c * C::kRowChunkBytes, &a.rows, full,
                  {0, 0, i % a.slabs * C::kChunks + c, 0}, kEvictNormal);
    }
  }
}

template <class C>
__global__ __launch_bounds__(C::kThreads, 1) void wide_chain_gemm_kernel(
    const __grid_constant__ WideChainArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const WideChainShared<C> shared(smem, args.stages);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) shared.init(args.stages);
  __syncthreads();
  grid_launch_dependents();
  if (warp < 4 * C::kWarpgroups) {
    WideChainConsumer<C>(args, shared, warp).run();
  } else if (elect_one()) {
    if (warp == 4 * C::kWarpgroups) {
      wide_chain_copy_weights<C>(args, shared);
    } else {
      wide_chain_copy_rows<C>(args, shared);
    }
  }
#endif
}

// Launches on `stream`; captures into graphs. p.copies_in_flight does not count here.
template <class T>
cudaError_t launch_wide_chain_gemm(const ChainGemmParams& p, int sm_count, cudaStream_t stream) {
  using C = WideChainKernel<T>;
  WideChainArguments a{.p = p};
  deal_wide_chain<C>(a, sm_count);
  if (const auto e = encode_chain_map(&a.weights, {p.weights, p.n, p.k, p.k, 8, C::kChunks});
      e != cudaSuccess) {
    return e;
  }
  if (const auto e = encode_chain_map(&a.rows, {p.x, p.rows, p.x_stride, p.k, p.rows, 1});
      e != cudaSuccess) {
    return e;
  }
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(sm_count)),
                          .threads = C::kThreads,
                          .dependent = p.dependent_launch,
                          .shared_bytes = C::kSharedBytes};
  return launch_kernel(wide_chain_gemm_kernel<C>, a, shape, stream);
}

}  // namespace spate::cuda
