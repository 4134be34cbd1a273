// Product of many rows with a bf16 or f16 weight matrix, for Hopper (sm_90a): the part of
// gemm_chain.cuh that is bound by arithmetic. Same parameters and bits; narrow and gated results.
// Public: launch_chain_tiles. The kernel owns nothing.
//
// A tile is 128 rows of x by up to 256 rows of W, of which half are gates and half their ups where
// there are gates. One warp copies, two warpgroups multiply: one gets ahead of the other by as much
// as the ring allows, so that the end of its tile runs beside the other's products. The width of
// the tiles is chosen so that no multiprocessor waits long for the last of them.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_map.cuh"
#include "spate/kernels/cuda/gemm_chain_tiles_consumer.cuh"
#include "spate/kernels/cuda/launch.cuh"

namespace spate::cuda {

// One thread.
template <class C>
class TileProducer {
 public:
  __device__ __forceinline__ TileProducer(const TileArguments& a, const TileShared<C>& shared)
      : a_(a), shared_(shared), ring_(1) {}

  __device__ __forceinline__ void run() {
    const TileWork<C> work{a_};
    const int tiles = work.count();
    const int early = min(C::kStages, a_.chunks);
    bool first = true;
    for (int i = static_cast<int>(blockIdx.x); i < tiles; i += static_cast<int>(gridDim.x)) {
      const ResultTile tile = work.at(i);
      const int halves[2] = {work.half(tile, 0), work.half(tile, 1)};
      int chunk = 0;
      if (first) {
        // Weights come while the kernel before still runs.
        for (int c = 0; c < early; ++c) copy_weights(halves, c, c);
        grid_dependency_wait();
        for (; chunk < early; ++chunk, ring_.next()) copy_rows(tile.first_row, chunk, chunk);
        first = false;
      }
      for (; chunk < a_.chunks; ++chunk, ring_.next()) {
        mbar_wait(shared_.empty + 8 * ring_.stage, ring_.parity);
        copy_weights(halves, chunk, ring_.stage);
        copy_rows(tile.first_row, chunk, ring_.stage);
      }
    }
  }

 private:
  // Announces the rows, too.
  __device__ __forceinline__ void copy_weights(const int (&halves)[2], int chunk, int stage) const {
    const std::uint32_t full = shared_.full + 8 * stage;
    mbar_expect_bytes(full, static_cast<std::uint32_t>(a_.box_rows * 128 + 2 * C::kHalfBytes));
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      tensor_load(shared_.weights(stage) + h * C::kHalfBytes, &a_.weights, full,
                  {0, halves[h], chunk, 0}, kEvictNormal);
    }
  }
  __device__ __forceinline__ void copy_rows(int row, int chunk, int stage) const {
    tensor_load(shared_.rows(stage), &a_.rows, shared_.full + 8 * stage, {0, row, chunk, 0},
                kEvictNormal);
  }

  const TileArguments& a_;
  const TileShared<C>& shared_;
  Ring<C::kStages> ring_;
};

template <class C>
__global__ __launch_bounds__(C::kThreads, 1) void chain_tiles_kernel(
    const __grid_constant__ TileArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const TileShared<C> shared(smem);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  grid_launch_dependents();
  if (warp < 4 * C::kWarpgroups) {
    registers_increase<C::kConsumerRegisters>();
    TileConsumer<C>(args, shared, warp).run();
  } else {
    registers_decrease<C::kProducerRegisters>();
    if (warp == 4 * C::kWarpgroups && elect_one()) TileProducer<C>(args, shared).run();
  }
#endif
}

template <class C>
cudaError_t launch_chain_tiles_of(const ChainGemmParams& p, int sm_count, cudaStream_t stream) {
  TileArguments a{.p = p};
  const std::int64_t columns = p.output == ProductOutput::kGated ? p.n / 2 : p.n;
  const int width = p.output == ProductOutput::kGated ? C::kWidth / 2 : C::kWidth;
  a.row_tiles = (p.rows + C::kRows - 1) / C::kRows;
  a.column_tiles = static_cast<int>((columns + width - 1) / width);
  a.chunks = static_cast<int>(p.k / kChainChunk);
  a.box_rows = std::min(p.rows, C::kRows);
  if (const auto e = encode_chain_map(&a.weights, {p.weights, p.n, p.k, p.k, C::kWidth / 2, 1});
      e != cudaSuccess) {
    return e;
  }
  if (const auto e = encode_chain_map(&a.rows, {p.x, p.rows, p.x_stride, p.k, a.box_rows, 1});
      e != cudaSuccess) {
    return e;
  }
  const int blocks = std::min(a.row_tiles * a.column_tiles, sm_count);
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(blocks)),
                          .threads = C::kThreads,
                          .dependent = p.dependent_launch,
                          .shared_bytes = C::kSharedBytes};
  return launch_kernel(chain_tiles_kernel<C>, a, shape, stream);
}

// Launches on `stream`; captures into graphs.
template <class T>
cudaError_t launch_chain_tiles(const ChainGemmParams& p, int sm_count, cudaStream_t stream) {
  const bool narrow = p.output == ProductOutput::kNarrow || p.output == ProductOutput::kGated;
  if (!narrow || p.out_stride % 8 != 0) return cudaErrorInvalidValue;
  switch (p.tile_width == 0 ? good_tile_width(p, sm_count) : p.tile_width) {
    case 128:
      return launch_chain_tiles_of<TileKernel<T, 128>>(p, sm_count, stream);
    case 160:
      return launch_chain_tiles_of<TileKernel<T, 160>>(p, sm_count, stream);
    case 192:
      return launch_chain_tiles_of<TileKernel<T, 192>>(p, sm_count, stream);
    case 224:
      return launch_chain_tiles_of<TileKernel<T, 224>>(p, sm_count, stream);
    case 256:
      return launch_chain_tiles_of<TileKernel<T, 256>>(p, sm_count, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace spate::cuda
