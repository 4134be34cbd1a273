// The producer thread of prefill: walks the tile list and copies Q, K and V into shared memory,
// from the right end of a tile's keys to the left, V one block behind K. It is one elected thread
// and no warp: copies by a lane that the compiler cannot prove to be alone cost a loop around each.
#pragma once
#include "spate/kernels/cuda/prefill_params.cuh"

namespace spate::cuda {

template <class C>
struct PrefillProducer {
  const PrefillArguments& args;
  const PrefillParams& p;
  const PrefillShared<C>& s;
  const int n_tiles;
  Ring<C::kStages> k_ring{1}, v_ring{1};
  Ring<C::kRawStages> raw_ring{1};

  __device__ __forceinline__ PrefillProducer(const PrefillArguments& a,
                                             const PrefillShared<C>& shared)
      : args(a),
        p(a.p),
        s(shared),
        n_tiles(p.tile_count == nullptr ? p.n_tiles : __ldg(p.tile_count)) {}

  __device__ __forceinline__ int block_end(const PrefillTile& t, int j) const {
    return min((j + 1) * C::kBlock, (t.kv_len + 7) / 8 * 8);
  }
  __device__ __forceinline__ int page_id(const PrefillTile& t, int index) const {
    return __ldg(p.page_table + t.kv_begin + index);
  }
  // Id of the block's first page, read ahead of its use; the ids of the others lie beside it.
  __device__ __forceinline__ int first_page(const PrefillTile& t, int j) const {
    if constexpr (!C::kImage) return 0;
    return page_id(t, j * C::kBlock >> args.page_shift);
  }
  // Block j of K (half 0) or V (half 1) as runs of tokens, one a page; `scales`: theirs.
  __device__ __forceinline__ void copy_runs(const PrefillTile& t, int j, int half, int page,
                                            std::uint32_t dst, std::uint32_t bar,
                                            std::uint32_t scales) const {
    constexpr std::uint32_t kRow = C::kConvert ? C::kRawRowBytes : C::kRowBytes;
    const int end = block_end(t, j);
    for (int at = j * C::kBlock; at < end;) {
      const int index = at >> args.page_shift, start = index << args.page_shift;
      const int to = min(end, start + p.page_tokens);
      if (at > j * C::kBlock) page = page_id(t, index);
      const std::uint32_t row = half * p.page_tokens + at - start;
      const std::uint32_t tokens = to - at;
      const auto* block = static_cast<const std::uint8_t*>(p.pages) + page * p.page_stride +
                          t.kv_head * p.head_stride;
      bulk_load(dst, block + row * kRow, tokens * kRow, bar, kEvictNormal);
      if constexpr (C::kRawScaleBytes > 0) {
        bulk_load(scales, block + 2 * p.page_tokens * kRow + row * C::kRawScaleBytes,
                  tokens * C::kRawScaleBytes, bar, kEvictNormal);
        scales += tokens * C::kRawScaleBytes;
      }
      dst += tokens * kRow;
      at = to;
    }
  }
  // The pages of a block that is several whole pages. Their ids are loaded together and before the
  // wait for a stage; one after the other, each load would hold up the next copy. Tall tiles have
  // no time for the question: their ring is short.
  struct WholePages {
    static constexpr int kMost = C::kBlock / 16;
    static constexpr bool kAsked = C::kImage && !C::kTall && C::kRawScaleBytes == 0;
    int count = 0;  // 0: it is not, or they are more
    int ids[kMost];
  };
  __device__ __forceinline__ WholePages whole_pages(const PrefillTile& t, int j) const {
    WholePages pages;
    if constexpr (WholePages::kAsked) {
      const int begin = j * C::kBlock, tokens = block_end(t, j) - begin;
      const int count = tokens >> args.page_shift;
      const bool whole = ((begin | tokens) & (p.page_tokens - 1)) == 0;
      if (p.page_tokens < C::kBlock && whole && count <= WholePages::kMost) pages.count = count;
#pragma unroll
      for (int i = 0; i < WholePages::kMost; i++)
        pages.ids[i] = i < pages.count ? page_id(t, (begin >> args.page_shift) + i) : 0;
    }
    return pages;
  }
  // A few instructions a copy: addresses are uniform, and chains of uniform arithmetic are slow.
  __device__ __forceinline__ void copy_whole(const PrefillTile& t, const WholePages& pages,
                                             int half, std::uint32_t dst, std::uint32_t bar) const {
    const std::uint32_t bytes = p.page_tokens * (C::kConvert ? C::kRawRowBytes : C::kRowBytes);
    const auto* from =
        static_cast<const std::uint8_t*>(p.pages) + t.kv_head * p.head_stride + half * bytes;
    asm volatile("" : "+l"(from));  // one sum, not one for each page
#pragma unroll
    for (int i = 0; i < WholePages::kMost; i++) {
      if (i >= pages.count) return;
      const std::uint64_t page = static_cast<std::uint32_t>(pages.ids[i]);
      bulk_load(dst + i * bytes, from + page * static_cast<std::uint32_t>(p.page_stride), bytes,
                bar, kEvictNormal);
    }
  }
  __device__ __forceinline__ void copy_block(const PrefillTile& t, const WholePages& pages, int j,
                                             int half, int page, std::uint32_t dst,
                                             std::uint32_t bar, std::uint32_t scales) const {
    if (WholePages::kAsked && pages.count > 0) {
      copy_whole(t, pages, half, dst, bar);
    } else {
      copy_runs(t, j, half, page, dst, bar, scales);
    }
  }
  // Into the ring's next stage.
  __device__ __forceinline__ void load(const PrefillTile& t, int j, int half, int page) {
    if constexpr (C::kConvert) return load_raw(t, j, half, page);
    Ring<C::kStages>& ring = half == 0 ? k_ring : v_ring;
    const std::uint32_t full = (half == 0 ? s.k_full : s.v_full) + 8 * ring.stage;
    const std::uint32_t empty = (half == 0 ? s.k_empty : s.v_empty) + 8 * ring.stage;
    const std::uint32_t dst = (half == 0 ? s.k : s.v) + ring.stage * C::kBlockBytes;
    const WholePages pages = whole_pages(t, j);
    mbar_wait(empty, ring.parity);
    if constexpr (C::kImage) {
      mbar_expect_bytes(full, (block_end(t, j) - j * C::kBlock) * C::kRowBytes);
      copy_block(t, pages, j, half, page, dst, full, 0);
    } else {
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
  // For the converters: which half it is and how many of its rows are keys.
  __device__ __forceinline__ void load_raw(const PrefillTile& t, int j, int half, int page) {
    const std::uint32_t dst = s.raw + raw_ring.stage * C::kRawBytes;
    const std::uint32_t full = s.raw_full + 8 * raw_ring.stage;
    const WholePages pages = whole_pages(t, j);
    mbar_wait(s.raw_empty + 8 * raw_ring.stage, raw_ring.parity);
    publish_raw(half, min(C::kBlock, t.kv_len - j * C::kBlock));
    mbar_expect_bytes(full,
                      (block_end(t, j) - j * C::kBlock) * (C::kRawRowBytes + C::kRawScaleBytes));
    copy_block(t, pages, j, half, page, dst, full, dst + C::kBlock * C::kRawRowBytes);
    raw_ring.next();
  }
  __device__ __forceinline__ void publish_raw(int half, int rows) const {
    store_shared_64(s.raw_info + 8 * raw_ring.stage, half, rows);
  }
  __device__ __forceinline__ void stop_converters() {
    mbar_wait(s.raw_empty + 8 * raw_ring.stage, raw_ring.parity);
    publish_raw(0, -1);
    mbar_arrive(s.raw_full + 8 * raw_ring.stage);
  }
  __device__ __forceinline__ void load_query(const PrefillTile& t,
                                             std::uint32_t empty_parity) const {
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
    mbar_wait(s.tile_empty, (count & 1) ^ 1);
    asm volatile("st.shared.v4.b32 [%0],{%1,%2,%3,%4};" ::"r"(s.tile), "r"(t.q_token), "r"(t.rows),
                 "r"(t.kv_begin), "r"(t.kv_len)
                 : "memory");
    asm volatile("st.shared.v4.b32 [%0],{%1,%2,%3,%4};" ::"r"(s.tile + 16), "r"(t.position),
                 "r"(t.head), "r"(t.kv_head), "r"(t.mask_begin)
                 : "memory");
    mbar_arrive(s.tile_full);
  }
  __device__ __forceinline__ PrefillTile read_tile(int index) const {
    PrefillTile t{};
    t.rows = -1;
    if (index < n_tiles) t = p.tiles[index];
    return t;
  }
  __device__ __forceinline__ int claim() const {
    return static_cast<int>(atomicAdd(p.counters, 1) + gridDim.x);
  }

  // Copies a tile's Q, K and V; returns the index of the next tile. It is claimed as late as its
  // latency still hides: claimed with the first block, long tiles are promised to blocks that are
  // busy for long, and the others idle at the end (6 % at head dim 256).
  __device__ __forceinline__ int load_tile(const PrefillTile& t, BlockRange blocks,
                                           std::uint32_t parity) {
    int page = first_page(t, blocks.end - 1), next = 0;
    load(t, blocks.end - 1, 0, page);
    load_query(t, parity);
    for (int j = blocks.end - 1; j >= blocks.begin; j--) {
      const int left = j > blocks.begin ? first_page(t, j - 1) : 0;
      if (j > blocks.begin) load(t, j - 1, 0, left);
      if (j == min(blocks.begin + 1, blocks.end - 1)) next = claim();
      load(t, j, 1, page);
      page = left;
    }
    return next;
  }

  __device__ __forceinline__ void run(PrefillTile t) {
    int count = 0, queries = 0;
    grid_dependency_wait();
    grid_launch_dependents();
    while (t.rows >= 0) {
      publish(t, count++);
      const BlockRange blocks = tile_blocks<C>(t, p);
      const bool visible = blocks.end > blocks.begin;
      t = read_tile(visible ? load_tile(t, blocks, (queries++ & 1) ^ 1) : claim());
    }
    publish(t, count);
    if constexpr (C::kConvert) stop_converters();
    // The last block to finish makes the counters ready for the next launch.
    if (atomicAdd(p.counters + 1, 1) == gridDim.x - 1) p.counters[0] = p.counters[1] = 0;
  }
};

}  // namespace spate::cuda
