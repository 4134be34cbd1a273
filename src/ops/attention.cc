#include "ops/attention.h"

#include <algorithm>
#include <atomic>

#include "core/check.h"
#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/attention_plan.h"
#include "ops/cpu/kv_cache.h"
#include "ops/cuda/operators.h"

namespace spate::ops {
namespace {

using kernels::cpu::AttentionKernels;
using kernels::cpu::AttentionState;
using kernels::cpu::AttentionTask;

constexpr float kLog2e = 1.44269504F;

AttentionKernels kernels_for(const Device& device, DType cache) {
  const auto format = static_cast<std::size_t>(cpu::kv_format(cache));
  if (device.amx() && cpu::kv_format(cache) == kernels::cpu::KvFormat::kBF16) {
    return cpu::attention_bf16_amx();
  }
  switch (device.isa()) {
    case CpuIsa::kAvx512:
      return cpu::attention_avx512()[format];
    case CpuIsa::kAvx2:
      return cpu::attention_avx2()[format];
    default:
      return cpu::attention_generic()[format];
  }
}

/// What all items of a call share.
struct Call {
  Tensor queries;  // [rows, query_heads, head_dim]
  Rows out;        // [rows, query_heads * head_dim], packed or f32
  const KvLayer& layer;
  std::span<const SequenceRows> sequences;
  const AttentionParams& params;
  AttentionKernels kernels;

  std::int64_t group() const { return params.query_heads / layer.kv_heads; }
};

AttentionTask task_of(const Call& call, const cpu::AttentionItem& item) {
  const SequenceRows& sequence = call.sequences[static_cast<std::size_t>(item.sequence)];
  const std::int64_t first_head = item.head * call.group();
  const std::int64_t row_bytes = call.queries.stride(0) * size_of(call.queries.dtype());
  const std::int64_t head_bytes = call.queries.stride(1) * size_of(call.queries.dtype());
  AttentionTask task{};
  task.layout = cpu::kv_layout(call.layer);
  task.cache = cpu::kv_block(call.layer, 0, item.head);
  task.block_stride = call.layer.block_stride;
  task.blocks = sequence.blocks.data();
  task.queries = static_cast<const std::byte*>(call.queries.data()) +
                 sequence.first_row * row_bytes + first_head * head_bytes;
  task.query_row_bytes = row_bytes;
  task.group = call.group();
  task.first_position = sequence.first_position;
  task.first_row = item.first_row;
  task.rows = item.rows;
  task.window = call.params.window.value_or(0);
  task.soft_cap = call.params.soft_cap.value_or(0.0F) * kLog2e;
  task.slopes =
      call.params.alibi_slopes != nullptr ? call.params.alibi_slopes + first_head : nullptr;
  task.first_head = first_head;
  const Tensor& out = call.out.values;
  if (call.out.packed) {
    task.packed = out.row<std::uint8_t>(sequence.first_row);
    task.packed_stride = out.stride(0);
    task.packed_k = call.queries.dim(1) * call.queries.dim(2);
    task.packed_kind = static_cast<kernels::cpu::RowKind>(*call.out.packed);
  } else {
    task.out = out.row<float>(sequence.first_row) + first_head * call.layer.head_dim;
    task.out_stride = out.stride(0);
  }
  return task;
}

void run_item(const Call& call, const cpu::AttentionItem& item, float* scratch) {
  const AttentionTask task = task_of(call, item);
  if (item.states == nullptr) {
    call.kernels.attend(task, scratch);
    return;
  }
  float* state = item.states + item.chunk * AttentionState::n_floats(task.layout);
  call.kernels.attend_chunk(task, task.first_chunk() + item.chunk, scratch, state);
  const std::atomic_ref<std::int32_t> left(*item.left);
  if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    call.kernels.merge_chunks(task, scratch, item.states);
  }
}

void check_sequence(const SequenceRows& s, std::int64_t n_rows) {
  const auto covered = static_cast<std::int64_t>(s.blocks.size()) * kKvBlockTokens;
  SPATE_CHECK_OP(s.first_position + s.n_rows, <=, covered);
  SPATE_CHECK_OP(s.first_row + s.n_rows, <=, n_rows);
}

void check(const Call& call) {
  const KvLayer& layer = call.layer;
  SPATE_CHECK_OP(call.queries.rank(), ==, 3);
  SPATE_CHECK_OP(call.queries.dim(1), ==, call.params.query_heads);
  SPATE_CHECK_OP(call.queries.dim(2), ==, layer.head_dim);
  SPATE_CHECK_OP(call.queries.dtype(), ==, cpu::query_dtype(layer.dtype));
  SPATE_CHECK_OP(call.params.query_heads % layer.kv_heads, ==, 0);
  SPATE_CHECK_OP(layer.head_dim % 4, ==, 0);
  SPATE_CHECK_OP(layer.head_dim, <=, kernels::cpu::kMaxHeadDim);
  SPATE_CHECK_OP(layer.head_bytes, ==, cpu::kv_layout(layer).head_bytes());
  for (const SequenceRows& s : call.sequences) check_sequence(s, call.queries.dim(0));
}

/// Heads that are no whole groups of 32 stay in f32: a group of the next matrix's rows would be the
/// work of two tasks. That matrix packs them then.
Rows result_rows(Arena& arena, std::int64_t n_rows, std::int64_t k, std::int64_t head_dim,
                 RowFormat next) {
  if (head_dim % kernels::cpu::kStep != 0) {
    return {.values = arena.allocate(DType::kF32, {n_rows, k})};
  }
  const auto kind = static_cast<kernels::cpu::RowKind>(next);
  return {.values = arena.allocate(DType::kU8, {n_rows, kernels::cpu::row_bytes(kind, k)}),
          .packed = next};
}

/// Keys and values that the rows see, once per sequence and kv head; the scores and the weighted
/// sum of each (row, key) pair.
OpCost cost_of(const Call& call) {
  const std::int64_t window = call.params.window.value_or(0);
  std::int64_t pairs = 0;
  std::int64_t blocks = 0;
  for (const SequenceRows& s : call.sequences) {
    const std::int64_t end = s.first_position + s.n_rows;
    for (std::int64_t position = s.first_position; position < end; ++position) {
      pairs += window > 0 ? std::min(window, position + 1) : position + 1;
    }
    const std::int64_t seen = window > 0 ? std::min(end, window + s.n_rows) : end;
    blocks += (seen + kKvBlockTokens - 1) / kKvBlockTokens;
  }
  const KvLayer& layer = call.layer;
  const bool narrow = call.queries.dtype() == DType::kBF16;
  return {.name = "attention",
          .arithmetic = narrow ? Arithmetic::kBF16 : Arithmetic::kF32,
          .operations = 4.0 * static_cast<double>(pairs * call.params.query_heads * layer.head_dim),
          .n_bytes = static_cast<double>(blocks * layer.kv_heads * layer.head_bytes)};
}

}  // namespace

// The parameters are the operator's equation.
Rows attention(Device& device, Arena& arena,  // NOLINT(readability-function-size)
               Tensor queries, const KvLayer& layer, const Batch& batch,
               const AttentionParams& params, RowFormat next) {
  if (device.is_cuda()) return cuda::attention(device, arena, queries, layer, batch, params);
  const Rows out =
      result_rows(arena, queries.dim(0), params.query_heads * layer.head_dim, layer.head_dim, next);
  const Call call{queries, out, layer, batch.sequences, params, kernels_for(device, layer.dtype)};
  check(call);
  const OpTimer timer(device.profile(), [&] { return cost_of(call); });

  const std::int64_t mark = arena.mark();
  const cpu::AttentionShape shape{.layout = cpu::kv_layout(layer),
                                  .kv_heads = layer.kv_heads,
                                  .group = call.group(),
                                  .window = params.window.value_or(0)};
  const cpu::AttentionPlan plan =
      cpu::plan_attention(arena, shape, batch.sequences, device.pool().size());
  const std::int64_t scratch_floats = kernels::cpu::attention_scratch_floats(shape.layout);
  auto* scratch = reinterpret_cast<float*>(arena.allocate_bytes(plan.workers * scratch_floats * 4));
  ThreadPool& pool = device.pool();
  const auto n_items = static_cast<std::int64_t>(plan.items.size());
  pool.run(
      [&](int worker) {
        for (std::int64_t i = pool.take(); i < n_items; i = pool.take()) {
          run_item(call, plan.items[static_cast<std::size_t>(i)],
                   scratch + worker * scratch_floats);
        }
      },
      plan.workers);
  arena.reset(mark);
  return out;
}

}  // namespace spate::ops
