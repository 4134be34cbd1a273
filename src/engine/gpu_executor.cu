#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include <cuda_runtime.h>

#include "core/check.h"
#include "device/gpu.h"
#include "engine/gpu_executor.h"
#include "ops/cuda/device_batch.h"
#include "sample/params.h"
#include "spate/kernels/cuda/sample_greedy.cuh"

namespace spate {
namespace {

using ops::cuda::BatchLimits;
using ops::cuda::DeviceBatch;

/// Rows of a recorded step: few different numbers, so that few graphs serve all batches.
std::int64_t bucket_of(std::int64_t rows) {
  const std::int64_t step = rows <= 4      ? 1
                            : rows <= 16   ? 4
                            : rows <= 256  ? 16
                            : rows <= 1024 ? 32
                                           : 128;
  return (rows + step - 1) / step * step;
}

BatchLimits batch_limits(const GpuLimits& l) {
  constexpr std::int64_t kTokens = spate::cuda::kStepBlockTokens;
  const std::int64_t rows = bucket_of(std::max(l.max_rows, l.max_requests));
  return {.rows = rows,
          .sequences = l.max_requests,
          .logit_rows = bucket_of(std::max(l.max_logit_rows, l.max_requests)),
          .slots = l.max_requests,
          .table_entries = l.max_requests * ((l.context_length + kTokens - 1) / kTokens),
          .context_length = l.context_length};
}

/// Where tokens that the GPU has chosen arrive.
struct Inbox {
  Buffer memory;  // page-locked: ids, then errors
  std::int64_t rows = 0;
  std::int32_t* ids() const { return reinterpret_cast<std::int32_t*>(memory.data()); }
  std::int32_t* errors() const { return ids() + rows; }
};

/// A plan that was launched and not collected.
struct Flight {
  std::vector<RowOrder> orders{};
  GpuEvent done;
  Inbox inbox;
};

class GpuExecutor : public Executor {
 public:
  static Result<std::unique_ptr<Executor>> create(GpuParts parts, const DecoderShape& shape);

  int depth() const override { return 2; }
  bool samples(const SamplingParams& params) const override;
  void launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
              std::span<const RowOrder> orders) override;
  StepResult collect() override;
  void forget(SequenceId sequence) override;

 private:
  /// A step of single tokens: met once before it is recorded, so that libraries have tuned by then.
  struct Recorded {
    bool met = false;
    GpuGraph graph;
    Tensor logits{};
  };

  GpuExecutor(GpuParts parts, std::int64_t vocab)
      : parts_(std::move(parts)), gpu_(*parts_.device.gpu()), vocab_(vocab) {}
  Result<void> reserve();
  void warm_up();
  std::int32_t slot_of(SequenceId sequence);
  bool is_recordable(const Plan& plan, std::span<const RowOrder> orders) const;
  /// Enqueues the model and the sampling of its logits.
  Tensor enqueue(const Batch& batch);
  Tensor run_recorded(std::int64_t rows);
  void take_logits(const Tensor& logits, std::span<const RowOrder> orders);

  GpuParts parts_;
  Gpu& gpu_;
  std::int64_t vocab_;
  BatchLimits limits_{};
  std::unique_ptr<DeviceBatch> batch_;
  std::unique_ptr<Arena> arena_;
  Buffer chosen_;       // on the GPU: i32 [logit rows] ids, then errors
  Buffer host_logits_;  // page-locked, made when a row is first wanted
  StagedPlan staged_;
  std::vector<std::int32_t> slots_;
  std::unordered_map<SequenceId, std::int32_t> slot_by_sequence_;
  std::vector<std::int32_t> free_slots_;
  std::array<Flight, 2> flights_{};
  std::size_t next_flight_ = 0;
  std::size_t n_flying_ = 0;
  std::map<std::int64_t, Recorded> recorded_;
  std::vector<DeviceToken> tokens_;
  // Values of a recorded batch do not matter, only how many there are.
  std::vector<TokenId> blank_ids_;
  std::vector<std::int64_t> blank_rows_;
};

Result<std::unique_ptr<Executor>> GpuExecutor::create(GpuParts parts, const DecoderShape& shape) {
  std::unique_ptr<GpuExecutor> executor(new GpuExecutor(std::move(parts), shape.vocab));
  const Result<void> reserved = executor->reserve();
  if (!reserved) return reserved.error();
  executor->warm_up();
  return std::unique_ptr<Executor>(std::move(executor));
}

Result<void> GpuExecutor::reserve() {
  limits_ = batch_limits(parts_.limits);
  Result<std::unique_ptr<DeviceBatch>> batch = DeviceBatch::create(gpu_, limits_);
  if (!batch) return batch.error();
  batch_ = std::move(*batch);
  Result<Buffer> arena = Buffer::reserve_gpu(parts_.arena_bytes);
  if (!arena) return arena.error();
  arena_ = std::make_unique<Arena>(std::move(*arena));
  Result<Buffer> chosen = Buffer::reserve_gpu(limits_.logit_rows * 8);
  if (!chosen) return chosen.error();
  chosen_ = std::move(*chosen);
  for (Flight& flight : flights_) {
    Result<Buffer> memory = Buffer::reserve_pinned(limits_.logit_rows * 8);
    if (!memory) return memory.error();
    flight.inbox = {.memory = std::move(*memory), .rows = limits_.logit_rows};
  }
  for (auto slot = static_cast<std::int32_t>(limits_.slots); slot > 0; --slot)
    free_slots_.push_back(slot - 1);
  blank_ids_.assign(static_cast<std::size_t>(limits_.rows), 0);
  blank_rows_.assign(static_cast<std::size_t>(limits_.logit_rows), 0);
  return {};
}

// One token at position 0 of block 0: everything that is made on first use is made now.
void GpuExecutor::warm_up() {
  const std::int32_t block = 0;
  const SequenceRows sequence{
      .first_row = 0, .n_rows = 1, .first_position = 0, .blocks = {&block, 1}};
  const std::int32_t slot = -1;
  for (RopeTable& rope : parts_.params.ropes()) rope.ensure(1);
  const Batch batch{.token_ids = {blank_ids_.data(), 1},
                    .sequences = {&sequence, 1},
                    .logit_rows = {blank_rows_.data(), 1},
                    .on_device = batch_.get()};
  batch_->stage(batch, {&slot, 1}, {});
  enqueue(batch);
  gpu_.wait();
}

bool GpuExecutor::samples(const SamplingParams& p) const {
  return p.temperature < kGreedyBelow && p.repetition_penalty == 1.0F &&
         p.presence_penalty == 0.0F && p.frequency_penalty == 0.0F && p.logit_bias.empty() &&
         p.allowed_token_ids.empty() && p.banned_token_ids.empty() && p.min_tokens == 0 &&
         !p.logprobs;
}

std::int32_t GpuExecutor::slot_of(SequenceId sequence) {
  const auto found = slot_by_sequence_.find(sequence);
  if (found != slot_by_sequence_.end()) return found->second;
  SPATE_CHECK(!free_slots_.empty());
  const std::int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slot_by_sequence_.emplace(sequence, slot);
  return slot;
}

void GpuExecutor::forget(SequenceId sequence) {
  const auto found = slot_by_sequence_.find(sequence);
  if (found == slot_by_sequence_.end()) return;
  free_slots_.push_back(found->second);
  slot_by_sequence_.erase(found);
}

bool GpuExecutor::is_recordable(const Plan& plan, std::span<const RowOrder> orders) const {
  if (plan.n_tokens != static_cast<std::int64_t>(plan.chunks.size()) ||
      plan.n_logits != plan.n_tokens)
    return false;
  return std::none_of(orders.begin(), orders.end(), [](const RowOrder& o) { return o.on_host; });
}

Tensor GpuExecutor::enqueue(const Batch& batch) {
  arena_->reset();
  Step step{.device = parts_.device, .arena = *arena_, .kv = parts_.kv, .batch = batch};
  const Tensor logits = parts_.model.forward(step);
  if (batch.logit_rows.empty()) return logits;
  cuda::GreedyParams p{};
  p.logits = logits.as<float>();
  p.stride = logits.stride(0);
  p.vocab = static_cast<int>(vocab_);
  p.slots = batch_->slots();
  p.sampled = batch_->tables().sampled;
  p.tokens = reinterpret_cast<std::int32_t*>(chosen_.data());
  p.errors = p.tokens + limits_.logit_rows;
  p.rows = logits.dim(0);
  p.dependent_launch = gpu_.dependent_launch();
  if (const cudaError_t error = cuda::launch_greedy(p, gpu_.stream()); error != cudaSuccess) {
    throw DeviceError(std::string("the GPU refused sampling: ") + cudaGetErrorString(error));
  }
  return logits;
}

Tensor GpuExecutor::run_recorded(std::int64_t rows) {
  Recorded& recorded = recorded_[rows];
  const auto n = static_cast<std::size_t>(rows);
  const Batch batch{.token_ids = {blank_ids_.data(), n},
                    .logit_rows = {blank_rows_.data(), n},
                    .on_device = batch_.get()};
  if (!recorded.met) {
    recorded.met = true;
    return enqueue(batch);
  }
  if (!recorded.graph) {
    GpuRecording recording(gpu_);
    recorded.logits = enqueue(batch);
    recorded.graph = recording.finish();
  }
  recorded.graph.launch(gpu_);
  return recorded.logits;
}

void GpuExecutor::launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
                         std::span<const RowOrder> orders) {
  SPATE_CHECK_OP(n_flying_, <, flights_.size());
  for (const KvCopy& copy : plan.copies) parts_.kv.copy_block(copy.source_block, copy.target_block);
  staged_.fill(plan, scheduler, allocator, [this](SequenceId id) { return -1 - slot_of(id); });
  for (RopeTable& rope : parts_.params.ropes()) rope.ensure(staged_.end_position);
  slots_.clear();
  for (const RowOrder& order : orders)
    slots_.push_back(order.stream != nullptr && !order.on_host ? slot_of(order.sequence) : -1);
  const Batch batch{.token_ids = staged_.token_ids,
                    .sequences = staged_.sequences,
                    .logit_rows = staged_.logit_rows,
                    .on_device = batch_.get()};
  const bool recordable = is_recordable(plan, orders);
  const std::int64_t rows = recordable ? bucket_of(batch.rows()) : batch.rows();
  batch_->stage(batch, slots_, {.rows = rows, .logit_rows = recordable ? rows : 0});
  const Tensor logits = recordable ? run_recorded(rows) : enqueue(batch);

  Flight& flight = flights_[(next_flight_ + n_flying_) % flights_.size()];
  ++n_flying_;
  flight.orders.assign(orders.begin(), orders.end());
  take_logits(logits, orders);
  const auto n = static_cast<std::int64_t>(orders.size());
  auto* chosen = reinterpret_cast<std::int32_t*>(chosen_.data());
  gpu_.copy(flight.inbox.ids(), chosen, n * 4);
  gpu_.copy(flight.inbox.errors(), chosen + limits_.logit_rows, n * 4);
  flight.done.record(gpu_);
}

void GpuExecutor::take_logits(const Tensor& logits, std::span<const RowOrder> orders) {
  const std::int64_t row_bytes = vocab_ * std::int64_t{sizeof(float)};
  for (std::size_t i = 0; i < orders.size(); ++i) {
    if (!orders[i].on_host) continue;
    if (host_logits_.data() == nullptr) {
      Result<Buffer> memory = Buffer::reserve_pinned(limits_.logit_rows * row_bytes);
      if (!memory) throw DeviceError(memory.error().message);
      host_logits_ = std::move(*memory);
    }
    std::size_t end = i + 1;
    while (end < orders.size() && orders[end].on_host) ++end;
    const auto first = static_cast<std::int64_t>(i);
    gpu_.copy(host_logits_.data() + first * row_bytes, logits.row<float>(first),
              static_cast<std::int64_t>(end - i) * row_bytes);
    i = end;
  }
}

StepResult GpuExecutor::collect() {
  SPATE_CHECK_OP(n_flying_, >, 0U);
  Flight& flight = flights_[next_flight_];
  next_flight_ = (next_flight_ + 1) % flights_.size();
  --n_flying_;
  flight.done.wait();
  const std::size_t n = flight.orders.size();
  tokens_.assign(n, {});
  for (std::size_t i = 0; i < n; ++i) {
    tokens_[i].id = flight.inbox.ids()[i];
    if (flight.inbox.errors()[i] != 0 && flight.orders[i].stream != nullptr &&
        !flight.orders[i].on_host) {
      tokens_[i].error =
          Error{ErrorCode::kInternal,
                "the model gave logits that are not numbers; its weights or the cache are damaged"};
    }
  }
  StepResult result{.tokens = tokens_};
  if (host_logits_.data() != nullptr && n > 0) {
    result.logits =
        Tensor(host_logits_.data(), DType::kF32, {static_cast<std::int64_t>(n), vocab_});
  }
  return result;
}

}  // namespace

std::int64_t gpu_workspace_bytes(const DecoderShape& s, const GpuLimits& limits,
                                 ComputeDType compute) {
  const BatchLimits batch = batch_limits(limits);
  const std::int64_t element = compute == ComputeDType::kF32 ? 4 : 2;
  const std::int64_t heads = (s.query_heads + 2 * s.kv_heads) * s.head_dim;
  // The stream; a normalized copy; q, k, v sums, queries and attention's output; gates and ups and
  // their products.
  const std::int64_t row =
      4 * s.hidden + element * (2 * s.hidden + 3 * heads + 3 * s.intermediate) + 2048;
  const std::int64_t logit_row = 8 * s.hidden + 2048;
  constexpr std::int64_t kWidened = std::int64_t{80} << 20;
  return batch.rows * row + batch.logit_rows * logit_row + kWidened;
}

Result<std::unique_ptr<Executor>> make_gpu_executor(GpuParts parts, const DecoderShape& shape) {
  return GpuExecutor::create(std::move(parts), shape);
}

}  // namespace spate
