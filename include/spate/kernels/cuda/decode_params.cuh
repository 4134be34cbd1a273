// What a decode launch is given, which variant it is, and its map of shared memory. The kernel is
// decode_sm90.cuh.
#pragma once
#include <cstdint>
#include <type_traits>

#include "spate/kernels/cuda/decode_plan.h"
#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/mma.cuh"
#include "spate/kernels/cuda/ptx.cuh"
#include "spate/kernels/cuda/variant.cuh"

namespace spate::cuda {

// Device pointers; strides in elements. T is the variant's element type, D its head dim.
struct DecodeParams {
  const void* q =
      nullptr;  // T [total_q][q_heads][D], the heads of a token contiguous, 16-byte aligned
  std::int64_t q_token_stride = 0;
  void* out = nullptr;  // T [total_q][q_heads][D]; rows without a visible key become 0
  std::int64_t out_token_stride = 0;
  float* lse =
      nullptr;  // [total_q][q_heads], natural logarithm, -inf without a visible key; or null
  int q_heads = 1, kv_heads = 1;
  float scale = 1;  // of q k^T, usually 1 / sqrt(D)

  const void* pages = nullptr;               // blocks of kv_image.h; block b of kv head h is at
  std::int64_t page_stride = 0;              // pages + b * page_stride + h * head_stride, in bytes;
  std::int64_t head_stride = 0;              // 0: they lie [page][kv_head] without gaps
  const std::int32_t* page_table = nullptr;  // a request's pages from AttentionRequest::kv_begin
                                             // on; null: page ids count up from kv_begin
  int page_tokens = 128;                     // a power of two from 16 up
  const float* k_scale = nullptr;            // e4m3: [kv_heads], what stored keys and values are
  const float* v_scale = nullptr;            // multiplied by; null: by one

  int window_left = 1 << 30;            // keys before a query's position that it sees
  float soft_cap = 0;                   // Score::kSoftCap
  const float* alibi_slopes = nullptr;  // Score::kAlibi, [q_heads]

  const DecodeShare* shares = nullptr;  // [grid] of DecodePlan, on the device
  const DecodeRow* rows = nullptr;
  int grid = 0;                      // DecodePlanOptions::multiprocessors
  float* partial_out = nullptr;      // [slots][kColumns][D]
  float2* partial_stats = nullptr;   // [slots][kColumns]: maximum in base 2, sum
  std::uint32_t* tickets = nullptr;  // [rows][kv_heads], zero before the first launch; the kernel
                                     // leaves them zero
  bool dependent_launch =
      false;  // programmatic dependent launch: fill the ring while the kernel before
              // drains; only queries, the last KV block and scratch wait for it
};

// Queries see keys up to their own position (bottom-right causal; with one query, all keys).
// kColumns: query rows (tokens x heads of one kv head) at a time, 8 or 16.
template <class T_, int kHeadDim_, KvFormat kFormat_ = KvFormat::kElement, int kColumns_ = 8,
          Score kScore_ = Score::kPlain>
struct DecodeVariant {
  using T = T_;
  static constexpr int kHeadDim = kHeadDim_, kColumns = kColumns_;
  static constexpr KvFormat kFormat = kFormat_;
  static constexpr bool kBytes = kFormat != KvFormat::kElement;
  static constexpr bool kInt8 = kFormat == KvFormat::kInt8;
  static constexpr Score kScore = kScore_;
  static_assert(kHeadDim % 16 == 0 && kHeadDim >= 64 && kHeadDim <= 256);
  static_assert(kColumns == 8 || kColumns == 16);
  static_assert(!kBytes || kHeadDim == 64 || kHeadDim % 128 == 0, "lanes read 16 bytes at a time");
};

template <class V>
struct DecodeKernel : V {
  using T = typename V::T;
  // The element type of the matrix products: e4m3 and int8 become f16, exactly.
  using M = std::conditional_t<V::kBytes, __half, T>;
  using V::kColumns, V::kHeadDim, V::kBytes, V::kInt8;
  static constexpr std::uint32_t kRowBytes = kv_row_bytes(kHeadDim, kBytes ? 1 : 2);
  static constexpr bool kAsyncCopies = true;   // the ring is written by the async proxy
  static constexpr int kTiles = kColumns / 8;  // column tiles of the products
  static constexpr int kWarps = 4;             // consumers
  // Eight warps in all instead of nine have 256 registers a thread instead of 168.
  static constexpr int kEpilogueWarps = kColumns * kHeadDim > 1024 ? 3 : 4;
  static constexpr int kWarpTokens = kRowBytes * kColumns <= 256 * 8 ? 32 : 16;
  static constexpr int kBlockTokens = kWarps * kWarpTokens;  // of a stage
  static constexpr int kBlockShift = kBlockTokens == 128 ? 7 : 6;
  static_assert(1 << kBlockShift == kBlockTokens);
  static constexpr int kThreads = (kWarps + kEpilogueWarps + 1) * 32;
  static constexpr std::uint32_t kScaleBytes = kInt8 ? kKvScaleBytes : 0;  // of a token's K or V
  static constexpr std::uint32_t kStageBytes = 2 * kBlockTokens * (kRowBytes + kScaleBytes);
  static_assert(!kInt8 || kBlockTokens == 128, "scales of a page travel with its block");
  // The running maximum may lag behind by so many powers of two. Probabilities of int8 caches take
  // the tokens' scales into f16, times 2^4 against underflow: 16 * 16 * 255 still fits.
  static constexpr float kLazy = kInt8 ? 4.f : 8.f;
  static constexpr float kValueShift = kInt8 ? 16.f : 1.f;
  static constexpr std::uint32_t kQueryBytes = kColumns * kHeadDim * 2;
  static constexpr int kMergePitch =
      kHeadDim + 4;  // floats; keeps accumulator stores conflict free
  static constexpr std::uint32_t kMergeBytes = kWarps * kColumns * kMergePitch * 4;
  static constexpr std::uint32_t kStatsBytes = kWarps * kColumns * 8;
  static constexpr std::uint32_t kFixedBytes = kMergeBytes + kStatsBytes + 128;
  static constexpr int kFit = (232448 - kFixedBytes) / (kStageBytes + kQueryBytes + 48);
  // 64 KB in flight saturate the memory; more than 192 KB only lengthen the queue.
  static constexpr int kMost = static_cast<int>((kBytes ? 135168 : 196608) / kStageBytes);
  static constexpr int kStages = kFit < kMost ? kFit : kMost < 2 ? 2 : kMost;
  static_assert(kStages >= 2);
  static constexpr std::uint32_t kOffsetQuery = kStages * kStageBytes;
  static constexpr std::uint32_t kOffsetMerge = kOffsetQuery + kStages * kQueryBytes;
  static constexpr std::uint32_t kOffsetStats = kOffsetMerge + kMergeBytes;
  static constexpr std::uint32_t kOffsetRecords = kOffsetStats + kStatsBytes;
  static constexpr std::uint32_t kOffsetBars = kOffsetRecords + 32 * (kStages + 1);
  static constexpr std::uint32_t kSharedBytes = kOffsetBars + 8 * (2 * kStages + 4) + 16;
  static_assert(kSharedBytes <= 232448);
};

// The parameters and what the kernel would otherwise divide for, on its way to the first byte.
struct DecodeArguments {
  DecodeParams p;
  int heads = 1;       // query heads of a kv head
  int page_shift = 7;  // log2 of page_tokens
};

// A piece of a share: blocks [block, block_end) of one row and kv head.
struct DecodeSegment {
  int ticket = 0, kv_head = 0, q_token = 0, q_len = 0, kv_len = 0, table = 0;
  int block = 0, block_end = 0;
  int first_page = -1;  // of `block`, -1: unknown
  DecodePart part;
};

// The segments of a share, one after the other.
struct DecodeWalk {
  const DecodeParams& p;
  DecodeRow row, following;
  int index, left;  // of the row; blocks of the share behind the segment
  DecodeSegment segment;

  __device__ __forceinline__ DecodeWalk(const DecodeParams& params, const DecodeShare& share)
      : p(params), row(share.first_row), following(row), index(share.row), left(share.blocks) {
    segment.kv_head = share.kv_head;
    segment.block = share.block;
    segment.first_page = share.first_page;
    cut();
    if (row.split == 0) segment.part = share.head;
    tail = share.tail;
  }
  // Loads the next row if it comes next; to be called some time before next().
  __device__ __forceinline__ void read_ahead() {
    if (row_ends() && left > 0) following = p.rows[index + 1];
  }
  // False: that was the last one.
  __device__ __forceinline__ bool next() {
    if (left == 0) return false;
    DecodeSegment& g = segment;
    const bool head_ends = g.block_end == row.block_end;
    if (row_ends()) {
      row = following;
      ++index;
      g.kv_head = 0;
    } else if (head_ends) {
      ++g.kv_head;
    }
    g.block = head_ends ? row.block : g.block_end;
    g.first_page = head_ends ? row.first_page : -1;
    const int before = left;
    cut();
    if (row.split == 0 && g.block_end - g.block == before) g.part = tail;
    return true;
  }

 private:
  DecodePart tail;

  __device__ __forceinline__ bool row_ends() const {
    return segment.block_end == row.block_end && segment.kv_head + 1 == p.kv_heads;
  }
  // The piece of the row that begins at kv_head and block, and where its result goes.
  __device__ __forceinline__ void cut() {
    DecodeSegment& g = segment;
    g.ticket = index * p.kv_heads + g.kv_head;
    g.q_token = row.q_token;
    g.q_len = row.q_len;
    g.kv_len = row.kv_len;
    g.table = row.table;
    g.block_end = min(row.block_end, g.block + left);
    g.part = {};
    if (row.split > 0) cut_at_split();
    left -= g.block_end - g.block;
  }
  __device__ __forceinline__ void cut_at_split() {
    DecodeSegment& g = segment;
    const int piece = g.block / row.split;
    g.block_end = min(g.block_end, (piece + 1) * row.split);
    if (row.parts == 1) return;
    const int first_slot = row.first_slot + g.kv_head * row.parts;
    g.part = {first_slot + piece - row.block / row.split, first_slot, row.parts};
  }
};

// What travels with a stage: which piece of work its KV block belongs to.
struct alignas(16) DecodeRecord {
  std::int32_t flags;  // kFirst, kLast, kStop
  std::int32_t
      keys;  // keys from the block's first one to the row's end; more than a block if not last
  std::int32_t ticket, kv_head;
  std::int32_t q_token;
  std::int32_t slot;
  std::int32_t first_slot;
  std::int32_t shape;  // parts << 8 | q_len
  static constexpr std::int32_t kFirst = 1, kLast = 2, kStop = 4;
  // Block b of a segment.
  __device__ __forceinline__ void set(const DecodeSegment& g, int b, int block_tokens) {
    flags = (b == g.block ? kFirst : 0) | (b + 1 == g.block_end ? kLast : 0);
    keys = g.kv_len - b * block_tokens;
    ticket = g.ticket;
    kv_head = g.kv_head;
    q_token = g.q_token;
    slot = g.part.slot;
    first_slot = g.part.first_slot;
    shape = g.part.parts << 8 | g.q_len;
  }
  __device__ __forceinline__ int q_len() const { return shape & 255; }
  __device__ __forceinline__ int parts() const { return shape >> 8; }
};
static_assert(sizeof(DecodeRecord) == 32);

// Addresses of everything in shared memory.
template <class C>
struct DecodeShared {
  std::uint8_t* base;
  std::uint32_t ring, query, full, empty, merge_full, merge_empty;
  // One phase each, for the share's first block: its record and queries; V.
  std::uint32_t first_query, first_values;
  __device__ __forceinline__ explicit DecodeShared(std::uint8_t* smem) : base(smem) {
    ring = smem_address(smem);
    query = ring + C::kOffsetQuery;
    full = ring + C::kOffsetBars;
    empty = full + 8 * C::kStages;
    merge_full = empty + 8 * C::kStages;
    merge_empty = merge_full + 8;
    first_query = merge_full + 16;
    first_values = merge_full + 24;
  }
  // Of a stage; record(kStages) is the one for the epilogue.
  __device__ __forceinline__ DecodeRecord& record(int stage) const {
    return reinterpret_cast<DecodeRecord*>(base + C::kOffsetRecords)[stage];
  }
  __device__ __forceinline__ float* merge() const {  // [kWarps][kColumns][kMergePitch]
    return reinterpret_cast<float*>(base + C::kOffsetMerge);
  }
  __device__ __forceinline__ float2* stats() const {  // [kWarps][kColumns]
    return reinterpret_cast<float2*>(base + C::kOffsetStats);
  }
  __device__ __forceinline__ volatile std::uint32_t* arrived() const {
    return reinterpret_cast<volatile std::uint32_t*>(base + C::kOffsetBars +
                                                     8 * (2 * C::kStages + 4));
  }
  __device__ __forceinline__ void init() const {
    for (int i = 0; i < C::kStages; i++) {
      mbar_init(full + 8 * i, 1);
      mbar_init(empty + 8 * i, C::kWarps * 32);
    }
    mbar_init(merge_full, C::kWarps * 32);
    mbar_init(merge_empty, C::kEpilogueWarps * 32);
    mbar_init(first_query, 1);
    mbar_init(first_values, 1);
    mbar_init_fence();
  }
};

// Where a block's tokens lie in a stage: pages of less than a block one after the other, each as it
// is in memory; else the K rows, then the V rows.
struct StageLayout {
  int shift;  // log2 of the tokens that lie together
  template <class C>
  __device__ __forceinline__ static StageLayout of(int page_shift) {
    return {min(page_shift, 31 - __clz(C::kBlockTokens))};
  }
  __device__ __forceinline__ int tokens() const { return 1 << shift; }
  // Offset of the K row group of `token` (a multiple of 16); V is `tokens() * row_bytes` further.
  __device__ __forceinline__ std::uint32_t key_offset(int token, std::uint32_t row_bytes) const {
    return static_cast<std::uint32_t>(token + (token >> shift << shift)) * row_bytes;
  }
};

}  // namespace spate::cuda
