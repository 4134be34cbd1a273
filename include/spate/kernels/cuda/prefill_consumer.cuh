// One consumer warpgroup of prefill: 64 query rows of a tile, scores and output in registers.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/prefill_convert.cuh"
#include "spate/kernels/cuda/prefill_results.cuh"
#include "spate/kernels/cuda/prefill_rows.cuh"
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
  const bool leader = (threadIdx.x & 127) == 0;
  std::uint64_t q_desc, k_desc, v_desc;
  float factor0, factor1;  // turn raw scores of this thread's two rows into exponents of 2
  Ring<C::kStages> k_ring{0}, v_ring{0};

  PrefillRows<C> rows;
  float out[kOut];
  std::uint32_t probs[kScores / 2];  // P in M, already in A-fragment order
  typename PrefillResults<C>::Softmax softmax;

  __device__ __forceinline__ PrefillConsumer(const PrefillArguments& a,
                                             const PrefillShared<C>& shared, int warpgroup)
      : args(a), p(a.p), s(shared), group(warpgroup), rows(a.p, warpgroup) {
    q_desc = wgmma_descriptor(s.q + group * 64 * 128, 16, 1024);
    k_desc = wgmma_descriptor(s.k, 16, C::kGroupStride);
    v_desc = wgmma_descriptor(s.v, C::kChunkStride, C::kGroupStride);
    factor0 = factor1 = (C::kScore == Score::kSoftCap ? p.soft_cap : p.scale) * kLog2E;
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
    rows.tile = {static_cast<int>(a[0]), static_cast<int>(a[1]), static_cast<int>(a[2]),
                 static_cast<int>(a[3]), static_cast<int>(b[0]), static_cast<int>(b[1]),
                 static_cast<int>(b[2]), static_cast<int>(b[3])};
    return rows.tile.rows >= 0;
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
    const int valid = rows.tile.kv_len - (blocks_end - 1) * C::kBlock;
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
    rows.transform(x, j);
    if (kMasked) rows.mask(x, j);
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
    rows.transform(x, j);
    if (masked) rows.mask(x, j);
    softmax.update_max(x, factor0, factor1);
    softmax.rescale0 = softmax.rescale1 = 1;
    softmax.exponentiate(x, factor0, factor1);
    pack(x);
  }

  __device__ __forceinline__ void start_tile() {
#pragma unroll
    for (int i = 0; i < kOut; i++) out[i] = 0;
    softmax = {};
    rows.start_tile();
  }

  // Caches of bytes become f16, and so do the queries.
  __device__ __forceinline__ void convert_query() {
    const bool scaled = C::kFormat == KvFormat::kE4M3 && p.k_scale != nullptr;
    const float scale = p.scale * kLog2E * (scaled ? __ldg(p.k_scale + rows.tile.kv_head) : 1.f);
    const float2 down = prefill_convert_query<C>(s.q + (group * 64 + rows.warp * 16) * 128);
    factor0 = scale * down.x;
    factor1 = scale * down.y;
    barrier_sync(kGroupBarrier + group, 128);
  }

  __device__ __forceinline__ void run_tile(BlockRange blocks, int query_count) {
    const BlockRange full = rows.full_blocks();
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
    results().store_lse(softmax, factor0, factor1);
    if (!C::kOutputDirect && leader)
      bulk_wait_read();  // the last tile's store has left its staging
    wgmma_wait<0>();
    pin(out);
    release_v();
    if constexpr (C::kOutputDirect) {
      results().store_direct(softmax, out);
    } else {
      barrier_sync(kGroupBarrier + group, 128);
      results().stage_output(softmax, out);
      barrier_sync(kGroupBarrier + group, 128);
      results().store_output();
    }
  }
  // Made anew each time: kept, its reference to the rows would keep them out of registers.
  __device__ __forceinline__ PrefillResults<C> results() const {
    return {args, p, s, rows, leader};
  }
  // A tile none of whose rows sees a key.
  __device__ __forceinline__ void empty_tile() {
    softmax = {};
    results().store_lse(softmax, factor0, factor1);
    results().store_rows(min(64, rows.tile.rows - group * 64), true);
  }
};

template <class C>
__device__ __forceinline__ void prefill_consume(const PrefillArguments& args,
                                                const PrefillShared<C>& shared, int warpgroup) {
  PrefillConsumer<C> consumer(args, shared, warpgroup);
  if (C::kPingPong && warpgroup == 0) barrier_arrive(kTurnBarrier, 256);
  int queries = 0;
  for (int count = 0; consumer.next_tile(count); count++) {
    const BlockRange blocks = tile_blocks<C>(consumer.rows.tile, args.p);
    if (blocks.end > blocks.begin)
      consumer.run_tile(blocks, queries++);
    else
      consumer.empty_tile();
  }
  if (consumer.leader) bulk_wait();
}

}  // namespace spate::cuda
