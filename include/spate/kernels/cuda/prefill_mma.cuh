// Prefill attention for GPUs without Hopper's copies and wgmma (sm_80, sm_86, sm_89), in the manner
// of FlashAttention-2 (Dao 2023): a warp owns 16 query rows, K and V come through two stages of
// cp.async, products are mma.sync. The same parameters, plan and masks as prefill_sm90.cuh, one
// thread block a tile; caches of bytes are not supported.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/prefill_consumer.cuh"

namespace spate::cuda {

// For 99 KB of shared memory (sm_86, sm_89).
template <class V>
struct PrefillFallbackTuning {
  static_assert(!V::kConvert);
  static constexpr int kWarpgroups = V::kHeadDim > 128 ? 1 : 2;
  static constexpr int kBlock = V::kHeadDim > 128 ? 32 : 64;
  static constexpr int kStages = 2;
  static constexpr bool kPingPong = false, kRescaleFirst = false, kOutputDirect = true;
  static constexpr int kLazy = 8, kEmulate = 0;
  static constexpr bool kWideProducer = true;
};

template <class V>
struct PrefillFallback : PrefillConfig<V, PrefillFallbackTuning<V>> {
  using Base = PrefillConfig<V, PrefillFallbackTuning<V>>;
  static constexpr int kThreads = Base::kWarpgroups * 128;
  static constexpr std::uint32_t kSharedBytes = Base::kEnd;
  static_assert(kSharedBytes <= 101376);
};

template <class C>
struct PrefillFallbackBlock : PrefillConsumer<C> {
  using Base = PrefillConsumer<C>;
  using T = typename C::T;
  using Scores = typename Base::Scores;
  using Base::out, Base::p, Base::probs, Base::rows, Base::s, Base::softmax;
  static constexpr int kSteps = C::kHeadDim / 16, kVectors = C::kHeadDim / 8;
  const int thread = static_cast<int>(threadIdx.x);
  const int page_shift;
  const int warp_row;  // of the tile

  __device__ __forceinline__ PrefillFallbackBlock(const PrefillArguments& args,
                                                  const PrefillShared<C>& shared, int group)
      : Base(args, shared, group),
        page_shift(args.page_shift),
        warp_row(group * 64 + rows.warp * 16) {}

  // ---- copies; rows that are none become zeros

  __device__ __forceinline__ void load_query() const {
    for (int i = thread; i < C::kTileRows * kVectors; i += C::kThreads) {
      const int row = i / kVectors, vector = i % kVectors, valid = min(row, rows.tile.rows - 1);
      const T* src = static_cast<const T*>(p.q) +
                     (rows.tile.q_token + rows.token_of(valid)) * p.q_token_stride +
                     rows.head_of(valid) * p.q_head_stride + vector * 8;
      copy_async_16(s.q + kv_offset(static_cast<std::uint32_t>(row),
                                    static_cast<std::uint32_t>(vector), C::kRowBytes),
                    src, row < rows.tile.rows ? 16 : 0);
    }
  }
  __device__ __forceinline__ void load_block(int j, int stage) const {
    for (int i = thread; i < C::kBlock * kVectors; i += C::kThreads) {
      const int row = i / kVectors, vector = i % kVectors, key = j * C::kBlock + row;
      const int valid = min(key, rows.tile.kv_len - 1);
      const std::uint32_t dst =
          stage * C::kBlockBytes + kv_offset(static_cast<std::uint32_t>(row),
                                             static_cast<std::uint32_t>(vector), C::kRowBytes);
      const void *k, *v;
      find(valid, vector, k, v);
      copy_async_16(s.k + dst, k, key < rows.tile.kv_len ? 16 : 0);
      copy_async_16(s.v + dst, v, key < rows.tile.kv_len ? 16 : 0);
    }
  }
  __device__ __forceinline__ void find(int key, int vector, const void*& k, const void*& v) const {
    if constexpr (C::kImage) {
      const int page = __ldg(p.page_table + rows.tile.kv_begin + (key >> page_shift));
      const auto token = static_cast<std::uint32_t>(key & (p.page_tokens - 1));
      const auto* at = static_cast<const std::uint8_t*>(p.pages) + page * p.page_stride +
                       rows.tile.kv_head * p.head_stride +
                       kv_offset(token, static_cast<std::uint32_t>(vector), C::kRowBytes);
      k = at;
      v = at + p.page_tokens * C::kRowBytes;
    } else {
      const std::int64_t at = (std::int64_t{rows.tile.kv_begin} + key) * p.kv_token_stride +
                              rows.tile.kv_head * p.kv_head_stride + vector * 8;
      k = static_cast<const T*>(p.k) + at;
      v = static_cast<const T*>(p.v) + at;
    }
  }

  // ---- products: elements of a thread lie as in wgmma's accumulators

  static __device__ __forceinline__ std::uint32_t tile_offset(int row, int chunk) {
    return kv_offset(static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(chunk),
                     C::kRowBytes);
  }
  static __device__ __forceinline__ void mma(float* c, const std::uint32_t (&a)[4],
                                             std::uint32_t b0, std::uint32_t b1) {
    const std::uint32_t b[2] = {b0, b1};
    float x[4] = {c[0], c[1], c[2], c[3]};
    Element<T>::mma(x, a, b);
#pragma unroll
    for (int i = 0; i < 4; i++) c[i] = x[i];
  }
  __device__ __forceinline__ void scores(Scores& x, int stage) const {
#pragma unroll
    for (int i = 0; i < Base::kScores; i++) x[i] = 0;
#pragma unroll
    for (int k = 0; k < kSteps; k++) {
      std::uint32_t a[4];
      ldmatrix_x4(a, s.q + tile_offset(warp_row + (rows.lane & 15), 2 * k + (rows.lane >> 4)));
#pragma unroll
      for (int n = 0; n < C::kBlock / 16; n++) {
        std::uint32_t b[4];
        const int row = n * 16 + (rows.lane & 7) + ((rows.lane >> 4) << 3);
        ldmatrix_x4(
            b, s.k + stage * C::kBlockBytes + tile_offset(row, 2 * k + ((rows.lane >> 3) & 1)));
        mma(x + n * 8, a, b[0], b[1]);
        mma(x + n * 8 + 4, a, b[2], b[3]);
      }
    }
  }
  __device__ __forceinline__ void values(int stage) {
#pragma unroll
    for (int n = 0; n < C::kBlock / 16; n++) {
      const std::uint32_t a[4] = {probs[n * 4], probs[n * 4 + 1], probs[n * 4 + 2],
                                  probs[n * 4 + 3]};
#pragma unroll
      for (int d = 0; d < kSteps; d++) {
        std::uint32_t b[4];
        ldmatrix_x4_trans(b, s.v + stage * C::kBlockBytes +
                                 tile_offset(n * 16 + (rows.lane & 15), 2 * d + (rows.lane >> 4)));
        mma(out + d * 8, a, b[0], b[1]);
        mma(out + d * 8 + 4, a, b[2], b[3]);
      }
    }
  }

  // ---- control

  __device__ __forceinline__ void run_tile(BlockRange blocks) {
    const BlockRange full = rows.full_blocks();
    this->start_tile();
    load_query();
    load_block(blocks.end - 1, 0);
    copy_async_commit();
    for (int j = blocks.end - 1, stage = 0; j >= blocks.begin; j--, stage ^= 1) {
      if (j > blocks.begin) load_block(j - 1, stage ^ 1);
      copy_async_commit();
      copy_async_wait<1>();
      __syncthreads();
      Scores x;
      scores(x, stage);
      rows.transform(x, j);
      if (j >= full.end || j < full.begin) rows.mask(x, j);
      softmax.update_max(x, this->factor0, this->factor1);
      softmax.exponentiate(x, this->factor0, this->factor1);
      this->rescale();
      this->pack(x);
      values(stage);
      __syncthreads();
    }
    softmax.reduce_sums();
    this->results().store_lse(softmax, this->factor0, this->factor1);
    store_output();
  }
  __device__ __forceinline__ void store_output() const {
    const float inv0 = softmax.sum0 > 0 ? 1.f / softmax.sum0 : 0;
    const float inv1 = softmax.sum1 > 0 ? 1.f / softmax.sum1 : 0;
    store_row(rows.first_row, 0, inv0);
    store_row(rows.first_row + 8, 2, inv1);
  }
  __device__ __forceinline__ void store_row(int row, int from, float inv) const {
    if (row >= rows.tile.rows) return;
    T* dst = static_cast<T*>(p.out) +
             (rows.tile.q_token + rows.token_of(row)) * p.out_token_stride +
             rows.head_of(row) * p.out_head_stride + (rows.lane & 3) * 2;
#pragma unroll
    for (int c = 0; c < C::kHeadDim / 8; c++) {
      *reinterpret_cast<std::uint32_t*>(dst + c * 8) =
          Element<T>::pack(out[c * 4 + from] * inv, out[c * 4 + from + 1] * inv);
    }
  }
};

template <class C>
__global__ __launch_bounds__(C::kThreads) void prefill_fallback_kernel(
    const __grid_constant__ PrefillArguments args) {
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) std::uint8_t smem[];
  const PrefillParams& p = args.p;
  const int index = static_cast<int>(blockIdx.x);
  if (p.tile_count != nullptr && index >= *p.tile_count) return;
  const PrefillShared<C> shared(smem);
  PrefillFallbackBlock<C> block(args, shared, static_cast<int>(threadIdx.x) / 128);
  block.rows.tile = p.tiles[index];
  const BlockRange blocks = tile_blocks<C>(block.rows.tile, p);
  if (blocks.end > blocks.begin)
    block.run_tile(blocks);
  else
    block.empty_tile();
#endif
}

template <class Variant>
cudaError_t launch_prefill_fallback(const PrefillParams& p, cudaStream_t stream) {
  using C = PrefillFallback<Variant>;
  if (p.n_tiles == 0) return cudaSuccess;
  const bool grouped = p.kv_heads > 0 && p.q_heads % p.kv_heads == 0;
  const bool packed = p.pack_shift == 0 || (p.q_heads / p.kv_heads) == 1 << p.pack_shift;
  const bool pages = !C::kImage || (p.page_tokens & (p.page_tokens - 1)) == 0;
  if (!grouped || !packed || !pages) return cudaErrorInvalidValue;
  PrefillArguments args{};
  args.p = p;
  while (1 << args.page_shift < p.page_tokens) ++args.page_shift;
  if (args.p.head_stride == 0) args.p.head_stride = std::int64_t{2} * p.page_tokens * C::kRowBytes;
  if (args.p.page_stride == 0) args.p.page_stride = args.p.head_stride * p.kv_heads;
  auto* kernel = &prefill_fallback_kernel<C>;
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(C::kSharedBytes));
  if (error != cudaSuccess) return error;
  kernel<<<static_cast<unsigned>(p.n_tiles), C::kThreads, C::kSharedBytes, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace spate::cuda
