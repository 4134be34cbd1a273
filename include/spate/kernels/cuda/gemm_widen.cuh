// Product of many rows with q8 or q4 weights, for Hopper (sm_90a): y = x W^T, the weights widened
// to bf16 in registers. Public: WidenGemmParams, supports_widen_gemm, launch_widen_gemm. The kernel
// owns nothing.
//
// Weights are the matrix instruction's A operand, which may come from registers; rows of x are its
// columns, from shared memory. One block an SM takes 256 rows of W times up to 128 of x: a warp
// copies weights, which begins before the kernel's predecessor has ended, another one x; four
// warpgroups multiply. Where a matrix has too few rows for all SMs, clusters of blocks share a tile
// and each takes a part of k. The order of a sum depends on n, k and the GPU alone: rows have the
// same bits whatever their number.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spate/kernels/cuda/gemm_widen_consumer.cuh"
#include "spate/kernels/cuda/gemm_widen_params.cuh"
#include "spate/kernels/cuda/launch.cuh"
#include "spate/kernels/cuda/tensor_map.cuh"

namespace spate::cuda {

// One warp; a lane copies an octet of rows.
template <class C>
__device__ __forceinline__ void widen_copy_weights(const WidenArguments& a,
                                                   const WidenShared<C>& shared) {
  const WidenWork<C> work(a);
  const int lane = static_cast<int>(threadIdx.x) % 32, warpgroup = lane / 8;
  const std::int64_t per_row = C::Layout::blocks_per_row(a.p.k);
  // Other blocks may still want the weights if x has several tiles.
  const std::uint64_t policy = a.row_tiles > 1 ? kEvictNormal : kEvictFirst;
  Ring<C::kWeightStages> ring(1);
  for (int item = work.first_item; item < a.items; item += work.item_step) {
    const int column = WidenWork<C>::column(a, item);
    const int octets = (static_cast<int>(a.p.n) - column) / kQuantRows - warpgroup * 8;
    const auto* from =
        static_cast<const std::uint8_t*>(a.p.weights) +
        ((column / kQuantRows + lane) * per_row + work.first_block) * C::Layout::kBlockBytes;
    for (int b = 0; b < work.blocks; ++b, ring.next(), from += C::Layout::kBlockBytes) {
      // Part by part, so that all lanes wait for the same barrier: lanes that wait for several are
      // slower, and more than racecheck can follow.
#pragma unroll
      for (int part = 0; part < C::kWarpgroups; ++part) {
        const int slot = ring.stage * C::kWarpgroups + part;
        const std::uint32_t full = shared.weight_full + 8 * slot;
        mbar_wait(shared.weight_empty + 8 * slot, ring.parity);
        if (lane == 8 * part) {
          mbar_expect_bytes(
              full, static_cast<std::uint32_t>(max(0, min(8, octets))) * C::Layout::kBlockBytes);
        }
        __syncwarp();
        if (warpgroup == part && lane % 8 < octets) {
          bulk_load(shared.weights + slot * C::kPartBytes + lane % 8 * C::Layout::kBlockBytes, from,
                    C::Layout::kBlockBytes, full, policy);
        }
      }
    }
    __syncwarp();
    if (a.splits > 1) {  // sums lie over the ring
      cluster_sync();
      cluster_sync();
    }
  }
}

// One warp, of which one lane copies.
template <class C>
__device__ __forceinline__ void widen_copy_rows(const WidenArguments& a,
                                                const WidenShared<C>& shared) {
  const WidenWork<C> work(a);
  const bool copies = threadIdx.x % 32 == 0;
  grid_dependency_wait();
  Ring<C::kChunkStages> ring(1);
  for (int item = work.first_item; item < a.items; item += work.item_step) {
    const int row = WidenWork<C>::row(a, item);
    if (copies) {
      for (int c = 0; c < work.blocks * C::kBlockChunks; ++c, ring.next()) {
        const std::uint32_t full = shared.chunk_full + 8 * ring.stage;
        mbar_wait(shared.chunk_empty + 8 * ring.stage, ring.parity);
        mbar_expect_bytes(full, C::kChunkBytes);
#pragma unroll
        for (int i = 0; i < C::kChunk / C::kBox; ++i) {
          tensor_load(shared.chunks + ring.stage * C::kChunkBytes + i * C::kBoxBytes, &a.map, full,
                      {work.first_block * kQuantBlock + c * C::kChunk + i * C::kBox, row, 0, 0},
                      kEvictNormal);
        }
      }
    }
    __syncwarp();
    if (a.splits > 1) {
      cluster_sync();
      cluster_sync();
    }
  }
}

template <class C>
__global__ __launch_bounds__(C::kThreads, 1) void widen_gemm_kernel(
    const __grid_constant__ WidenArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const WidenShared<C> shared(smem);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  grid_launch_dependents();
  if (warp < C::kConsumers / 32) {
    registers_increase<C::kConsumerRegisters>();
    WidenConsumer<C>(args, shared).run();
  } else {
    registers_decrease<C::kOtherRegisters>();
    if (warp == C::kConsumers / 32) widen_copy_weights<C>(args, shared);
    if (warp == C::kConsumers / 32 + 1) widen_copy_rows<C>(args, shared);
  }
#endif
}

template <class C>
cudaError_t widen_rows_map(CUtensorMap* map, const WidenGemmParams& p) {
  TensorView view;
  view.data = p.x;
  view.size[0] = p.k;
  view.size[1] = p.rows;
  view.stride[0] = p.x_stride;
  view.stride[1] = view.stride[2] = p.x_stride * p.rows;
  view.box[1] = C::kRows;
  return encode_tensor_map<__nv_bfloat16>(map, view);
}

template <class C>
cudaError_t launch_widen_kernel(const WidenGemmParams& p, int sm_count, cudaStream_t stream) {
  WidenArguments args{p, {}, (p.rows + C::kRows - 1) / C::kRows, 0, 0};
  args.items = args.row_tiles * static_cast<int>((p.n + C::kTile - 1) / C::kTile);
  args.splits = widen_splits(p.n, p.k, sm_count);
  if (const cudaError_t error = widen_rows_map<C>(&args.map, p); error != cudaSuccess) return error;
  const LaunchShape shape{
      .grid =
          dim3(static_cast<unsigned>(std::min(args.items, sm_count / args.splits) * args.splits)),
      .threads = C::kThreads,
      .dependent = p.dependent_launch,
      .cluster = args.splits,
      .shared_bytes = C::kSharedBytes};
  return launch_kernel(widen_gemm_kernel<C>, args, shape, stream);
}

// Launches on `stream`; captures into graphs.
template <int kBits>
cudaError_t launch_widen_gemm(const WidenGemmParams& p, int sm_count, cudaStream_t stream) {
  if (!supports_widen_gemm(p.n, p.k) || p.rows < 0 || p.out_stride % 8 != 0 ||
      p.output == ProductOutput::kGated) {
    return cudaErrorInvalidValue;
  }
  if (p.rows == 0) return cudaSuccess;
  const int tiles = (p.rows + 127) / 128, each = (p.rows + tiles - 1) / tiles;
  if (each <= 32) return launch_widen_kernel<WidenKernel<kBits, 32>>(p, sm_count, stream);
  if (each <= 64) return launch_widen_kernel<WidenKernel<kBits, 64>>(p, sm_count, stream);
  if (each <= 96) return launch_widen_kernel<WidenKernel<kBits, 96>>(p, sm_count, stream);
  return launch_widen_kernel<WidenKernel<kBits, 128>>(p, sm_count, stream);
}

}  // namespace spate::cuda
