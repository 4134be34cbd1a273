#include <algorithm>
#include <cstring>
#include <string>

#include <cuda_runtime.h>

#include "core/check.h"
#include "ops/cuda/device_batch.h"

namespace spate::ops::cuda {
namespace {

using spate::cuda::kStepBlockTokens;

enum Array : int {
  kIds,
  kPositions,
  kSequence,
  kQBegin,
  kQLen,
  kKvLen,
  kTableBegin,
  kCount,
  kTable,
  kLogitRows,
  kSlots,
  kArrays
};

/// At the head of an outbox: where each array goes, in words. The kernel reads it over the bus.
struct Directory {
  std::int32_t target[kArrays];
  std::int32_t source[kArrays];
  std::int32_t words[kArrays];
};
constexpr std::int64_t kDirectoryBytes = 256;
static_assert(sizeof(Directory) <= kDirectoryBytes);

/// For estimates before a GPU is known.
constexpr std::int64_t kMostMultiprocessors = 160;

AttentionLimits attention_limits(const BatchLimits& l, std::int64_t multiprocessors) {
  return {.max_rows = l.rows,
          .max_sequences = l.sequences,
          .max_context = l.context_length,
          .multiprocessors = multiprocessors};
}

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

/// First words of the arrays on the GPU; the last entry is the end.
std::array<std::int64_t, kArrays + 1> places(const BatchLimits& l) {
  const std::int64_t words[kArrays] = {l.rows,          l.rows,       l.rows,      l.sequences,
                                       l.sequences,     l.sequences,  l.sequences, 1,
                                       l.table_entries, l.logit_rows, l.logit_rows};
  std::array<std::int64_t, kArrays + 1> begin{};
  for (int i = 0; i < kArrays; ++i)
    begin[static_cast<std::size_t>(i) + 1] =
        begin[static_cast<std::size_t>(i)] + round_up(words[i], 64);
  return begin;
}

__global__ void unpack_kernel(const std::int32_t* outbox, std::int32_t* memory) {
  const auto* directory = reinterpret_cast<const Directory*>(outbox);
  const std::int32_t* data = outbox + kDirectoryBytes / 4;
  const int array = static_cast<int>(blockIdx.y);
  const std::int32_t words = directory->words[array];
  const std::int32_t* from = data + directory->source[array];
  std::int32_t* to = memory + directory->target[array];
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < words;
       i += static_cast<int>(gridDim.x * blockDim.x)) {
    to[i] = from[i];
  }
}

/// Writes arrays one after the other behind the directory.
class Writer {
 public:
  Writer(std::byte* outbox, const std::array<std::int64_t, kArrays + 1>& places)
      : directory_(reinterpret_cast<Directory*>(outbox)),
        data_(reinterpret_cast<std::int32_t*>(outbox + kDirectoryBytes)),
        places_(places) {}

  std::int32_t* begin(Array array, std::int64_t words) {
    directory_->target[array] = static_cast<std::int32_t>(places_[array]);
    directory_->source[array] = static_cast<std::int32_t>(used_);
    directory_->words[array] = static_cast<std::int32_t>(words);
    std::int32_t* at = data_ + used_;
    used_ += words;
    return at;
  }

 private:
  Directory* directory_;
  std::int32_t* data_;
  const std::array<std::int64_t, kArrays + 1>& places_;
  std::int64_t used_ = 0;
};

bool same(const AttentionShape& a, const AttentionShape& b) {
  return a.q_heads == b.q_heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim &&
         a.cache == b.cache && a.window == b.window && a.soft_cap == b.soft_cap &&
         a.alibi_slopes == b.alibi_slopes && a.deterministic == b.deterministic;
}

}  // namespace

std::int64_t DeviceBatch::gpu_bytes(const BatchLimits& limits) {
  return (places(limits)[kArrays] + round_up(limits.slots, 64)) * 4;
}

std::int64_t DeviceBatch::attention_bytes(const BatchLimits& limits, const AttentionShape& shape) {
  const AttentionLimits l = attention_limits(limits, kMostMultiprocessors);
  return AttentionWork::workspace_bytes(shape, l) + AttentionWork::staged_bytes(shape, l);
}

std::int64_t DeviceBatch::locked_bytes(const BatchLimits& limits) {
  return kCopies * (kDirectoryBytes + gpu_bytes(limits));
}

std::int64_t DeviceBatch::attention_locked_bytes(const BatchLimits& limits,
                                                 const AttentionShape& shape) {
  return kCopies *
         AttentionWork::staged_bytes(shape, attention_limits(limits, kMostMultiprocessors));
}

Result<std::unique_ptr<DeviceBatch>> DeviceBatch::create(Gpu& gpu, const BatchLimits& limits) {
  std::unique_ptr<DeviceBatch> batch(new DeviceBatch(gpu, limits));
  const Result<void> reserved = batch->reserve();
  if (!reserved) return reserved.error();
  return std::move(batch);
}

Result<void> DeviceBatch::reserve() {
  Result<Buffer> memory = Buffer::reserve_gpu(gpu_bytes(limits_));
  if (!memory) return memory.error();
  memory_ = std::move(*memory);
  gpu_.fill_zero(memory_.data(), memory_.n_bytes());
  for (Outbox& outbox : outboxes_) {
    Result<Buffer> host = Buffer::reserve_pinned(kDirectoryBytes + gpu_bytes(limits_));
    if (!host) return host.error();
    outbox.memory = std::move(*host);
  }
  const auto begin = places(limits_);
  auto* words = reinterpret_cast<std::int32_t*>(memory_.data());
  tables_ = {.token_ids = words + begin[kIds],
             .positions = words + begin[kPositions],
             .sequence = words + begin[kSequence],
             .q_begin = words + begin[kQBegin],
             .q_len = words + begin[kQLen],
             .kv_len = words + begin[kKvLen],
             .table_begin = words + begin[kTableBegin],
             .n_sequences = words + begin[kCount],
             .block_table = words + begin[kTable],
             .logit_rows = words + begin[kLogitRows],
             .sampled = words + begin[kArrays]};
  slots_ = words + begin[kSlots];
  return {};
}

void DeviceBatch::fill(Outbox& outbox, const Batch& batch, std::span<const std::int32_t> slots,
                       Padding padded) {
  const std::int64_t rows = padded.rows;
  const auto where = places(limits_);
  Writer w(outbox.memory.data(), where);
  std::int32_t* ids = w.begin(kIds, rows);
  std::int32_t* positions = w.begin(kPositions, rows);
  std::int32_t* sequence = w.begin(kSequence, rows);
  std::copy(batch.token_ids.begin(), batch.token_ids.end(), ids);
  std::fill(ids + batch.rows(), ids + rows, 0);
  std::fill(positions, positions + rows, -1);
  std::fill(sequence, sequence + rows, 0);
  const auto n = static_cast<std::int64_t>(batch.sequences.size());
  std::int32_t* q_begin = w.begin(kQBegin, n);
  std::int32_t* q_len = w.begin(kQLen, n);
  std::int32_t* kv_len = w.begin(kKvLen, n);
  std::int32_t* table_begin = w.begin(kTableBegin, n);
  *w.begin(kCount, 1) = static_cast<std::int32_t>(n);
  std::int64_t entries = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const SequenceRows& s = batch.sequences[static_cast<std::size_t>(i)];
    for (std::int64_t r = 0; r < s.n_rows; ++r) {
      positions[s.first_row + r] = static_cast<std::int32_t>(s.first_position + r);
      sequence[s.first_row + r] = static_cast<std::int32_t>(i);
    }
    q_begin[i] = static_cast<std::int32_t>(s.first_row);
    q_len[i] = static_cast<std::int32_t>(s.n_rows);
    kv_len[i] = static_cast<std::int32_t>(s.first_position + s.n_rows);
    table_begin[i] = static_cast<std::int32_t>(entries);
    entries += static_cast<std::int64_t>(s.blocks.size());
  }
  SPATE_CHECK_OP(entries, <=, limits_.table_entries);
  std::int32_t* table = w.begin(kTable, entries);
  for (const SequenceRows& s : batch.sequences)
    table = std::copy(s.blocks.begin(), s.blocks.end(), table);
  std::int32_t* wanted = w.begin(kLogitRows, padded.logit_rows);
  std::fill(wanted, wanted + padded.logit_rows, 0);
  for (const std::int64_t row : batch.logit_rows) *wanted++ = static_cast<std::int32_t>(row);
  std::int32_t* slot = w.begin(kSlots, padded.logit_rows);
  std::fill(slot, slot + padded.logit_rows, -1);
  std::copy(slots.begin(), slots.end(), slot);
}

void DeviceBatch::stage(const Batch& batch, std::span<const std::int32_t> slots, Padding padding) {
  const std::int64_t rows = std::max(batch.rows(), padding.rows);
  const std::int64_t logit_rows =
      std::max(static_cast<std::int64_t>(batch.logit_rows.size()), padding.logit_rows);
  SPATE_CHECK_OP(rows, <=, limits_.rows);
  SPATE_CHECK_OP(static_cast<std::int64_t>(batch.sequences.size()), <=, limits_.sequences);
  SPATE_CHECK_OP(logit_rows, <=, limits_.logit_rows);
  SPATE_CHECK_OP(slots.size(), ==, batch.logit_rows.size());
  turn_ = 1 - turn_;
  Outbox& outbox = outboxes_[turn_];
  if (outbox.used) outbox.taken.wait();
  fill(outbox, batch, slots, {.rows = rows, .logit_rows = logit_rows});
  sequences_.assign(batch.sequences.begin(), batch.sequences.end());
  has_prefill_ = has_decode_ = false;
  for (const SequenceRows& s : sequences_) {
    constexpr std::int64_t kDecodeRows = 16;
    const bool mixed = gpu_.deterministic();
    if (mixed ? s.n_prompt_rows > 0 : s.n_rows > kDecodeRows) has_prefill_ = true;
    if (mixed ? s.n_prompt_rows < s.n_rows : s.n_rows <= kDecodeRows) has_decode_ = true;
  }
  const auto blocks = static_cast<unsigned>(std::clamp<std::int64_t>((rows + 1023) / 1024, 1, 16));
  unpack_kernel<<<dim3(blocks, kArrays), 256, 0, gpu_.stream()>>>(
      reinterpret_cast<const std::int32_t*>(outbox.memory.data()),
      reinterpret_cast<std::int32_t*>(memory_.data()));
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
    throw DeviceError(std::string("the GPU refused a batch: ") + cudaGetErrorString(error));
  for (Work& work : works_) stage_attention(work, sequences_);
  outbox.taken.record(gpu_);
  outbox.used = true;
}

AttentionWork& DeviceBatch::attention(const AttentionShape& shape) {
  for (Work& work : works_) {
    if (same(work.shape, shape)) return work.work;
  }
  const AttentionLimits limits = attention_limits(limits_, gpu_.multiprocessors());
  const std::int64_t n_bytes = AttentionWork::staged_bytes(shape, limits);
  Buffer lists = device_value(Buffer::reserve_gpu(n_bytes));
  AttentionWork made = device_value(AttentionWork::create(shape, limits, lists.data()));
  works_.push_back({.shape = shape,
                    .lists = std::move(lists),
                    .staged = {device_value(Buffer::reserve_pinned(n_bytes)),
                               device_value(Buffer::reserve_pinned(n_bytes))},
                    .work = std::move(made)});
  stage_attention(works_.back(), sequences_);
  return works_.back().work;
}

void DeviceBatch::stage_attention(Work& work, std::span<const SequenceRows> sequences) {
  std::byte* host = work.staged[turn_].data();
  const std::int64_t used = work.work.stage(sequences, {}, host);
  gpu_.copy(work.lists.data(), host, used);
}

}  // namespace spate::ops::cuda
