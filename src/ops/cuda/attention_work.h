// Attention of the GPU engine: one object per attention shape of a model owns the scratch memory,
// makes a step's work lists and launches the kernels. Decides which kernel takes which request:
// up to 16 rows go to decode, longer ones to prefill, and what neither has a variant for to the
// plain kernel of attention_rows.cuh. Includes nothing of CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/dtype.h"
#include "ops/kv_view.h"
#include "spate/kernels/cuda/step_tables.h"
#include "spate/result.h"

struct CUstream_st;

namespace spate::ops::cuda {

struct AttentionShape {
  std::int64_t q_heads = 0, kv_heads = 0, head_dim = 0;
  DType cache = DType::kBF16;  // e4m3 and i8: queries and output are bf16; else of its type
  std::optional<std::int64_t> window = std::nullopt;  // keys visible to a query, itself included
  std::optional<float> soft_cap = std::nullopt;
  const float* alibi_slopes = nullptr;  // device, f32 [q_heads], or null
  // A row's bits depend on its sequence alone: rows of prompts go to prefill, however few they are,
  // the others to decode, one by one and cut at fixed places. At most kMostRecomputedRows of those
  // besides one of each sequence.
  bool deterministic = false;
};
inline constexpr std::int64_t kMostRecomputedRows = 256;

struct AttentionLimits {
  std::int64_t max_rows = 0;       // of a step
  std::int64_t max_sequences = 0;  // of a step
  std::int64_t max_context = 0;    // tokens of one sequence
  std::int64_t multiprocessors = 132;
};

/// What one layer's launch is given. Pointers to device memory.
struct AttentionCall {
  const std::byte* cache = nullptr;  // block b of kv head h: cache + b * block_stride
  std::int64_t block_stride = 0;     // + h * head_bytes
  std::int64_t head_bytes = 0;
  const float* k_scale = nullptr;  // e4m3: f32 [kv_heads], what stored keys and values are
  const float* v_scale = nullptr;  // multiplied by; null: by one
  const void* queries = nullptr;   // [rows, q_heads, head_dim], times softmax scale * log2(e)
  void* out = nullptr;             // [rows, q_heads * head_dim]; must not alias queries
  std::int64_t rows = 0;           // of the launch (a graph's bucket), padding included
  // False: no request of the step has more than 16 rows, or none has fewer; saves a launch each.
  bool may_have_prefill = true;
  bool may_have_decode = true;
  // Programmatic dependent launch: decode begins to read the cache while the kernel before it still
  // runs. What that one writes must be the requests' own rows of this step; blocks that a request
  // shares with others were written by earlier steps.
  bool dependent_launch = false;
};

struct AttentionState;  // attention_state.h

class AttentionWork {
 public:
  /// Device memory that create() takes, in bytes.
  static std::int64_t workspace_bytes(const AttentionShape& shape, const AttentionLimits& limits);
  /// Most bytes of a step's work lists.
  static std::int64_t staged_bytes(const AttentionShape& shape, const AttentionLimits& limits);

  /// `staged`: device address, 16-byte aligned, where the caller puts what stage() has written.
  static Result<AttentionWork> create(const AttentionShape& shape, const AttentionLimits& limits,
                                      const std::byte* staged);

  AttentionWork(AttentionWork&&) noexcept;
  AttentionWork& operator=(AttentionWork&&) noexcept;
  AttentionWork(const AttentionWork&) = delete;
  AttentionWork& operator=(const AttentionWork&) = delete;
  ~AttentionWork();

  /// Writes the step's work lists to `host` (pinned, 16-byte aligned) and returns how many bytes
  /// of them are in use: the caller copies those to `staged` before the step's first kernel, in
  /// stream order and without programmatic dependence. Sequences in the order of the step tables;
  /// table_begin: their host copy, empty if the block lists lie one after the other.
  /// The lists are made here and not by a kernel: a step's lists are 20 KB for 256 sequences and
  /// cost a few microseconds of a host that runs a step ahead, while a planning kernel would stand
  /// before every step's first attention, and kernels that start early (programmatic dependent
  /// launch) could read its lists before it has written them.
  std::int64_t stage(std::span<const SequenceRows> sequences,
                     std::span<const std::int32_t> table_begin, std::byte* host);

  /// Launches one layer's attention; captures into graphs. What differs between steps is read from
  /// `staged` and the tables. Returns a cudaError_t.
  int run(const AttentionCall& call, const spate::cuda::StepTables& tables,
          CUstream_st* stream) const;

 private:
  explicit AttentionWork(std::unique_ptr<AttentionState> state);
  std::unique_ptr<AttentionState> state_;
};

}  // namespace spate::ops::cuda
