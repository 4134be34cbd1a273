// Prefill and append attention for Hopper (sm_90a): O = softmax(Q K^T) V over ragged batches, bf16
// or f16, fp32 accumulation. Public: PrefillParams, PrefillVariant, launch_prefill; the work list
// is plan_prefill's (prefill_plan.h). The kernel owns nothing.
//
// One thread block = a producer warpgroup (one warp issues all copies) + kWarpgroups consumers of
// 64 query rows each; the grid is persistent and takes tiles from a counter, longest first. Two
// overlaps keep the tensor cores busy: inside a warpgroup S(j) = Q K(j)^T is issued before O +=
// P(j+1) V(j+1), so softmax(j) runs under the latter; between warpgroups, named barriers make them
// take turns in issuing ("ping-pong", FlashAttention-3, Shah et al. 2024). Roofline: 4 * q_len *
// kv_len * D operations per head at about 790 TFLOP/s; a head's K and V are read once per group of
// tiles that share L2.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spate/kernels/cuda/launch.cuh"
#include "spate/kernels/cuda/prefill_consumer.cuh"
#include "spate/kernels/cuda/prefill_convert.cuh"
#include "spate/kernels/cuda/prefill_producer.cuh"
#include "spate/kernels/cuda/tensor_map.cuh"

namespace spate::cuda {

template <class C>
__global__ __launch_bounds__(C::kThreads,
                             1) void prefill_kernel(const __grid_constant__ PrefillArguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // empty in code for other GPUs: prefill_mma.cuh
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const PrefillShared<C> shared(smem);
  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 128, 0);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  if (warp == 0 && elect_one()) {
    shared.init();
    prefetch_tensor_map(&args.map_q);
    prefetch_tensor_map(&args.map_out);
    if (C::kLayout == KvLayout::kStrided) {
      prefetch_tensor_map(&args.map_k);
      prefetch_tensor_map(&args.map_v);
    }
  }
  __syncthreads();
  if (warpgroup < C::kHelpers) {
    registers_decrease<C::kProducerRegisters>();
    if (warp == 0 && elect_one()) {
      PrefillProducer<C> producer(args, shared);
      producer.run(producer.read_tile(static_cast<int>(blockIdx.x)));
    }
    if constexpr (C::kConvert) {
      if (warp > 0) PrefillConverter<C>{shared, static_cast<int>(threadIdx.x) - 32}.run();
    }
  } else {
    registers_increase<C::kConsumerRegisters>();
    prefill_consume<C>(args, shared, warpgroup - C::kHelpers);
  }
#endif
}

namespace prefill_detail {

// Rank-4 view (dim, head of the tile, token, head or tile's head) of queries or output.
template <class C>
TensorView query_view(const PrefillParams& p, const void* data, std::int64_t token_stride,
                      std::int64_t head_stride, int rows) {
  const int packed = 1 << p.pack_shift;
  TensorView view;
  view.data = data;
  view.size[0] = C::kHeadDim;
  view.size[1] = packed;
  view.size[2] = p.total_q;
  view.size[3] = p.q_heads / packed;
  view.stride[0] = head_stride;
  view.stride[1] = token_stride;
  view.stride[2] = head_stride * packed;
  view.box[1] = packed;
  view.box[2] = rows / packed;
  return view;
}

template <class C>
TensorView key_view(const PrefillParams& p, const void* data) {
  TensorView view;
  view.data = data;
  view.size[0] = C::kHeadDim;
  view.size[1] = p.total_kv;
  view.size[2] = p.kv_heads;
  view.stride[0] = p.kv_token_stride;
  view.stride[1] = p.kv_head_stride;
  view.stride[2] = p.kv_head_stride * p.kv_heads;
  view.box[1] = C::kBlock;
  return view;
}

template <class C>
cudaError_t make_maps(PrefillArguments& args) {
  using T = typename C::T;
  const PrefillParams& p = args.p;
  cudaError_t error = encode_tensor_map<T>(
      &args.map_q, query_view<C>(p, p.q, p.q_token_stride, p.q_head_stride, C::kTileRows));
  if (error != cudaSuccess) return error;
  error = encode_tensor_map<T>(&args.map_out,
                               query_view<C>(p, p.out, p.out_token_stride, p.out_head_stride, 64));
  if (error != cudaSuccess || C::kLayout == KvLayout::kPages) return error;
  error = encode_tensor_map<T>(&args.map_k, key_view<C>(p, p.k));
  if (error != cudaSuccess) return error;
  return encode_tensor_map<T>(&args.map_v, key_view<C>(p, p.v));
}

template <class C>
cudaError_t check(const PrefillParams& p) {
  const bool grouped = p.kv_heads > 0 && p.q_heads % p.kv_heads == 0;
  const bool packed = p.pack_shift == 0 || (p.q_heads / p.kv_heads) == 1 << p.pack_shift;
  const bool pages = C::kLayout == KvLayout::kStrided ||
                     (p.page_tokens >= 8 && (p.page_tokens & (p.page_tokens - 1)) == 0 &&
                      p.page_stride >> 32 == 0);
  return grouped && packed && pages ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace prefill_detail

// The configuration whose kTileRows and kBlock a plan needs.
template <class Variant>
using PrefillKernel = PrefillConfig<Variant, PrefillTuning<Variant>>;

// Launches on `stream`; captures into graphs. `Config` is PrefillKernel<Variant> but for tuning.
template <class Config>
cudaError_t launch_prefill_config(const PrefillParams& p, cudaStream_t stream) {
  if (p.n_tiles == 0) return cudaSuccess;
  PrefillArguments args{};
  args.p = p;
  while (1 << args.page_shift < p.page_tokens) ++args.page_shift;
  if (args.p.head_stride == 0)
    args.p.head_stride =
        std::int64_t{2} * p.page_tokens *
        (Config::kConvert ? Config::kRawRowBytes + Config::kRawScaleBytes : Config::kRowBytes);
  if (args.p.page_stride == 0) args.p.page_stride = args.p.head_stride * p.kv_heads;
  cudaError_t error = prefill_detail::check<Config>(p);
  if (error == cudaSuccess) error = prefill_detail::make_maps<Config>(args);
  if (error != cudaSuccess) return error;
  const LaunchShape shape{
      .grid = dim3(static_cast<unsigned>(std::min(p.n_tiles, p.multiprocessors))),
      .threads = Config::kThreads,
      .dependent = p.dependent_launch,
      .shared_bytes = static_cast<int>(Config::kSharedBytes)};
  return launch_kernel(prefill_kernel<Config>, args, shape, stream);
}

template <class Variant>
cudaError_t launch_prefill(const PrefillParams& p, cudaStream_t stream) {
  return launch_prefill_config<PrefillKernel<Variant>>(p, stream);
}

}  // namespace spate::cuda
