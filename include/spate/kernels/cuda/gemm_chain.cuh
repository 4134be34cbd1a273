// Product with a bf16 or f16 weight matrix, for Hopper (sm_90a): y = x W^T, with bias, residual or
// gate. Here up to 16 rows; up to 64 are gemm_chain_wide.cuh's, narrow and gated results of more
// rows gemm_chain_tiles.cuh's. Public: ChainGemmParams, supports_chain_gemm, launch_chain_gemm. The
// kernel owns nothing.
//
// Every sum is one chain of the matrix instruction over ascending k, as in the library's kernels
// for many rows, and so has their bits: they depend neither on the number of rows nor on how the
// work is dealt out. A link of a chain takes 24 cycles, so that a warp alone eats weights as fast
// as an SM gets them, if nothing stands between the links: weights and x come through rings of
// shared memory (that of the weights is filled before the kernel's predecessor has ended), and
// operands are loaded ahead.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_consumer.cuh"
#include "spate/kernels/cuda/gemm_chain_map.cuh"
#include "spate/kernels/cuda/gemm_chain_params.cuh"
#include "spate/kernels/cuda/gemm_chain_tiles.cuh"
#include "spate/kernels/cuda/gemm_chain_wide.cuh"
#include "spate/kernels/cuda/launch.cuh"

namespace spate::cuda {

// One thread. The first copies begin before anything else.
template <class C>
class ChainWeightCopies {
 public:
  __device__ __forceinline__ ChainWeightCopies(const ChainArguments& a, const ChainShared<C>& s)
      : a_(a), shared_(s), work_(a), left_(work_.tiles * a.slabs) {
    end_ = min(work_.group, work_.tiles);
  }

  __device__ __forceinline__ void start() {
    while (left_ > 0 && place_.stage < in_flight()) copy();
  }
  __device__ __forceinline__ void finish() {
    while (left_ > 0) {
      mbar_wait(shared_.weight_empty + 8 * place_.stage, place_.parity ^ 1);
      // More copies in flight than the memory needs only delay each other and everyone else's.
      mbar_wait(shared_.weight_full + 8 * oldest_.stage, oldest_.parity);
      oldest_.next();
      copy();
    }
  }

 private:
  __device__ __forceinline__ int in_flight() const {
    // Measured: 32 KB for a tile of 16 rows, 48 for two, 64 for more.
    const int kilobytes = a_.p.copies_in_flight > 0
                              ? a_.p.copies_in_flight
                              : 16 + 16 * min(3, work_.group * C::kOctets / 2);
    return min(max(1, kilobytes * 1024 / C::kStageBytes), C::kStages - work_.group);
  }
  __device__ __forceinline__ void copy() {
    const std::uint32_t full = shared_.weight_full + 8 * place_.stage;
    const int tile = ChainWork<C>::tile(first_ + in_group_);
    mbar_expect_bytes(full, C::kStageBytes);
#pragma unroll
    for (int o = 0; o < C::kOctets; ++o) {
      tensor_load(shared_.weights + place_.stage * C::kStageBytes + o * C::kOctetBytes, &a_.weights,
                  full, {0, ChainWork<C>::row(a_, tile, o), slab_ * C::kChunks, 0}, kEvictFirst);
    }
    place_.next();
    --left_;
    if (first_ + ++in_group_ < end_) return;
    in_group_ = 0;
    if (++slab_ < a_.slabs) return;
    slab_ = 0;
    first_ = end_;
    end_ = min(first_ + work_.group, work_.tiles);
  }

  const ChainArguments& a_;
  const ChainShared<C>& shared_;
  ChainWork<C> work_;
  Ring<C::kStages> place_{0}, oldest_{0};
  int left_, first_ = 0, end_, slab_ = 0, in_group_ = 0;
};

// One thread.
template <class C>
__device__ __forceinline__ void chain_copy_rows(const ChainArguments& a, const ChainShared<C>& s) {
  const ChainWork<C> work(a);
  Ring<C::kRowStages> ring(1);
  grid_dependency_wait();
  for (int first = 0; first < work.tiles; first += work.group) {
    for (int slab = 0; slab < a.slabs; ++slab, ring.next()) {
      const std::uint32_t full = s.row_full + 8 * ring.stage;
      mbar_wait(s.row_empty + 8 * ring.stage, ring.parity);
      mbar_expect_bytes(full, C::kRowBytes);
      tensor_load(s.rows + ring.stage * C::kRowBytes, &a.rows, full, {0, 0, slab * C::kChunks, 0},
                  kEvictNormal);
    }
  }
}

template <class C>
__global__ __launch_bounds__(C::kThreads, 1) void chain_gemm_kernel(
    const __grid_constant__ ChainArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const ChainShared<C> shared(smem);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  ChainWeightCopies<C> weights(args, shared);
  const bool copies_weights = threadIdx.x == 32 * C::kWarps;
  if (copies_weights) {
    prefetch_tensor_map(&args.weights);
    shared.init();
    weights.start();
  }
  grid_launch_dependents();
  __syncthreads();
  if (warp < C::kWarps) {
    ChainConsumer<C>(args, shared, warp).run();
  } else if (copies_weights) {
    weights.finish();
  } else if (threadIdx.x == 32 * C::kWarps + 32) {
    chain_copy_rows<C>(args, shared);
  }
#endif
}

template <class C>
cudaError_t launch_chain_kernel(const ChainGemmParams& p, int sm_count, cudaStream_t stream) {
  ChainArguments a{.p = p};
  a.tiles = static_cast<int>((p.n / 8 + C::kOctets - 1) / C::kOctets);
  a.slabs = static_cast<int>((p.k + C::kSlab - 1) / C::kSlab);
  if (const auto e = encode_chain_map(&a.weights, {p.weights, p.n, p.k, p.k, 8, C::kChunks});
      e != cudaSuccess) {
    return e;
  }
  if (const auto e =
          encode_chain_map(&a.rows, {p.x, p.rows, p.x_stride, p.k, C::kTokens, C::kChunks});
      e != cudaSuccess) {
    return e;
  }
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(std::min(a.tiles, sm_count))),
                          .threads = C::kThreads,
                          .dependent = p.dependent_launch,
                          .shared_bytes = C::kSharedBytes};
  return launch_kernel(chain_gemm_kernel<C>, a, shape, stream);
}

template <class T, int kOctets>
cudaError_t launch_chain_rows(const ChainGemmParams& p, int sm_count, cudaStream_t stream) {
  return p.rows > 8 ? launch_chain_kernel<ChainKernel<T, 16, kOctets>>(p, sm_count, stream)
                    : launch_chain_kernel<ChainKernel<T, 8, kOctets>>(p, sm_count, stream);
}

// Launches on `stream`; captures into graphs. Tiles have 16 rows of W, or 8 where that deals the
// matrix out to the SMs more evenly.
template <class T>
cudaError_t launch_chain_gemm(const ChainGemmParams& p, int sm_count, cudaStream_t stream) {
  const bool gated = p.output == ProductOutput::kGated;
  if (!supports_chain_gemm(p.n, p.k, gated) || p.rows < 0) return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  if (p.rows > kWideChainRows || p.tile_width != 0) {
    return launch_chain_tiles<T>(p, sm_count, stream);
  }
  if (p.rows > kNarrowChainRows) return launch_wide_chain_gemm<T>(p, sm_count, stream);
  const std::int64_t rows16 = (p.n / 16 + sm_count - 1) / sm_count * 16;
  const std::int64_t rows8 = (p.n / 8 + sm_count - 1) / sm_count * 8;
  return gated || rows8 * 100 >= rows16 * 95 ? launch_chain_rows<T, 2>(p, sm_count, stream)
                                             : launch_chain_rows<T, 1>(p, sm_count, stream);
}

}  // namespace spate::cuda
