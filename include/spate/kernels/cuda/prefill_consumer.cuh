// One consumer warpgroup of prefill: 64 query rows of a tile, scores and output in registers.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/prefill_convert.cuh"
#include "spate/kernels/cuda/prefill_params.cuh"
#include "spate/kernels/cuda/softmax.cuh"
#include "spate/kernels/cuda/wgmma.cuh"

namespace spate::cuda {

// Named barriers of the block; 0 is __syncthreads.
inline constexpr int kTurnBarrier = 1;   // + warpgroup: whose turn it is to issue
inline constexpr int kTailBarrier = 4;   // + warpgroup: the first one has cleared the tail
inline constexpr int kGroupBarrier = 8;  // + warpgroup: its 128 threads

template <class C>
struct PrefillConsumer {
  using T = typename C::T;
  using M = typename C::M;
  static constexpr int kScores = C::kBlock / 2, kOut = C::kHeadDim / 2;  // registers of a thread
  using Scores = float[kScores];

  const PrefillArguments& args;
  const PrefillParams& p;
  const PrefillShared<C>& s;
  const int group;  // which consumer warpgroup
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = (static_cast<int>(threadIdx.x) / 32) & 3;
  const bool leader = (threadIdx.x & 127) == 0;
  std::uint64_t q_desc, k_desc, v_desc;
  float factor0, factor1;  // turn raw scores of this thread's two rows into exponents of 2
  Ring<C::kStages> k_ring{0}, v_ring{0};

  PrefillTile t;         // the current tile
  int first_row;         // this thread's rows of the tile: first_row and first_row + 8
  float slope0, slope1;  // Score::kAlibi, in units of raw scores
  float out[kOut];
  std::uint32_t probs[kScores / 2];  // P in M, already in A-fragment order
  OnlineSoftmax<kScores, C::kLazy, C::kEmulate> softmax;

  __device__ __forceinline__ PrefillConsumer(const PrefillArguments& a,
                                             const PrefillShared<C>& shared, int warpgroup)
      : args(a), p(a.p), s(shared), group(warpgroup) {
    q_desc = wgmma_descriptor(s.q + group * 64 * 128, 16, 1024);
    k_desc = wgmma_descriptor(s.k, 16, C::kGroupStride);
    v_desc = wgmma_descriptor(s.v, C::kChunkStride, C::kGroupStride);
    factor0 = factor1 = (C::kScore == Score::kSoftCap ? p.soft_cap : p.scale) * kLog2E;
    first_row = group * 64 + warp * 16 + lane / 4;
  }

  // ---- the tile

  // Reads the next tile; false: there is none.
  __device__ __forceinline__ bool next_tile(int count) {
    mbar_wait(s.tile_full, count & 1);
    std::uint32_t a[4], b[4];
    load_shared_128(a, s.tile);
    load_shared_128(b, s.tile + 16);
    // The arrive frees the slot, so its address depends on what was read from it (by AND with a
    // zero known only at run time): the assembler may move it ahead of the loads' return otherwise.
    const std::uint32_t zero = static_cast<std::uint32_t>(p.pack_shift) >> 8;
    mbar_arrive(s.tile_empty + ((a[0] | b[0]) & zero));
    t = {static_cast<int>(a[0]), static_cast<int>(a[1]), static_cast<int>(a[2]),
         static_cast<int>(a[3]), static_cast<int>(b[0]), static_cast<int>(b[1]),
         static_cast<int>(b[2]), static_cast<int>(b[3])};
    return t.rows >= 0;
  }
  __device__ __forceinline__ int token_of(int row) const { return row >> p.pack_shift; }
  __device__ __forceinline__ int head_of(int row) const {
    const int packed = 1 << p.pack_shift;
    return t.head * packed + (row & (packed - 1));
  }
  __device__ __forceinline__ KeyRange keys_of(int row) const {
    return visible_keys<C::kMask>(t.position + token_of(row), t.kv_len, p.window_left,
                                  p.window_right);
  }
  // The KV blocks that need no mask for any row of this warpgroup.
  __device__ __forceinline__ BlockRange full_blocks() const {
    const KeyRange first = keys_of(group * 64), last = keys_of(group * 64 + 63);
    const int end = C::kMask == Mask::kBits ? min(t.kv_len, t.mask_begin) : first.end;
    return {(last.begin + C::kBlock - 1) / C::kBlock, max(0, end) / C::kBlock};
  }

  // ---- matrix products

  __device__ __forceinline__ void issue_scores(Scores& x) {
    const std::uint64_t kd = k_desc + k_ring.stage * (C::kBlockBytes >> 4);
    pin(x);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < C::kHeadDim / 16; k++) {
      WgmmaScores<M, C::kBlock>::run(
          x, q_desc + (((k / 4) * C::kTileRows * 128 + (k % 4) * 32) >> 4),
          kd + (((k / 4) * C::kChunkStride + (k % 4) * 32) >> 4), k != 0);
    }
    wgmma_commit();
    pin(x);
  }
  __device__ __forceinline__ void issue_values() {
    const std::uint64_t vd = v_desc + v_ring.stage * (C::kBlockBytes >> 4);
    pin(probs);
    pin(out);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < C::kBlock / 16; k++) {
      WgmmaValues<M, C::kHeadDim>::run(out, probs + 4 * k, vd + ((k * 2 * C::kGroupStride) >> 4));
    }
    wgmma_commit();
    pin(out);
    pin(probs);
  }
  __device__ __forceinline__ void release_k() {
    if (leader) mbar_arrive(s.k_empty + 8 * k_ring.stage);
    k_ring.next();
  }
  // All threads arrive, since any may have cleared rows of the stage: so racecheck sees the order.
  __device__ __forceinline__ void release_v() {
    mbar_arrive(s.v_empty + 8 * v_ring.stage);
    v_ring.next();
  }
  __device__ __forceinline__ void take_turn() const {
    if constexpr (C::kPingPong) barrier_sync(kTurnBarrier + group, 256);
  }
  __device__ __forceinline__ void pass_turn() const {
    if constexpr (C::kPingPong) {
      barrier_arrive(kTurnBarrier + (group + 1 == C::kWarpgroups ? 0 : group + 1), 256);
    }
  }

  // ---- scores. Element i of a thread is key 8 * (i / 4) + i % 2 of the block + 2 * (lane % 4), in
  // row first_row + (i & 2 ? 8 : 0).

  __device__ __forceinline__ void transform(Scores& x, int j) const {
    if constexpr (C::kScore == Score::kSoftCap) {
      const float inner = p.scale / p.soft_cap;
#pragma unroll
      for (int i = 0; i < kScores; i++) x[i] = tanh_exp(x[i] * inner);
    }
    if constexpr (C::kScore == Score::kAlibi) {
      const int key = j * C::kBlock + (lane & 3) * 2 - t.position;
      const float base0 = slope0 * static_cast<float>(key - token_of(first_row));
      const float base1 = slope1 * static_cast<float>(key - token_of(first_row + 8));
#pragma unroll
      for (int i = 0; i < kScores; i++) {
        const auto column = static_cast<float>((i / 4) * 8 + (i & 1));
        x[i] += (i & 2) != 0 ? fmaf(slope1, column, base1) : fmaf(slope0, column, base0);
      }
    }
  }
  __device__ __forceinline__ void mask(Scores& x, int j) const {
    const int key = j * C::kBlock + (lane & 3) * 2;
    const KeyRange r0 = keys_of(first_row), r1 = keys_of(first_row + 8);
    const int end0 = r0.end - key, end1 = r1.end - key;
#pragma unroll
    for (int i = 0; i < kScores; i++) {
      const int column = (i / 4) * 8 + (i & 1);
      if (column >= ((i & 2) != 0 ? end1 : end0)) x[i] = -kInfinity;
      if constexpr (C::kMask == Mask::kWindow) {
        if (column < ((i & 2) != 0 ? r1.begin : r0.begin) - key) x[i] = -kInfinity;
      }
    }
    if constexpr (C::kMask == Mask::kBits) mask_bits(x, j);
  }
  __device__ __forceinline__ void mask_bits(Scores& x, int j) const {
    const int last = max(0, t.rows - 1);
    const std::int64_t token0 = t.q_token + token_of(min(first_row, last));
    const std::int64_t token1 = t.q_token + token_of(min(first_row + 8, last));
#pragma unroll
    for (int w = 0; w < (C::kBlock + 31) / 32; w++) {
      const int first = j * C::kBlock + w * 32 - t.mask_begin;
      const std::uint32_t bits0 =
          mask_word(p.mask_bits + token0 * p.mask_words, p.mask_words, first) >> ((lane & 3) * 2);
      const std::uint32_t bits1 =
          mask_word(p.mask_bits + token1 * p.mask_words, p.mask_words, first) >> ((lane & 3) * 2);
#pragma unroll
      for (int e = 0; e < 16; e++) {
        const int i = w * 16 + e;
        if (i >= kScores) break;
        const std::uint32_t bit = 1u << ((e / 4) * 8 + (e & 1));
        if ((((e & 2) != 0 ? bits1 : bits0) & bit) == 0) x[i] = -kInfinity;
      }
    }
  }
  __device__ __forceinline__ void pack(const Scores& x) {
#pragma unroll
    for (int i = 0; i < kScores / 2; i++) probs[i] = Element<M>::pack(x[2 * i], x[2 * i + 1]);
  }
  __device__ __forceinline__ void rescale() {
    if (!softmax.needs_rescale()) return;
#pragma unroll
    for (int i = 0; i < kOut; i += 4) {
      out[i] *= softmax.rescale0;
      out[i + 1] *= softmax.rescale0;
      out[i + 2] *= softmax.rescale1;
      out[i + 3] *= softmax.rescale1;
    }
  }

  // V rows behind the last key may hold anything, and 0 * NaN is NaN: the first warpgroup clears
  // them, the others wait for it. (Helpers beside the producer could; their waiting costs 2 %.)
  __device__ __forceinline__ void clear_tail(int blocks_end) const {
    const int valid = t.kv_len - (blocks_end - 1) * C::kBlock;
    if (C::kConvert || valid >= C::kBlock) return;
    if (group > 0) return barrier_sync(kTailBarrier + group, 256);
    mbar_wait(s.v_full + 8 * v_ring.stage, v_ring.parity);
    const std::uint32_t base = s.v + v_ring.stage * C::kBlockBytes;
    constexpr int kVectors = C::kChunks * 8;  // 16-byte vectors of a row
    for (int i = valid * kVectors + static_cast<int>(threadIdx.x & 127); i < C::kBlock * kVectors;
         i += 128) {
      const int row = i / kVectors, vector = i % kVectors;
      store_shared_zero_128(base + (row / 8) * C::kGroupStride + (row % 8) * 128 +
                            (vector / 8) * C::kChunkStride + (vector % 8) * 16);
    }
    fence_async_smem();
    barrier_sync(kGroupBarrier, 128);
#pragma unroll
    for (int i = 1; i < C::kWarpgroups; i++) barrier_arrive(kTailBarrier + i, 256);
  }

  // ---- control

  template <bool kMasked>
  __device__ __forceinline__ void step(int j) {
    Scores x;
    mbar_wait(s.k_full + 8 * k_ring.stage, k_ring.parity);
    take_turn();
    issue_scores(x);
    if (C::kRescaleFirst) rescale();
    mbar_wait(s.v_full + 8 * v_ring.stage, v_ring.parity);
    issue_values();
    pass_turn();
    wgmma_wait<1>();
    pin(x);
    release_k();
    transform(x, j);
    if (kMasked) mask(x, j);
    softmax.update_max(x, factor0, factor1);
    softmax.exponentiate(x, factor0, factor1);
    wgmma_wait<0>();
    pin(out);
    pin(probs);
    release_v();
    pack(x);
    if (!C::kRescaleFirst) rescale();
  }

  // The rightmost block: no product of V to overlap with.
  __device__ __forceinline__ void first_step(int j, bool masked) {
    Scores x;
    mbar_wait(s.k_full + 8 * k_ring.stage, k_ring.parity);
    issue_scores(x);
    wgmma_wait<0>();
    pin(x);
    release_k();
    transform(x, j);
    if (masked) mask(x, j);
    softmax.update_max(x, factor0, factor1);
    softmax.rescale0 = softmax.rescale1 = 1;
    softmax.exponentiate(x, factor0, factor1);
    pack(x);
  }

  __device__ __forceinline__ void start_tile() {
#pragma unroll
    for (int i = 0; i < kOut; i++) out[i] = 0;
    softmax = {};
    if constexpr (C::kScore == Score::kAlibi) {
      slope0 = __ldg(p.alibi_slopes + head_of(first_row)) / p.scale;
      slope1 = __ldg(p.alibi_slopes + head_of(first_row + 8)) / p.scale;
    }
  }

  // Caches of bytes become f16, and so do the queries.
  __device__ __forceinline__ void convert_query() {
    const bool scaled = C::kFormat == KvFormat::kE4M3 && p.k_scale != nullptr;
    const float scale = p.scale * kLog2E * (scaled ? __ldg(p.k_scale + t.kv_head) : 1.f);
    const float2 down = prefill_convert_query<C>(s.q + (group * 64 + warp * 16) * 128);
    factor0 = scale * down.x;
    factor1 = scale * down.y;
    barrier_sync(kGroupBarrier + group, 128);
  }

  __device__ __forceinline__ void run_tile(BlockRange blocks, int query_count) {
    const BlockRange full = full_blocks();
    start_tile();
    mbar_wait(s.q_full, query_count & 1);
    if constexpr (C::kConvert) convert_query();
    int j = blocks.end - 1;
    first_step(j, j >= full.end || j < full.begin);
    clear_tail(blocks.end);
    j--;
    if constexpr (C::kMask != Mask::kFull) {
#pragma unroll 1
      for (; j >= max(blocks.begin, full.end); j--) step<true>(j);
    }
#pragma unroll 1
    for (; j >= max(blocks.begin, full.begin); j--) step<false>(j);
    if constexpr (C::kMask == Mask::kWindow) {
#pragma unroll 1
      for (; j >= blocks.begin; j--) step<true>(j);
    }
    __syncwarp();
    mbar_arrive(s.q_empty);  // last use of Q is complete
    if (C::kRescaleFirst) rescale();
    mbar_wait(s.v_full + 8 * v_ring.stage, v_ring.parity);
    issue_values();
    softmax.reduce_sums();  // while the last product runs
    store_lse();
    if (!C::kOutputDirect && leader)
      bulk_wait_read();  // the last tile's store has left its staging
    wgmma_wait<0>();
    pin(out);
    release_v();
    if constexpr (C::kOutputDirect) {
      store_direct();
    } else {
      barrier_sync(kGroupBarrier + group, 128);
      stage_output();
      barrier_sync(kGroupBarrier + group, 128);
      store_output();
    }
  }

  // ---- results

  __device__ __forceinline__ void store_lse() const {
    if (p.lse == nullptr || (lane & 3) != 0) return;
    auto store = [&](int row, float max, float sum) {
      if (row >= t.rows) return;
      const std::int64_t token = t.q_token + token_of(row);
      p.lse[token * p.q_heads + head_of(row)] = log_sum_exp(max, sum);
    };
    store(first_row, softmax.max0 * factor0, softmax.sum0);
    store(first_row + 8, softmax.max1 * factor1, softmax.sum1);
  }
  __device__ __forceinline__ std::uint32_t staged(int row, int vector) const {
    return s.out + (vector / 8) * C::kTileRows * 128 + row * 128 + (((vector ^ row) & 7) << 4);
  }
  // What O of this thread's two rows must be multiplied by.
  __device__ __forceinline__ float2 normalizers() const {
    const bool scaled = C::kFormat == KvFormat::kE4M3 && p.v_scale != nullptr;
    const float scale = scaled ? __ldg(p.v_scale + t.kv_head) : 1.f;
    return make_float2(softmax.sum0 > 0 ? scale / softmax.sum0 : 0,
                       softmax.sum1 > 0 ? scale / softmax.sum1 : 0);
  }
  __device__ __forceinline__ T* output_row(int row) const {
    return static_cast<T*>(p.out) + (t.q_token + token_of(row)) * p.out_token_stride +
           head_of(row) * p.out_head_stride;
  }
  // From registers: the four lanes of a row exchange pairs of elements for runs of 16 bytes.
  __device__ __forceinline__ void store_direct() const {
    static_assert(!C::kOutputDirect || C::kHeadDim % 32 == 0);
    const float2 inv = normalizers();
    T* const rows[2] = {output_row(first_row) + (lane & 3) * 8,
                        output_row(first_row + 8) + (lane & 3) * 8};
#pragma unroll
    for (int c = 0; c < C::kHeadDim / 32; c++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        std::uint32_t x[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* o = out + (c * 4 + i) * 4 + half * 2;
          const float f = half == 0 ? inv.x : inv.y;
          x[i] = Element<T>::pack(o[0] * f, o[1] * f);
        }
        transpose_quad(x);
        if (first_row + half * 8 < t.rows)
          *reinterpret_cast<uint4*>(rows[half] + c * 32) = make_uint4(x[0], x[1], x[2], x[3]);
      }
    }
  }
  __device__ __forceinline__ void stage_output() const {
    const auto [inv0, inv1] = normalizers();
    const int row = group * 64 + warp * 16 + (lane & 15);
#pragma unroll
    for (int c = 0; c < C::kHeadDim / 16; c++) {
      const float* o = out + 8 * c;
      stmatrix_x4(
          staged(row, 2 * c + (lane >> 4)),
          {Element<T>::pack(o[0] * inv0, o[1] * inv0), Element<T>::pack(o[2] * inv1, o[3] * inv1),
           Element<T>::pack(o[4] * inv0, o[5] * inv0), Element<T>::pack(o[6] * inv1, o[7] * inv1)});
    }
    fence_async_smem();
  }
  // Whole warpgroups leave through a tensor copy; the end of a request row by row, since the rows
  // behind it belong to the next one.
  __device__ __forceinline__ void store_output() const {
    const int rows = t.rows - group * 64;
    if (rows >= 64) {
      if (leader) {
#pragma unroll
        for (int c = 0; c < C::kChunks; c++) {
          tensor_store(&args.map_out, s.out + (c * C::kTileRows + group * 64) * 128,
                       {c * 64, 0, t.q_token + token_of(group * 64), t.head});
        }
        bulk_commit();
      }
    } else {
      store_rows(rows, false);
    }
  }
  // The first `rows` rows of this warpgroup, from the staging buffer or zeros.
  __device__ __forceinline__ void store_rows(int rows, bool zero) const {
    constexpr int kVectors = C::kHeadDim / 8;
    for (int i = static_cast<int>(threadIdx.x & 127); i < rows * kVectors; i += 128) {
      const int row = group * 64 + i / kVectors, vector = i % kVectors;
      std::uint32_t x[4] = {};
      if (!zero) load_shared_128(x, staged(row, vector));
      *reinterpret_cast<uint4*>(output_row(row) + vector * 8) = make_uint4(x[0], x[1], x[2], x[3]);
    }
  }
  // A tile none of whose rows sees a key.
  __device__ __forceinline__ void empty_tile() {
    softmax = {};
    store_lse();
    store_rows(min(64, t.rows - group * 64), true);
  }
};

template <class C>
__device__ __forceinline__ void prefill_consume(const PrefillArguments& args,
                                                const PrefillShared<C>& shared, int warpgroup) {
  PrefillConsumer<C> consumer(args, shared, warpgroup);
  if (C::kPingPong && warpgroup == 0) barrier_arrive(kTurnBarrier, 256);
  int queries = 0;
  for (int count = 0; consumer.next_tile(count); count++) {
    const BlockRange blocks = tile_blocks<C>(consumer.t, args.p);
    if (blocks.end > blocks.begin)
      consumer.run_tile(blocks, queries++);
    else
      consumer.empty_tile();
  }
  if (consumer.leader) bulk_wait();
}

}  // namespace spate::cuda
