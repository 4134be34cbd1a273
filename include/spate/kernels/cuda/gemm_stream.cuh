// Product of 1 to 8 rows (with e4m3 weights 16) with a weight matrix, for Hopper
// (sm_90a): y = x W^T with what surrounds it fused (RMSNorm of x; bias, residual or gate of y).
// Public: StreamGemmParams, StreamFormat, supports_stream_gemm, launch_stream_gemm. The kernel owns
// nothing.
//
// It is a stream of weights: 2 rows operations a byte (bf16) at 4.6 TB/s, so nothing but the stream
// matters. One block an SM; a producer thread fills a ring of stages before the kernel's
// predecessor has ended, because weights do not depend on it; eight warps hold the activations in
// registers and run the stages past them; three warps finish the tiles. Rows of x are rows of the
// matrix instruction's A operand: their bits depend neither on each other nor on their number.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spate/kernels/cuda/gemm_stream_consumer.cuh"
#include "spate/kernels/cuda/gemm_stream_epilogue.cuh"
#include "spate/kernels/cuda/gemm_stream_params.cuh"
#include "spate/kernels/cuda/gemm_stream_weights.cuh"
#include "spate/kernels/cuda/launch.cuh"
#include "spate/kernels/cuda/tensor_map.cuh"

namespace spate::cuda {

template <class C>
__device__ __forceinline__ void stream_produce(const StreamArguments& a,
                                               const StreamShared<C>& shared) {
  const StreamWork<C> work(a);
  int issued = 0;
  for (int first = 0; first < work.tiles; first += work.group) {
    const int end = min(first + work.group, work.tiles);
    for (int slice = 0; slice < work.slices; ++slice) {
      const int stages = StreamWork<C>::stages(a, slice);
      for (int s = 0; s < (end - first) * stages; ++s, ++issued) {
        const int slot = issued % C::kStages, oldest = issued - a.p.copies_in_flight;
        mbar_wait(shared.empty + 8 * slot, (issued / C::kStages & 1) ^ 1);
        // More copies in flight than the memory needs only delay each other and everyone else's.
        if (oldest >= 0) {
          mbar_wait(shared.full + 8 * (oldest % C::kStages), oldest / C::kStages & 1);
        }
        stream_copy_stage<C>(a, shared.ring + slot * C::kStageBytes, shared.full + 8 * slot,
                             StreamWork<C>::tile(first + s / stages),
                             slice * C::kSlice + s % stages * C::kStageK);
      }
    }
  }
}

template <class C>
__global__ __launch_bounds__(C::kThreads, 1) void stream_gemm_kernel(
    const __grid_constant__ StreamArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const StreamShared<C> shared(smem);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  grid_launch_dependents();
  if (warp <= C::kEpilogues) {
    registers_decrease<C::kOtherRegisters>();
    if (warp == 0) {
      if (threadIdx.x == 0) stream_produce<C>(args, shared);
    } else {
      StreamEpilogue<C>(args, shared, warp - 1).run();
    }
  } else {
    registers_increase<C::kConsumerRegisters>();
    StreamConsumer<C>(args, shared).run();
  }
#endif
}

// The weights as [chunks of k][rows][128 bytes], so that one copy brings rows x chunks.
template <class C>
cudaError_t stream_weights_map(CUtensorMap* map, const StreamGemmParams& p) {
  TensorView view;
  const std::int64_t chunk = 128 * 8 / C::kBits;
  view.data = p.weights;
  // Bytes as pairs: the encoder knows 16-bit types.
  const std::int64_t pairs = C::kBits / 8;
  view.size[0] = 64;
  view.size[1] = p.n;
  view.size[2] = (p.k + chunk - 1) / chunk;
  view.stride[0] = p.k * pairs / 2;
  view.stride[1] = 64;
  view.stride[2] = p.n * p.k * pairs / 2;
  view.box[0] = 64;
  view.promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_128B;  // 256 bytes cost 2 % of the bandwidth
  view.box[1] = 8;
  view.box[2] = static_cast<int>(C::kStageK / chunk);
  return encode_tensor_map<__nv_bfloat16>(map, view);
}

template <class C>
cudaError_t launch_stream_kernel(const StreamGemmParams& p, int sm_count, cudaStream_t stream) {
  StreamArguments args{p, {}, static_cast<int>(p.n / (8 * C::kOctets))};
  if constexpr (!C::kPacked) {
    if (const cudaError_t error = stream_weights_map<C>(&args.map, p); error != cudaSuccess) {
      return error;
    }
  }
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(sm_count)),
                          .threads = C::kThreads,
                          .dependent = p.dependent_launch,
                          .shared_bytes = C::kSharedBytes};
  return launch_kernel(stream_gemm_kernel<C>, args, shape, stream);
}

// Tiles of 16 rows, or of 8 where that deals the matrix out to the SMs more evenly (plain weights:
// the other formats' stages would span too much of k).
inline int stream_octets(const StreamGemmParams& p, int sm_count) {
  if (p.output == ProductOutput::kGated) return 2;
  if (p.n % 16 != 0) return 1;
  const std::int64_t rows16 = (p.n / 16 + sm_count - 1) / sm_count * 16;
  const std::int64_t rows8 = (p.n / 8 + sm_count - 1) / sm_count * 8;
  return rows8 * 100 < rows16 * 95 ? 1 : 2;
}

template <StreamFormat kFormat, int kOctets, int kSlice>
cudaError_t launch_stream_rows(const StreamGemmParams& p, int sm_count, cudaStream_t stream) {
  if constexpr (stream_max_rows(kFormat) > 8) {
    if (p.rows > 8) {
      return launch_stream_kernel<StreamKernel<kFormat, kOctets, true, kSlice>>(p, sm_count,
                                                                                stream);
    }
  }
  return launch_stream_kernel<StreamKernel<kFormat, kOctets, false, kSlice>>(p, sm_count, stream);
}

// Launches on `stream`; captures into graphs. The choice of tiles and slices depends on n
// and k alone.
template <StreamFormat kFormat>
cudaError_t launch_stream_gemm(const StreamGemmParams& p, int sm_count, cudaStream_t stream) {
  if (!supports_stream_gemm(kFormat, p.n, p.k, p.output == ProductOutput::kGated) || p.rows < 0 ||
      p.rows > stream_max_rows(kFormat) || p.out_stride % 4 != 0 ||
      (kFormat == StreamFormat::kF16 && p.norm_weight != nullptr)) {
    return cudaErrorInvalidValue;
  }
  if (p.rows == 0) return cudaSuccess;
  if constexpr (has_plain_weights(kFormat)) {
    if (stream_octets(p, sm_count) == 1) {
      return p.k <= 2048 ? launch_stream_rows<kFormat, 1, 2048>(p, sm_count, stream)
                         : launch_stream_rows<kFormat, 1, 4096>(p, sm_count, stream);
    }
  }
  return p.k <= 2048 ? launch_stream_rows<kFormat, 2, 2048>(p, sm_count, stream)
                     : launch_stream_rows<kFormat, 2, 4096>(p, sm_count, stream);
}

}  // namespace spate::cuda
