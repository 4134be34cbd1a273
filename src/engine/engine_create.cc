// Engine::create: options checked, model loaded, memory planned, parts put together.
#include <set>

#include "core/load_error.h"
#include "device/gpu.h"
#include "engine/cpu_executor.h"
#include "engine/engine_impl.h"
#include "engine/gpu_executor.h"
#include "engine/memory_plan.h"
#include "engine/options.h"
#include "sample/params.h"

namespace spate {
namespace {

/// The cache's type where the options leave it open: that of the arithmetic, or of the weights.
DType kv_dtype_for(const ParamOptions& params, const HfConfig& config) {
  if (params.compute) return dtype_of(*params.compute);
  const DType stored = config.dtype().value_or(DType::kBF16);
  return stored == DType::kF32 && params.quantize ? DType::kBF16 : stored;
}

/// A GPU's cache of f16 wants arithmetic in f16, which may have been the checkpoint's choice.
Result<void> check_cache_type(DType kv_dtype, const ParamOptions& params) {
  if (kv_dtype != DType::kF16 || params.compute == ComputeDType::kF16) return {};
  return Error{ErrorCode::kInvalidArgument,
               "--kv-dtype f16: this model is computed in bf16 on a GPU; use --dtype f16 with it, "
               "or --kv-dtype auto, bf16, fp8 or int8"};
}

/// How many kinds of attention there are: each has its own work lists on a GPU.
std::int64_t different_windows(const HfConfig& config, std::int64_t layers) {
  std::set<std::optional<std::int64_t>> windows;
  for (std::int64_t layer = 0; layer < layers; ++layer)
    windows.insert(config.sliding_window(layer));
  return static_cast<std::int64_t>(windows.size());
}

/// The folder's tokenizer; none is no error, a broken one is.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& path) {
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::load(path);
  if (!tokenizer && tokenizer.error().code == ErrorCode::kNotFound) {
    return std::unique_ptr<Tokenizer>();
  }
  return tokenizer;
}

std::vector<TokenId> eos_ids_of(const LoadedModel& model) {
  const std::vector<std::int64_t>& generation = model.generation.eos_token_ids;
  const std::vector<std::int64_t> ids =
      generation.empty() ? model.config.eos_token_ids() : generation;
  return {ids.begin(), ids.end()};
}

}  // namespace

/// Builds an Impl step by step; each step reports its own error.
class EngineBuilder {
 public:
  explicit EngineBuilder(const EngineOptions& options) : impl_(new Engine::Impl()) {
    impl_->options = options;
  }

  Result<std::unique_ptr<Engine::Impl>> build() {
    const Clock::time_point begin = Clock::now();
    const Result<void> done =
        run({&EngineBuilder::open_device, &EngineBuilder::load, &EngineBuilder::load_text,
             &EngineBuilder::plan, &EngineBuilder::reserve});
    if (!done) return done.error();
    impl_->info.load_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return std::move(impl_);
  }

  Result<ModelInfo> inspect() {
    const Result<void> done =
        run({&EngineBuilder::open_device, &EngineBuilder::load, &EngineBuilder::plan});
    if (!done) return done.error();
    return impl_->info;
  }

 private:
  using Stage = Result<void> (EngineBuilder::*)();

  Result<void> run(std::initializer_list<Stage> stages) {
    for (const Stage stage : stages) {
      Result<void> done = (this->*stage)();
      if (!done) return done;
    }
    return {};
  }

  Result<void> open_device() {
    const EngineOptions& o = impl_->options;
    Result<EngineChoices> choices = parse_options(o);
    if (!choices) return choices.error();
    choices_ = std::move(*choices);
    const CpuOptions host{
        .threads = {.threads = o.threads}, .isa = choices_.isa, .amx = choices_.amx};
    if (choices_.gpu) {
      Result<std::unique_ptr<Device>> device = Device::cuda(*choices_.gpu, host);
      if (!device) return device.error();
      impl_->device_ = std::move(*device);
    } else {
      impl_->device_ = Device::cpu(host);
    }
    set_automatic_limits();
    impl_->scratch_.resize(static_cast<std::size_t>(impl_->device_->pool().size()));
    return {};
  }

  bool is_deterministic() const {
    const Gpu* gpu = impl_->device_->gpu();
    return gpu == nullptr || gpu->deterministic();
  }

  void set_automatic_limits() {
    EngineOptions& o = impl_->options;
    const bool gpu = impl_->device_->is_cuda();
    if (o.max_batch_tokens == 0) o.max_batch_tokens = gpu ? 8192 : 512;
    if (o.max_requests == 0) o.max_requests = gpu ? 1024 : 256;
  }

  Result<void> load() {
    Result<LoadedModel> model = load_model(choices_.load, *impl_->device_);
    if (!model) return model.error();
    impl_->model = std::make_unique<LoadedModel>(std::move(*model));
    if (Gpu* gpu = impl_->device_->gpu()) {
      const ComputeDType compute = *impl_->model->params->options().compute;
      gpu->set_deterministic(deterministic_on(gpu->architecture(), choices_, compute));
    }
    describe();
    return {};
  }

  void describe() {
    const LoadedModel& m = *impl_->model;
    const DecoderShape shape = m.config.decoder_shape();
    const std::optional<ComputeDType> compute = m.params->options().compute;
    impl_->info = {.path = m.path,
                   .architecture = m.config.architecture(),
                   .parameters = m.n_parameters,
                   .layers = shape.layers,
                   .hidden_size = shape.hidden,
                   .vocab_size = m.model->vocab_size(),
                   .query_heads = shape.query_heads,
                   .kv_heads = shape.kv_heads,
                   .head_dim = shape.head_dim,
                   .context_length = m.context_length,
                   .eos_token_ids = eos_ids_of(m),
                   .weights = impl_->options.weights,
                   .dtype = compute ? std::string(name_of(dtype_of(*compute))) : "auto",
                   .kv_cache = impl_->options.kv_cache,
                   .device = impl_->device_->is_cuda() ? impl_->device_->gpu()->name() : "cpu",
                   .deterministic = is_deterministic(),
                   .max_batch_tokens = impl_->options.max_batch_tokens,
                   .max_requests = impl_->options.max_requests,
                   .weight_bytes = impl_->device_->is_cuda() ? GpuWeights::bytes(*m.params)
                                                             : m.params->matrix_bytes()};
  }

  Result<void> load_text() {
    Result<std::unique_ptr<Tokenizer>> tokenizer = load_tokenizer(impl_->info.path);
    if (!tokenizer) return tokenizer.error();
    impl_->tokenizer = std::move(*tokenizer);
    if (impl_->tokenizer && !impl_->tokenizer->chat_template().empty()) {
      Result<ChatTemplate> parsed = ChatTemplate::parse(impl_->tokenizer->chat_template());
      if (!parsed) return parsed.error();
      impl_->chat_template = std::make_unique<ChatTemplate>(std::move(*parsed));
    }
    Result<SamplingParams> sampling =
        generation_defaults(impl_->model->generation.defaults, SamplingParams{});
    if (!sampling) return sampling.error();
    impl_->default_sampling = std::move(*sampling);
    return {};
  }

  Result<void> plan() {
    const EngineOptions& o = impl_->options;
    LoadedModel& m = *impl_->model;
    geometry_ = m.model->kv_geometry();
    const Device& device = *impl_->device_;
    const ParamOptions& params = m.params->options();
    kv_dtype_ = choices_.kv_dtype.value_or(kv_dtype_for(params, m.config));
    if (device.is_cuda()) {
      if (Result<void> fits = check_cache_type(kv_dtype_, params); !fits) return fits;
    }
    const DecoderShape shape = m.config.decoder_shape();
    const std::int64_t rows = std::max(o.max_batch_tokens, o.max_requests);
    logit_rows_ = logit_rows(o, impl_->info.vocab_size);
    logits_ = logit_rows_.total * logit_row_bytes(impl_->info.vocab_size);
    gpu_limits_ = {.max_rows = rows,
                   .max_requests = o.max_requests,
                   .max_logit_rows = logit_rows_.total,
                   .context_length = m.context_length,
                   .attention_shapes = different_windows(m.config, shape.layers),
                   .deterministic = is_deterministic()};
    workspace_ = device.is_cuda()
                     ? gpu_workspace_bytes(shape, gpu_limits_, *params.compute)
                     : CpuExecutor::workspace_bytes(shape, rows, impl_->device_->pool().size());
    block_tokens_ = KvCache::block_tokens(device.kind());
    Result<MemoryPlan> memory = plan_memory(memory_demand());
    if (!memory) return memory.error();
    memory_ = std::move(*memory);
    impl_->info.memory = memory_.items;
    impl_->info.kv_tokens = memory_.kv_blocks * block_tokens_;
    impl_->info.kv_dtype = name_of(kv_dtype_);
    return {};
  }

  MemoryDemand memory_demand() const {
    const LoadedModel& m = *impl_->model;
    const Device& device = *impl_->device_;
    MemoryDemand demand{.weights = impl_->info.weight_bytes,
                        .vectors = m.params->vector_bytes(),
                        .workspace = workspace_,
                        .logits = logits_,
                        .logit_rows = logit_rows_.total,
                        .kv_block = KvCache::block_bytes(device.kind(), geometry_, kv_dtype_),
                        .block_tokens = block_tokens_,
                        .context_length = m.context_length,
                        .max_requests = impl_->options.max_requests,
                        .kv_memory = impl_->options.kv_memory,
                        .on_gpu = device.is_cuda()};
    if (!demand.on_gpu) {
      demand.available = available_memory();
      return demand;
    }
    demand.available = device.gpu()->free_bytes() + demand.vectors;  // they are there already
    const GpuTables tables = gpu_table_bytes(m.config.decoder_shape(), gpu_limits_, kv_dtype_);
    demand.tables = tables.on_gpu;
    demand.locked_tables = tables.page_locked;
    demand.locked_logits = tables.locked_logits;
    demand.transfer = GpuWeights::transfer_bytes(choices_.load.dummy);
    return demand;
  }

  Result<void> reserve() {
    const EngineOptions& o = impl_->options;
    LoadedModel& m = *impl_->model;
    Device& device = *impl_->device_;
    if (device.is_cuda()) {
      Result<std::unique_ptr<GpuWeights>> weights =
          GpuWeights::load(*m.params, device, choices_.load.dummy);
      if (!weights) return weights.error();
      impl_->gpu_weights_ = std::move(*weights);
    }
    Result<KvCache> kv = KvCache::reserve(device, geometry_, kv_dtype_, memory_.kv_blocks);
    if (!kv) return kv.error();
    impl_->allocator_ = make_kv_allocator(
        choices_.kv_cache, {.n_blocks = memory_.kv_blocks, .block_tokens = block_tokens_});
    SchedulerOptions scheduling{.max_batch_tokens = o.max_batch_tokens,
                                .max_requests = o.max_requests,
                                .max_scores = logit_rows_.scored,
                                .context_length = m.context_length,
                                .admission = {.kind = choices_.admission},
                                .policy = choices_.policy};
    if (device.is_cuda() && is_deterministic()) scheduling.max_recomputed = kMostRecomputedRows;
    impl_->scheduler_ = std::make_unique<Scheduler>(scheduling, *impl_->allocator_);
    return device.is_cuda() ? make_gpu_part(std::move(*kv)) : make_cpu_part(std::move(*kv));
  }

  Result<void> make_cpu_part(KvCache kv) {
    LoadedModel& m = *impl_->model;
    Result<Buffer> arena = Buffer::reserve_host(workspace_ + logits_);
    if (!arena) return arena.error();
    Result<Packer> packer = Packer::create(*m.params);
    if (!packer) return packer.error();
    impl_->packer_ = std::make_unique<Packer>(std::move(*packer));
    impl_->packer_->pack_required(*impl_->device_);
    impl_->executor_ =
        std::make_unique<CpuExecutor>(CpuExecutor::Parts{.device = *impl_->device_,
                                                         .model = *m.model,
                                                         .params = *m.params,
                                                         .kv = std::move(kv),
                                                         .arena = Arena(std::move(*arena))});
    return {};
  }

  Result<void> make_gpu_part(KvCache kv) {
    LoadedModel& m = *impl_->model;
    Result<std::unique_ptr<Executor>> executor =
        make_gpu_executor({.device = *impl_->device_,
                           .model = *m.model,
                           .params = *m.params,
                           .kv = std::move(kv),
                           .limits = gpu_limits_,
                           .arena_bytes = workspace_ + logits_},
                          m.config.decoder_shape());
    if (!executor) return executor.error();
    impl_->executor_ = std::move(*executor);
    impl_->packed_ = true;
    return {};
  }

  KvGeometry geometry_{};
  DType kv_dtype_ = DType::kBF16;
  EngineChoices choices_;
  LogitRows logit_rows_{};
  std::int64_t workspace_ = 0, logits_ = 0;
  std::int64_t block_tokens_ = kKvBlockTokens;
  GpuLimits gpu_limits_{};
  MemoryPlan memory_{};
  std::unique_ptr<Engine::Impl> impl_;
};

Result<std::unique_ptr<Engine::Impl>> Engine::Impl::create(const EngineOptions& options) {
  return EngineBuilder(options).build();
}

Result<ModelInfo> Engine::Impl::inspect(const EngineOptions& options) {
  return EngineBuilder(options).inspect();
}

}  // namespace spate
