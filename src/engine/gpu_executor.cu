#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include <cuda_runtime.h>

#include "core/check.h"
#include "device/gpu.h"
#include "device/gpu_timeline.h"
#include "engine/gpu_clock.h"
#include "engine/gpu_executor.h"
#include "ops/cuda/device_batch.h"
#include "ops/cuda/gemm_lt.h"
#include "sample/cuda/device_sampler.h"

namespace spate {
namespace {

using ops::cuda::AttentionShape;
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

DeviceToken token_of(const DeviceSampler::Row& row) {
  DeviceToken token{.id = row.id, .logprob = row.logprob};
  if (row.outcome == DeviceSampler::Outcome::kNotFinite) {
    token.error = Error{ErrorCode::kInternal,
                        "the model gave logits that are not numbers; its weights are damaged, or "
                        "it needs --dtype f32"};
  } else if (row.outcome == DeviceSampler::Outcome::kNoTokenLeft) {
    token.error = Error{ErrorCode::kInvalidArgument,
                        "no token is left: banned_token_ids and min_tokens exclude all of them; "
                        "allow a token that does not end the text"};
  }
  return token;
}

DeviceSampler::Shape sampler_shape(const BatchLimits& limits, std::int64_t vocab) {
  return {.vocab = vocab, .slots = limits.slots, .rows = limits.logit_rows};
}

/// Logits that the host wants: of every row of a step, at most.
std::int64_t host_logit_bytes(const BatchLimits& limits, std::int64_t vocab) {
  return limits.logit_rows * vocab * std::int64_t{sizeof(float)};
}

/// A plan that was launched and not collected.
struct Flight {
  std::vector<RowOrder> orders{};
  GpuEvent done;
  GpuTimeline::Step marks{};
  Profile* profile = nullptr;  // that the marks are for
};

class GpuExecutor : public Executor {
 public:
  static Result<std::unique_ptr<Executor>> create(GpuParts parts, const DecoderShape& shape);

  int depth() const override { return 2; }
  bool samples(const SamplingParams& params) const override { return sampler_->supports(params); }
  void launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
              std::span<const RowOrder> orders) override;
  StepResult collect() override;
  void forget(SequenceId sequence) override;
  void rest() override { clock_.rest(); }
  DeviceTime device_time() const override { return clock_.time(); }

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
  std::int32_t slot_of(const RowOrder& order);
  bool is_recordable(const Plan& plan, std::span<const RowOrder> orders) const;
  /// Enqueues the model and the sampling of its logits.
  Tensor enqueue(const Batch& batch, bool plain_greedy);
  Tensor run_recorded(std::int64_t rows, bool plain_greedy);
  void take_logits(const Tensor& logits, std::span<const RowOrder> orders);

  GpuParts parts_;
  Gpu& gpu_;
  std::int64_t vocab_;
  BatchLimits limits_{};
  std::unique_ptr<DeviceBatch> batch_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<DeviceSampler> sampler_;
  Buffer host_logits_;  // page-locked, made when a row is first wanted
  StagedPlan staged_;
  std::vector<std::int32_t> slots_;
  std::unordered_map<SequenceId, std::int32_t> slot_by_sequence_;
  std::vector<std::int32_t> free_slots_;
  std::array<Flight, 2> flights_{};
  std::size_t next_flight_ = 0;
  std::size_t n_flying_ = 0;
  GpuClock clock_;
  std::map<std::pair<std::int64_t, bool>, Recorded> recorded_;  // by rows and plain greediness
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
  Result<std::unique_ptr<DeviceSampler>> sampler =
      DeviceSampler::make(sampler_shape(limits_, vocab_));
  if (!sampler) return sampler.error();
  sampler_ = std::move(*sampler);
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
  enqueue(batch, sampler_->is_greedy_only());
  gpu_.wait();
}

std::int32_t GpuExecutor::slot_of(const RowOrder& order) {
  const auto found = slot_by_sequence_.find(order.sequence);
  if (found != slot_by_sequence_.end()) return found->second;
  SPATE_CHECK(!free_slots_.empty());
  const std::int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slot_by_sequence_.emplace(order.sequence, slot);
  const Stream::Shared& shared = order.stream->shared();
  device_done(sampler_->set_slot(slot,
                                 {.params = &shared.params,
                                  .key = order.stream->key(),
                                  .eos_ids = shared.eos_ids,
                                  .prompt = shared.prompt,
                                  .output = order.stream->completion().token_ids},
                                 gpu_.stream()));
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
  // A recording has no kernel for rows of prompts.
  if (gpu_.deterministic() && staged_.has_prompt_rows()) return false;
  return std::none_of(orders.begin(), orders.end(), [](const RowOrder& o) { return o.on_host; });
}

Tensor GpuExecutor::enqueue(const Batch& batch, bool plain_greedy) {
  arena_->reset();
  Step step{.device = parts_.device, .arena = *arena_, .kv = parts_.kv, .batch = batch};
  const Tensor logits = parts_.model.forward(step);
  if (batch.logit_rows.empty()) return logits;
  const GpuOpTimer timer(parts_.device, [&] {
    const std::int64_t n_bytes = logits.dim(0) * logits.dim(1) * std::int64_t{sizeof(float)};
    return OpCost{.name = "sample", .n_bytes = static_cast<double>(n_bytes)};
  });
  device_done(sampler_->sample({.logits = logits.as<float>(),
                                .stride = logits.stride(0),
                                .rows = logits.dim(0),
                                .slots = batch_->slots(),
                                .sampled = batch_->tables().sampled,
                                .plain_greedy = plain_greedy,
                                .dependent_launch = gpu_.dependent_launch()},
                               gpu_.stream()));
  return logits;
}

Tensor GpuExecutor::run_recorded(std::int64_t rows, bool plain_greedy) {
  Recorded& recorded = recorded_[{rows, plain_greedy}];
  const auto n = static_cast<std::size_t>(rows);
  const Batch batch{.token_ids = {blank_ids_.data(), n},
                    .logit_rows = {blank_rows_.data(), n},
                    .on_device = batch_.get()};
  // Marks between operators are no part of a recording.
  if (!recorded.met || parts_.device.profile() != nullptr) {
    recorded.met = true;
    return enqueue(batch, plain_greedy);
  }
  if (!recorded.graph) {
    GpuRecording recording(gpu_);
    recorded.logits = enqueue(batch, plain_greedy);
    recorded.graph = recording.finish();
  }
  recorded.graph.launch(gpu_);
  return recorded.logits;
}

void GpuExecutor::launch(const Plan& plan, const Scheduler& scheduler, const KvAllocator& allocator,
                         std::span<const RowOrder> orders) {
  SPATE_CHECK_OP(n_flying_, <, flights_.size());
  for (const KvCopy& copy : plan.copies) parts_.kv.copy_block(copy.source_block, copy.target_block);
  staged_.fill(plan, scheduler, allocator,
               [this](SequenceId id) { return -1 - slot_by_sequence_.at(id); });
  for (RopeTable& rope : parts_.params.ropes()) rope.ensure(staged_.end_position);
  slots_.clear();
  bool plain_greedy = true;
  for (const RowOrder& order : orders) {
    const bool here = order.stream != nullptr && !order.on_host;
    slots_.push_back(here ? slot_of(order) : -1);
    plain_greedy = plain_greedy && (!here || sampler_->is_plain_greedy(slots_.back()));
  }
  const Batch batch{.token_ids = staged_.token_ids,
                    .sequences = staged_.sequences,
                    .logit_rows = staged_.logit_rows,
                    .on_device = batch_.get()};
  const bool recordable = is_recordable(plan, orders);
  const std::int64_t rows = recordable ? bucket_of(batch.rows()) : batch.rows();
  batch_->stage(batch, slots_, {.rows = rows, .logit_rows = recordable ? rows : 0});
  clock_.begin(gpu_);
  if (parts_.device.profile() != nullptr) gpu_.timeline().pause();
  const Tensor logits =
      recordable ? run_recorded(rows, plain_greedy) : enqueue(batch, plain_greedy);

  const std::size_t place = (next_flight_ + n_flying_) % flights_.size();
  Flight& flight = flights_[place];
  ++n_flying_;
  flight.orders.assign(orders.begin(), orders.end());
  take_logits(logits, orders);
  device_done(sampler_->copy_results(static_cast<int>(place),
                                     static_cast<std::int64_t>(orders.size()), gpu_.stream()));
  if (parts_.device.profile() != nullptr) gpu_.timeline().pause();
  flight.marks = gpu_.timeline().take();
  flight.profile = parts_.device.profile();
  clock_.end(gpu_);
  flight.done.record(gpu_);
}

void GpuExecutor::take_logits(const Tensor& logits, std::span<const RowOrder> orders) {
  const std::int64_t row_bytes = vocab_ * std::int64_t{sizeof(float)};
  for (std::size_t i = 0; i < orders.size(); ++i) {
    if (!orders[i].on_host) continue;
    if (host_logits_.data() == nullptr) {
      host_logits_ = device_value(Buffer::reserve_pinned(host_logit_bytes(limits_, vocab_)));
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
  const std::size_t place = next_flight_;
  Flight& flight = flights_[place];
  next_flight_ = (next_flight_ + 1) % flights_.size();
  --n_flying_;
  flight.done.wait();
  clock_.collect();
  gpu_.timeline().read(std::exchange(flight.marks, {}), flight.profile);
  const std::size_t n = flight.orders.size();
  tokens_.assign(n, {});
  for (std::size_t i = 0; i < n; ++i) {
    const RowOrder& order = flight.orders[i];
    if (order.stream == nullptr || order.on_host) continue;
    tokens_[i] = token_of(sampler_->result(static_cast<int>(place), static_cast<std::int64_t>(i)));
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
  // Kept rows of the stream and of the last attention; a normalized copy.
  const std::int64_t logit_row = 8 * s.hidden + element * heads + 2048;
  constexpr std::int64_t kWidened = std::int64_t{80} << 20;
  return batch.rows * row + batch.logit_rows * logit_row + kWidened;
}

GpuTables gpu_table_bytes(const DecoderShape& s, const GpuLimits& limits, DType kv_dtype) {
  const BatchLimits batch = batch_limits(limits);
  const DeviceSampler::Shape sampler = sampler_shape(batch, s.vocab);
  const AttentionShape attention{.q_heads = s.query_heads,
                                 .kv_heads = s.kv_heads,
                                 .head_dim = s.head_dim,
                                 .cache = kv_dtype,
                                 .deterministic = limits.deterministic};
  const std::int64_t n = limits.attention_shapes;
  return {.on_gpu = DeviceBatch::gpu_bytes(batch) + DeviceSampler::device_bytes(sampler) +
                    n * DeviceBatch::attention_bytes(batch, attention) +
                    ops::cuda::kLtWorkspaceBytes,
          .page_locked = DeviceBatch::locked_bytes(batch) + DeviceSampler::locked_bytes(sampler) +
                         n * DeviceBatch::attention_locked_bytes(batch, attention),
          .locked_logits = host_logit_bytes(batch, s.vocab)};
}

Result<std::unique_ptr<Executor>> make_gpu_executor(GpuParts parts, const DecoderShape& shape) {
  return GpuExecutor::create(std::move(parts), shape);
}

}  // namespace spate
