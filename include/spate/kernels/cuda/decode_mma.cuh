// Decode attention for GPUs without Hopper's copies (sm_80, sm_86, sm_89): the same parameters,
// work list, cache and arithmetic as decode_sm90.cuh, with cp.async in place of bulk copies. Every
// warp copies the tokens that it owns, so the warps of a block meet only at the ends of segments.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/decode_consumer.cuh"
#include "spate/kernels/cuda/decode_epilogue.cuh"

namespace spate::cuda {

// As DecodeKernel, for 99 KB of shared memory (sm_86, sm_89).
template <class V>
struct DecodeFallback : V {
  using T = typename V::T;
  using M = std::conditional_t<V::kBytes, __half, T>;
  using V::kColumns, V::kHeadDim, V::kBytes, V::kInt8;
  static constexpr std::uint32_t kRowBytes = kv_row_bytes(kHeadDim, kBytes ? 1 : 2);
  static constexpr bool kAsyncCopies = false;
  static constexpr int kTiles = kColumns / 8, kWarps = 4, kEpilogueWarps = 4;
  static constexpr int kWarpTokens = kInt8 ? 32 : 16;
  static constexpr int kBlockTokens = kWarps * kWarpTokens;
  static constexpr int kThreads = kWarps * 32;
  static constexpr std::uint32_t kScaleBytes = kInt8 ? kKvScaleBytes : 0;
  static constexpr std::uint32_t kStageBytes = 2 * kBlockTokens * (kRowBytes + kScaleBytes);
  static constexpr float kLazy = kInt8 ? 4.f : 8.f;
  static constexpr float kValueShift = kInt8 ? 16.f : 1.f;
  static constexpr std::uint32_t kQueryBytes = kColumns * kHeadDim * 2;
  static constexpr int kMergePitch = kHeadDim + 4;
  static constexpr std::uint32_t kMergeBytes = kWarps * kColumns * kMergePitch * 4;
  static constexpr std::uint32_t kStatsBytes = kWarps * kColumns * 8;
  static constexpr std::uint32_t kFixedBytes = kQueryBytes + 64;
  static constexpr int kFit = static_cast<int>((101376 - kFixedBytes) / kStageBytes);
  static constexpr int kStages = kFit < 4 ? kFit : 4;
  static_assert(kStages >= 1);
  static constexpr std::uint32_t kOffsetQuery = kStages * kStageBytes;
  static constexpr std::uint32_t kOffsetMerge = kOffsetQuery + kQueryBytes;
  static constexpr std::uint32_t kOffsetStats = kOffsetMerge + kMergeBytes;
  static constexpr std::uint32_t kOffsetRecords = kOffsetStats + kStatsBytes;           // none
  static constexpr std::uint32_t kOffsetBars = kOffsetRecords - 8 * (2 * kStages + 4);  // none
  static constexpr std::uint32_t kSharedBytes = kOffsetRecords + 16;
};

template <class C>
struct DecodeFallbackBlock {
  const DecodeParams& p;
  const DecodeShared<C>& s;
  const int page_shift, heads;
  DecodeConsumer<C> consumer;
  DecodeEpilogue<C> epilogue;
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;

  __device__ __forceinline__ DecodeFallbackBlock(const DecodeArguments& args,
                                                 const DecodeShared<C>& shared)
      : p(args.p),
        s(shared),
        page_shift(args.page_shift),
        heads(args.heads),
        consumer(args, shared),
        epilogue(args, shared, static_cast<int>(threadIdx.x)) {}

  __device__ __forceinline__ void copy_rows(std::uint32_t dst, const std::uint8_t* src,
                                            std::uint32_t bytes) const {
    for (std::uint32_t i = lane * 16; i < bytes; i += 512) copy_async_16(dst + i, src + i);
  }
  // This warp's tokens of block b into `stage`; 16 tokens always lie in one page.
  __device__ __forceinline__ void load(const DecodeSegment& g, int b, int stage) const {
    const std::uint32_t base = s.ring + stage * C::kStageBytes;
#pragma unroll
    for (int u = 0; u < C::kWarpTokens; u += 16) {
      const int at = warp * C::kWarpTokens + u, token = b * C::kBlockTokens + at;
      const int tokens = min(16, (g.kv_len - token + 7) / 8 * 8);
      if (tokens <= 0) break;
      const int index = token >> page_shift, inside = token & (p.page_tokens - 1);
      const int page =
          p.page_table == nullptr ? g.table + index : __ldg(p.page_table + g.table + index);
      const auto* block = static_cast<const std::uint8_t*>(p.pages) + page * p.page_stride +
                          g.kv_head * p.head_stride;
      const std::int64_t half = std::int64_t{p.page_tokens} * C::kRowBytes;
      const std::uint32_t keys = base + consumer.layout.key_offset(at, C::kRowBytes);
      const std::uint32_t bytes = tokens * C::kRowBytes;
      copy_rows(keys, block + inside * C::kRowBytes, bytes);
      copy_rows(keys + consumer.layout.tokens() * C::kRowBytes,
                block + half + inside * C::kRowBytes, bytes);
      if constexpr (C::kInt8) {
        const std::uint32_t scales = base + 2 * C::kBlockTokens * C::kRowBytes + at * 2;
        copy_rows(scales, block + 2 * half + inside * 2, tokens * 2);
        copy_rows(scales + C::kBlockTokens * 2, block + 2 * half + (p.page_tokens + inside) * 2,
                  tokens * 2);
      }
    }
  }
  __device__ __forceinline__ void load_query(const DecodeSegment& g) const {
    const int vectors = heads * C::kHeadDim / 8;  // of one token
    for (int i = thread; i < g.q_len * vectors; i += C::kThreads) {
      const auto* src = static_cast<const typename C::T*>(p.q) +
                        (g.q_token + i / vectors) * p.q_token_stride +
                        std::int64_t{g.kv_head} * heads * C::kHeadDim;
      copy_async_16(s.query + i * 16, reinterpret_cast<const uint4*>(src) + i % vectors);
    }
  }

  __device__ __forceinline__ void run_segment(const DecodeSegment& g) {
    DecodeRecord r;
    load_query(g);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < C::kStages - 1; i++) {
      if (g.block + i < g.block_end) load(g, g.block + i, i);
      copy_async_commit();
    }
    consumer.ring = Ring<C::kStages>(0);
    for (int b = g.block; b < g.block_end; b++) {
      const int ahead = b + C::kStages - 1;
      __syncwarp();  // all lanes have read what is overwritten now
      if (ahead < g.block_end) load(g, ahead, (ahead - g.block) % C::kStages);
      copy_async_commit();
      copy_async_wait<C::kStages - 1>();
      __syncwarp();
      r.set(g, b, C::kBlockTokens);
      if (b == g.block) consumer.start_segment(r);
      consumer.block(r);
      consumer.ring.next();
    }
    copy_async_wait<0>();
    consumer.reduce_sums();
    __syncthreads();
    consumer.write_result(r);
    __syncthreads();
    finish(r);
    __syncthreads();
  }
  __device__ __forceinline__ void finish(const DecodeRecord& r) {
    epilogue.r = r;
    const int count = r.q_len() * heads * DecodeEpilogue<C>::kRowVectors;
    for (int v = thread; v < count; v += C::kThreads) {
      const auto a = epilogue.merge_warps(v);
      if (r.slot < 0)
        epilogue.store(v, a);
      else
        epilogue.store_partial(v, a);
    }
    if (r.slot < 0 || !epilogue.last_of_row()) return;
#pragma unroll 1
    for (int v = thread; v < count; v += C::kThreads) epilogue.store(v, epilogue.merge_parts(v));
  }
};

template <class C>
__global__ __launch_bounds__(C::kThreads) void decode_fallback_kernel(
    const __grid_constant__ DecodeArguments args) {
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const DecodeShared<C> shared(smem);
  const DecodeShare share = args.p.shares[blockIdx.x];
  if (share.blocks == 0) return;
  DecodeFallbackBlock<C> block(args, shared);
  DecodeWalk walk(args.p, share);
  do {
    walk.read_ahead();
    block.run_segment(walk.segment);
  } while (walk.next());
#endif
}

template <class Variant>
cudaError_t launch_decode_fallback(const DecodeParams& p, cudaStream_t stream) {
  using C = DecodeFallback<Variant>;
  if (p.grid == 0) return cudaSuccess;
  const bool page_fits = p.page_tokens >= 16 && (p.page_tokens & (p.page_tokens - 1)) == 0;
  const bool grouped = p.kv_heads > 0 && p.q_heads % p.kv_heads == 0;
  if (!page_fits || !grouped || p.q_heads / p.kv_heads > C::kColumns) return cudaErrorInvalidValue;
  if (C::kInt8 && p.page_tokens != C::kBlockTokens) return cudaErrorInvalidValue;
  DecodeArguments args{p, p.q_heads / p.kv_heads, 0};
  while (1 << args.page_shift < p.page_tokens) ++args.page_shift;
  if (args.p.head_stride == 0)
    args.p.head_stride = std::int64_t{2} * p.page_tokens * (C::kRowBytes + C::kScaleBytes);
  if (args.p.page_stride == 0) args.p.page_stride = args.p.head_stride * p.kv_heads;
  auto* kernel = &decode_fallback_kernel<C>;
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(C::kSharedBytes));
  if (error != cudaSuccess) return error;
  kernel<<<static_cast<unsigned>(p.grid), C::kThreads, C::kSharedBytes, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace spate::cuda
