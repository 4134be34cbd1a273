// The producer warp of decode: keeps the ring of KV blocks full.
#pragma once
#include "spate/kernels/cuda/decode_params.cuh"

namespace spate::cuda {

template <class C>
struct DecodeProducer {
  const DecodeParams& p;
  const DecodeShared<C>& s;
  const int heads, page_shift;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const StageLayout layout = StageLayout::of<C>(page_shift);
  Ring<C::kStages> ring{1};
  bool waited = false;
  // Rows of this step that a row may see: a request's own, of which this kernel takes 16 at most.
  // What other requests share with it was written by earlier steps.
  static constexpr int kNewest = 16;
  int ids = 0;  // lane i: id of the i-th page from the last read position on

  __device__ __forceinline__ DecodeProducer(const DecodeArguments& args,
                                            const DecodeShared<C>& shared)
      : p(args.p), s(shared), heads(args.heads), page_shift(args.page_shift) {}

  __device__ __forceinline__ void load_query(const DecodeSegment& g, int stage,
                                             std::uint32_t bar) const {
    const std::uint32_t bytes = heads * C::kHeadDim * 2;
    for (int i = 0; i < g.q_len; i++) {
      const auto* src = static_cast<const typename C::T*>(p.q) +
                        std::int64_t{g.q_token + i} * p.q_token_stride +
                        std::int64_t{g.kv_head} * heads * C::kHeadDim;
      bulk_load(s.query + stage * C::kQueryBytes + i * bytes, src, bytes, bar, kEvictNormal);
    }
  }
  // Under programmatic dependent launch the ring is filled while the preceding kernel still runs.
  // That kernel may write the queries and the newest tokens (and use our scratch), so whatever
  // touches those waits for it.
  __device__ __forceinline__ void wait_for_preceding(const DecodeSegment& first) {
    if (waited) return;
    waited = true;
    grid_dependency_wait();
    if (elect_one()) load_query(first, 0, s.first_query);
  }

  // Log2 of the pages of one block, and the position of block b's first page in the request's
  // table.
  __device__ __forceinline__ int pages_shift() const { return C::kBlockShift - layout.shift; }
  __device__ __forceinline__ int page_index(int b) const {
    return b * C::kBlockTokens >> page_shift;
  }

  // This lane's page of block b.
  __device__ __forceinline__ int page_of(const DecodeSegment& g, int b) {
    const int shift = pages_shift(), mine = min(lane, (1 << shift) - 1);
    if (p.page_table == nullptr) return g.table + page_index(b) + mine;
    const bool first_known = shift == 0 && g.first_page >= 0;
    if (first_known && b == g.block) return g.first_page;
    const int at = ((b - g.block) << shift) & 31;
    if (at == 0 || (first_known && b == g.block + 1)) {
      const int first = b - (at >> shift);  // the block whose ids begin at lane 0
      const int index = shift > 0 ? page_index(first) + lane : page_index(first + lane);
      const int last = max(0, (g.kv_len - 1) >> page_shift);
      ids = __ldg(p.page_table + g.table + min(index, last));
    }
    return __shfl_sync(~0u, ids, (at + mine) & 31);
  }

  // Tokens to copy, keys [first, kv_len) of at most `most`: whole groups of 8.
  static __device__ __forceinline__ int tokens_from(int first, int kv_len, int most) {
    return min(most, (kv_len - first + 7) / 8 * 8);
  }
  __device__ __forceinline__ const std::uint8_t* source(int page, int kv_head, int first) const {
    return static_cast<const std::uint8_t*>(p.pages) + page * p.page_stride +
           kv_head * p.head_stride + std::int64_t{first & (p.page_tokens - 1)} * C::kRowBytes;
  }
  // K and V of `tokens` tokens of a page, and their scales, onto a barrier each.
  __device__ __forceinline__ void copy_halves(const std::uint8_t* src, int tokens,
                                              std::uint32_t dst, std::uint32_t k_bar,
                                              std::uint32_t v_bar) const {
    const int together = layout.tokens();
    const std::uint32_t half = together * C::kRowBytes, bytes = tokens * C::kRowBytes;
    const std::int64_t page_half = std::int64_t{p.page_tokens} * C::kRowBytes;
    bulk_load(dst, src, bytes, k_bar, kEvictFirst);
    bulk_load(dst + half, src + page_half, bytes, v_bar, kEvictFirst);
    if constexpr (C::kInt8) {
      const std::uint32_t scales = together * C::kScaleBytes, used = tokens * C::kScaleBytes;
      bulk_load(dst + 2 * half, src + 2 * page_half, used, k_bar, kEvictFirst);
      bulk_load(dst + 2 * half + scales, src + 2 * page_half + scales, used, v_bar, kEvictFirst);
    }
  }
  // Copies page `i` of block b into the stage.
  __device__ __forceinline__ void copy(const DecodeSegment& g, int b, int i, int page,
                                       std::uint32_t dst, std::uint32_t bar) const {
    const int together = layout.tokens(), first = b * C::kBlockTokens + i * together;
    const int tokens = tokens_from(first, g.kv_len, together);
    if (tokens <= 0) return;
    dst += i * 2 * together * C::kRowBytes;
    const std::uint8_t* src = source(page, g.kv_head, first);
    if (tokens == p.page_tokens) {
      bulk_load(dst, src, 2 * tokens * (C::kRowBytes + C::kScaleBytes), bar, kEvictFirst);
    } else {
      copy_halves(src, tokens, dst, bar, bar);
    }
  }

  // Starts the copies of the share's first block where that takes nothing but the share. They come
  // before everything else that this warp has to work out, a thousand cycles on an H200; and K on
  // its own barrier, since the scores can begin with it. Returns whether it did.
  __device__ __forceinline__ bool start(const DecodeShare& share) const {
    const int first = share.block * C::kBlockTokens, kv_len = share.first_row.kv_len;
    const bool newest = first + C::kBlockTokens > kv_len - kNewest;
    const bool early = share.blocks > 0 && !(newest && p.dependent_launch);
    if (early && share.pages[0] >= 0) {
      start_pages(share);
      return true;
    }
    const bool ready = early && share.first_page >= 0;
    if (elect_one()) {
      if (ready) {
        const int tokens = tokens_from(first, kv_len, C::kBlockTokens);
        const std::uint32_t bytes = tokens * (C::kRowBytes + C::kScaleBytes);
        mbar_expect_bytes(s.full, bytes);
        mbar_expect_bytes(s.first_values, bytes);
        copy_halves(source(share.first_page, share.kv_head, first), tokens, s.ring, s.full,
                    s.first_values);
      } else {
        mbar_arrive(s.first_values);
      }
    }
    return ready;
  }
  // The same where the block is several pages, each of them one copy.
  __device__ __forceinline__ void start_pages(const DecodeShare& share) const {
    DecodeSegment g;
    g.kv_head = share.kv_head;
    g.kv_len = share.first_row.kv_len;
    if (elect_one()) {
      const int tokens = tokens_from(share.block * C::kBlockTokens, g.kv_len, C::kBlockTokens);
      mbar_expect_bytes(s.full, 2 * tokens * (C::kRowBytes + C::kScaleBytes));
      mbar_arrive(s.first_values);
    }
    __syncwarp();
    if (lane >> pages_shift() > 0) return;
    const int page = p.shares[blockIdx.x].pages[lane % DecodeShare::kPages];
    copy(g, share.block, lane, page, s.ring, s.full);
  }
  // What the consumers can do before the first block is there.
  __device__ __forceinline__ void announce(const DecodeSegment& first) const {
    s.record(0).set(first, first.block, C::kBlockTokens);
    mbar_expect_bytes(s.first_query, query_bytes(first));
  }

  // Block b into the ring's next stage: by one elected thread if it is one page (a copy by a lane
  // that the compiler cannot prove to be alone costs a loop), else each page by a lane of its own.
  // `first`: of the share's first segment, whose queries come on their own.
  __device__ __forceinline__ void load_block(const DecodeSegment& g, int b, int page, bool first) {
    const std::uint32_t bar = s.full + 8 * ring.stage;
    const std::uint32_t dst = s.ring + ring.stage * C::kStageBytes;
    mbar_wait(s.empty + 8 * ring.stage, ring.parity);
    if (elect_one()) {
      const bool query_too = b == g.block && !first;
      if (b > g.block || !first) s.record(ring.stage).set(g, b, C::kBlockTokens);
      const int tokens = max(0, tokens_from(b * C::kBlockTokens, g.kv_len, C::kBlockTokens));
      mbar_expect_bytes(
          bar, 2 * tokens * (C::kRowBytes + C::kScaleBytes) + (query_too ? query_bytes(g) : 0));
      if (pages_shift() == 0) copy(g, b, 0, page, dst, bar);
      if (query_too) load_query(g, ring.stage, bar);
    }
    __syncwarp();
    if (pages_shift() > 0 && lane >> pages_shift() == 0) copy(g, b, lane, page, dst, bar);
  }
  __device__ __forceinline__ std::uint32_t query_bytes(const DecodeSegment& g) const {
    return g.q_len * heads * C::kHeadDim * 2;
  }

  // `started`: what start() returned.
  __device__ __forceinline__ void run(const DecodeShare& share, bool started) {
    if (share.blocks == 0) return stop({}, 0, s.first_query);
    DecodeWalk walk(p, share);
    const DecodeSegment first = walk.segment;
    bool first_segment = true;
    if (elect_one()) announce(first);
    if (!p.dependent_launch) wait_for_preceding(first);
    do {
      const DecodeSegment g = walk.segment;
      for (int b = g.block; b < g.block_end; b++) {
        const int page = page_of(g, b);
        // The row's end may hold tokens that the preceding kernel writes.
        const bool newest = (b + 1) * C::kBlockTokens > g.kv_len - kNewest;
        if (!first_segment || newest) wait_for_preceding(first);
        if (b == max(g.block, g.block_end - 2)) walk.read_ahead();
        const bool copied = started && first_segment && b == g.block;
        if (!copied) load_block(g, b, page, first_segment);
        if (ring.stage == C::kStages - 1) wait_for_preceding(first);
        ring.next();
      }
      first_segment = false;
    } while (walk.next());
    mbar_wait(s.empty + 8 * ring.stage, ring.parity);
    stop(first, ring.stage, s.full + 8 * ring.stage);
  }

  // Tells the consumers that the share is done, by the record that they read next.
  __device__ __forceinline__ void stop(const DecodeSegment& first, int stage, std::uint32_t bar) {
    wait_for_preceding(first);
    if (elect_one()) {
      s.record(stage).flags = DecodeRecord::kStop;
      mbar_arrive(bar);
    }
  }
};

}  // namespace spate::cuda
