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
    if (elect_one()) load_query(first, 0, s.full);
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

  // Copies page `i` of block b into the stage.
  __device__ __forceinline__ void copy(const DecodeSegment& g, int b, int i, int page,
                                       std::uint32_t dst, std::uint32_t bar) const {
    const int together = layout.tokens(), first = b * C::kBlockTokens + i * together;
    const int tokens = min(together, (g.kv_len - first + 7) / 8 * 8);
    if (tokens <= 0) return;
    const std::uint32_t half = together * C::kRowBytes, bytes = tokens * C::kRowBytes;
    const std::int64_t page_half = std::int64_t{p.page_tokens} * C::kRowBytes;
    const auto* src = static_cast<const std::uint8_t*>(p.pages) + page * p.page_stride +
                      g.kv_head * p.head_stride +
                      std::int64_t{first & (p.page_tokens - 1)} * C::kRowBytes;
    dst += i * 2 * half;
    if (bytes == page_half) {
      bulk_load(dst, src, 2 * (bytes + tokens * C::kScaleBytes), bar, kEvictFirst);
      return;
    }
    bulk_load(dst, src, bytes, bar, kEvictFirst);
    bulk_load(dst + half, src + page_half, bytes, bar, kEvictFirst);
    if constexpr (C::kInt8) {
      const std::uint32_t scales = together * C::kScaleBytes, used = tokens * C::kScaleBytes;
      bulk_load(dst + 2 * half, src + 2 * page_half, used, bar, kEvictFirst);
      bulk_load(dst + 2 * half + scales, src + 2 * page_half + scales, used, bar, kEvictFirst);
    }
  }
  // Block b into the ring's next stage: by one elected thread if it is one page (a copy by a lane
  // that the compiler cannot prove to be alone costs a loop), else each page by a lane of its own.
  __device__ __forceinline__ void load_block(const DecodeSegment& g, int b, int page,
                                             bool query_too) {
    const std::uint32_t bar = s.full + 8 * ring.stage;
    const std::uint32_t dst = s.ring + ring.stage * C::kStageBytes;
    mbar_wait(s.empty + 8 * ring.stage, ring.parity);
    if (elect_one()) {
      publish(g, b);
      if (pages_shift() == 0) copy(g, b, 0, page, dst, bar);
      if (query_too) load_query(g, ring.stage, bar);
    }
    __syncwarp();
    if (pages_shift() > 0 && lane >> pages_shift() == 0) copy(g, b, lane, page, dst, bar);
  }

  __device__ __forceinline__ void publish(const DecodeSegment& g, int b) const {
    s.record(ring.stage).set(g, b, C::kBlockTokens);
    const int keys = g.kv_len - b * C::kBlockTokens;
    const int tokens = max(0, min(C::kBlockTokens, (keys + 7) / 8 * 8));
    const std::uint32_t query = g.q_len * heads * C::kHeadDim * 2;
    mbar_expect_bytes(s.full + 8 * ring.stage,
                      2 * tokens * (C::kRowBytes + C::kScaleBytes) + (b == g.block ? query : 0));
  }

  __device__ __forceinline__ void run(const DecodeShare& share) {
    if (share.blocks == 0) return stop({});
    DecodeWalk walk(p, share);
    const DecodeSegment first = walk.segment;
    bool first_segment = true;
    do {
      const DecodeSegment g = walk.segment;
      for (int b = g.block; b < g.block_end; b++) {
        const int page = page_of(g, b);
        // The row's end may hold tokens that the preceding kernel writes.
        const bool newest = (b + 1) * C::kBlockTokens > g.kv_len - kNewest;
        if (!first_segment || newest) wait_for_preceding(first);
        if (b == max(g.block, g.block_end - 2)) walk.read_ahead();
        load_block(g, b, page, b == g.block && !first_segment);
        if (ring.stage == C::kStages - 1) wait_for_preceding(first);
        ring.next();
      }
      first_segment = false;
    } while (walk.next());
    stop(first);
  }

  // Tells the consumers that the share is done.
  __device__ __forceinline__ void stop(const DecodeSegment& first) {
    wait_for_preceding(first);
    mbar_wait(s.empty + 8 * ring.stage, ring.parity);
    if (elect_one()) {
      s.record(ring.stage).flags = DecodeRecord::kStop;
      mbar_arrive(s.full + 8 * ring.stage);
    }
  }
};

}  // namespace spate::cuda
