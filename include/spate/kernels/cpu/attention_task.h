// One piece of attention's work: up to 48 query rows of one sequence that share a kv head, and the
// memory it needs. Plain data, the same for every instruction set; the kernels are in attention.h.
#pragma once

#include "spate/kernels/cpu/kv_layout.h"
#include "spate/kernels/cpu/panel.h"

namespace spate::kernels::cpu {

/// Keys are cut at absolute positions: softmax runs over chunks of 1024, in tiles of 64. A row's
/// chunks are merged in ascending order, whoever computed them.
inline constexpr std::int64_t kKvChunk = 1024;
/// Four register tiles of 12; their scores and those of a tile's keys stay in the L1 cache.
inline constexpr std::int64_t kTaskRows = 48;

/// Rows are (token, head of the group) pairs of the sequence, token major: row i of the sequence is
/// head i % group of token i / group.
struct AttentionTask {
  KvLayout layout{};
  const std::byte* cache = nullptr;  // this head in block 0
  std::int64_t block_stride = 0;
  const std::int32_t* blocks = nullptr;
  const std::byte* queries = nullptr;  // the sequence's first row, the group's first head
  std::int64_t query_row_bytes = 0;    // from token to token
  std::int64_t group = 1;              // query heads per kv head
  std::int64_t first_position = 0;     // of the sequence's first row
  std::int64_t first_row = 0;          // rows first_row .. first_row + rows - 1
  std::int64_t rows = 0;               // at most kTaskRows
  std::int64_t window = 0;             // keys that a query sees, itself included; 0: all
  float soft_cap = 0.0F;               // 0: none. Of scores in base 2: the cap times log2(e)
  const float* slopes = nullptr;       // [group] ALiBi, or null
  // Results go to rows of f32, or, where head_dim is a multiple of 32, to packed rows.
  float* out = nullptr;         // [tokens][...]: the sequence's first row, the group's first head
  std::int64_t out_stride = 0;  // floats from token to token; heads are head_dim apart
  std::uint8_t* packed = nullptr;  // the sequence's first row
  std::int64_t packed_stride = 0;  // bytes from token to token
  std::int64_t packed_k = 0;       // values of a row
  RowKind packed_kind = RowKind::kF32;
  std::int64_t first_head = 0;  // of the group, among all query heads

  [[gnu::always_inline]] std::int64_t position(std::int64_t row) const {
    return first_position + (first_row + row) / group;
  }
  [[gnu::always_inline]] std::int64_t first_key(std::int64_t row) const {
    const std::int64_t p = position(row);
    return window > 0 && p >= window ? p - window + 1 : 0;
  }
  [[gnu::always_inline]] std::int64_t first_chunk() const { return first_key(0) / kKvChunk; }
  [[gnu::always_inline]] std::int64_t last_chunk() const { return position(rows - 1) / kKvChunk; }
};

/// Softmax over some keys, unfinished: for each row the maximum, the sums of 2^(score - maximum) in
/// 16 lanes, and the weighted values.
struct AttentionState {
  float* maxima = nullptr;  // [64]
  float* sums = nullptr;    // [48][16]
  float* values = nullptr;  // [48][padded_dim]

  [[gnu::always_inline]] static constexpr std::int64_t n_floats(const KvLayout& kv) {
    return 64 + kTaskRows * (16 + kv.padded_dim());
  }
  [[gnu::always_inline]] static AttentionState at(float* memory) {
    return {memory, memory + 64, memory + 64 + kTaskRows * 16};
  }
};

/// A worker's memory, `attention_scratch_bytes` of it, 64-byte aligned.
struct AttentionScratch {
  float* scores = nullptr;       // [48][64]; probabilities of f32 and f16 caches replace them
  std::byte* weights = nullptr;  // [48][64] probabilities as bf16 or u8
  std::byte* queries = nullptr;  // [48][head_dim] in the arithmetic's type
  std::byte* values = nullptr;   // a copy of a tile's value panels
  AttentionState chunk{};
  AttentionState total{};
  float* row_scales = nullptr;           // [64] of the u8 probabilities, int8 only, as what follows
  float* query_scales = nullptr;         // [64]
  std::int32_t* query_starts = nullptr;  // [64] -128 times the sums of the queries
  float* value_scales = nullptr;         // [64] of the tile, zero beyond its last valid key
  float* value_peaks = nullptr;          // [64] the largest of those so far
  std::int32_t* last = nullptr;          // [48] last key of each row
  std::int32_t* first = nullptr;         // [48] first key of each row
};

[[gnu::always_inline]] constexpr std::int64_t attention_scratch_floats(const KvLayout& kv) {
  return kTaskRows * (kKvTokens + kKvTokens / 2 + kv.head_dim) + 2 * AttentionState::n_floats(kv) +
         std::int64_t{7} * 64 + kKvTokens * kv.padded_dim();
}
[[gnu::always_inline]] inline AttentionScratch attention_scratch(const KvLayout& kv, float* p) {
  AttentionScratch s;
  const auto take = [&p](std::int64_t n) {
    float* begin = p;
    p += n;
    return begin;
  };
  s.scores = take(kTaskRows * kKvTokens);
  s.weights = reinterpret_cast<std::byte*>(take(kTaskRows * kKvTokens / 2));
  s.chunk = AttentionState::at(take(AttentionState::n_floats(kv)));
  s.total = AttentionState::at(take(AttentionState::n_floats(kv)));
  s.row_scales = take(64);
  s.query_scales = take(64);
  s.query_starts = reinterpret_cast<std::int32_t*>(take(64));
  s.value_scales = take(64);
  s.value_peaks = take(64);
  s.last = reinterpret_cast<std::int32_t*>(take(64));
  s.first = reinterpret_cast<std::int32_t*>(take(64));
  s.values = reinterpret_cast<std::byte*>(take(kKvTokens * kv.padded_dim()));
  s.queries = reinterpret_cast<std::byte*>(take(kTaskRows * kv.head_dim));
  return s;
}

/// The kernels of one instruction set and cache format.
struct AttentionKernels {
  /// The whole task.
  void (*attend)(const AttentionTask& task, float* scratch) = nullptr;
  /// One chunk of it, into AttentionState::n_floats floats.
  void (*attend_chunk)(const AttentionTask& task, std::int64_t chunk, float* scratch,
                       float* state) = nullptr;
  /// Puts the states of all chunks, first_chunk() first, together: the bits of `attend`.
  void (*merge_chunks)(const AttentionTask& task, float* scratch, float* states) = nullptr;
};

}  // namespace spate::kernels::cpu
