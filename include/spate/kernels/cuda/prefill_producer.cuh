// The producer warp of prefill: walks the tile list and copies Q, K and V into shared memory, from
// the right end of a tile's keys to the left, V one block behind K.
#pragma once
#include "spate/kernels/cuda/prefill_params.cuh"

namespace spate::cuda {

// Strided KV needs one lane; with pages, lane i copies the i-th run of tokens of a block.
template <class C>
struct PrefillProducer {
  const PrefillArguments& args;
  const PrefillParams& p;
  const PrefillShared<C>& s;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  Ring<C::kStages> k_ring{1}, v_ring{1};

  __device__ __forceinline__ PrefillProducer(const PrefillArguments& a,
                                             const PrefillShared<C>& shared)
      : args(a), p(a.p), s(shared) {}

  // Pages: this lane's part of block j is the run of its tokens on the lane-th page the block
  // touches.
  __device__ __forceinline__ int page_index(int j) const {
    return j * C::kBlock / p.page_tokens + lane;
  }
  __device__ __forceinline__ int block_end(const PrefillTile& t, int j) const {
    return min((j + 1) * C::kBlock, (t.kv_len + 7) / 8 * 8);
  }
  // Id of that page, read ahead of its use.
  __device__ __forceinline__ int page_of(const PrefillTile& t, int j) const {
    if constexpr (!C::kImage) return 0;
    const int index = page_index(j);
    return index * p.page_tokens < block_end(t, j) ? __ldg(p.page_table + t.kv_begin + index) : 0;
  }
  __device__ __forceinline__ void load_run(const PrefillTile& t, int j, int half, int page,
                                           std::uint32_t dst, std::uint32_t bar) const {
    const int start = page_index(j) * p.page_tokens;
    const int from = max(j * C::kBlock, start), to = min(block_end(t, j), start + p.page_tokens);
    if (from >= to) return;
    const std::int64_t row =
        ((std::int64_t{page} * p.kv_heads + t.kv_head) * 2 + half) * p.page_tokens;
    const auto* src =
        static_cast<const std::uint8_t*>(p.pages) + (row + from - start) * C::kRowBytes;
    bulk_load(dst + (from - j * C::kBlock) * C::kRowBytes, src, (to - from) * C::kRowBytes, bar,
              kEvictNormal);
  }
  // Block j of K (half 0) or V (half 1) into the ring's next stage.
  __device__ __forceinline__ void load(const PrefillTile& t, int j, int half, int page) {
    Ring<C::kStages>& ring = half == 0 ? k_ring : v_ring;
    const std::uint32_t full = (half == 0 ? s.k_full : s.v_full) + 8 * ring.stage;
    const std::uint32_t empty = (half == 0 ? s.k_empty : s.v_empty) + 8 * ring.stage;
    const std::uint32_t dst = (half == 0 ? s.k : s.v) + ring.stage * C::kBlockBytes;
    if constexpr (C::kImage) {
      mbar_wait(empty, ring.parity);
      if (lane == 0) mbar_expect_bytes(full, (block_end(t, j) - j * C::kBlock) * C::kRowBytes);
      __syncwarp();
      load_run(t, j, half, page, dst, full);
    } else if (lane == 0) {
      mbar_wait(empty, ring.parity);
      mbar_expect_bytes(full, C::kBlockBytes);
      const void* map = half == 0 ? &args.map_k : &args.map_v;
#pragma unroll
      for (int c = 0; c < C::kChunks; c++) {
        tensor_load(dst + c * C::kChunkStride, map, full,
                    {c * 64, t.kv_begin + j * C::kBlock, t.kv_head, 0}, kEvictNormal);
      }
    }
    ring.next();
  }
  __device__ __forceinline__ void load_query(const PrefillTile& t,
                                             std::uint32_t empty_parity) const {
    if (lane != 0) return;
    mbar_wait(s.q_empty, empty_parity);
    mbar_expect_bytes(s.q_full, C::kQueryBytes);
#pragma unroll
    for (int c = 0; c < C::kChunks; c++) {
      tensor_load(s.q + c * C::kTileRows * 128, &args.map_q, s.q_full,
                  {c * 64, 0, t.q_token, t.head}, kEvictFirst);
    }
  }
  // Hands the tile to the consumers; rows < 0 tells them to stop.
  __device__ __forceinline__ void publish(const PrefillTile& t, int count) const {
    if (lane != 0) return;
    mbar_wait(s.tile_empty, (count & 1) ^ 1);
    const auto* words = reinterpret_cast<const std::int32_t*>(&t);
#pragma unroll
    for (int i = 0; i < 8; i += 4) {
      asm volatile("st.shared.v4.b32 [%0],{%1,%2,%3,%4};" ::"r"(s.tile + 4 * i), "r"(words[i]),
                   "r"(words[i + 1]), "r"(words[i + 2]), "r"(words[i + 3])
                   : "memory");
    }
    mbar_arrive(s.tile_full);
  }

  __device__ __forceinline__ void run() {
    int index = static_cast<int>(blockIdx.x), count = 0, queries = 0;
    PrefillTile t = p.tiles[index];
    grid_dependency_wait();
    grid_launch_dependents();
    while (true) {
      publish(t, count++);
      const BlockRange blocks = tile_blocks<C>(t, p);
      if (blocks.end > blocks.begin) {
        int page = page_of(t, blocks.end - 1);
        load(t, blocks.end - 1, 0, page);
        load_query(t, (queries++ & 1) ^ 1);
        int next = 0;
        for (int j = blocks.end - 1; j >= blocks.begin; j--) {
          const int left = j > blocks.begin ? page_of(t, j - 1) : 0;
          if (j > blocks.begin) load(t, j - 1, 0, left);
          if (j == max(blocks.begin, blocks.end - 2)) next = claim();
          load(t, j, 1, page);
          page = left;
        }
        index = next;
      } else {
        index = claim();
      }
      index = __shfl_sync(~0u, index, 0);
      if (index >= p.n_tiles) break;
      t = p.tiles[index];
    }
    t.rows = -1;
    publish(t, count);
    // The last block to finish makes the counters ready for the next launch.
    if (lane == 0 && atomicAdd(p.counters + 1, 1) == gridDim.x - 1)
      p.counters[0] = p.counters[1] = 0;
  }
  __device__ __forceinline__ int claim() const {
    return lane == 0 ? static_cast<int>(atomicAdd(p.counters, 1) + gridDim.x) : 0;
  }
};

}  // namespace spate::cuda
