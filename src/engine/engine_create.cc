// Engine::create: options checked, model loaded, memory planned, parts put together.
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "core/load_error.h"
#include "device/gpu.h"
#include "engine/cpu_executor.h"
#include "engine/engine_impl.h"
#include "engine/gpu_executor.h"
#include "engine/memory_plan.h"
#include "sample/params.h"

namespace spate {
namespace {

Result<void> check_limits(const EngineOptions& o) {
  if (o.max_batch_tokens < 0 || o.max_requests < 0 || o.kv_memory < 0 || o.threads < 0) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--max-batch-tokens {}, --max-requests {}, --kv-memory {} and "
                             "--threads {} must not be negative",
                             o.max_batch_tokens, o.max_requests, o.kv_memory, o.threads)};
  }
  return {};
}

/// The number of the GPU that --device names; none for the CPU.
Result<std::optional<int>> gpu_of(const std::string& device) {
  if (device == "cpu") return std::optional<int>();
  if (device == "cuda") return std::optional<int>(0);
  int number = 0;
  const char* end = device.data() + device.size();
  if (device.starts_with("cuda:")) {
    const auto [rest, error] = std::from_chars(device.data() + 5, end, number);
    if (error == std::errc() && rest == end) return std::optional<int>(number);
    if (error == std::errc() && *rest == ',') {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("--device {}: one GPU at a time; use cuda:{}", device, number)};
    }
  }
  return unknown_word("device", device, "cpu, cuda, cuda:0, cuda:1, ...");
}

Result<CpuIsa> isa_of(const std::string& name) {
  const CpuIsa best = best_cpu_isa();
  if (name == "auto") return best;
  for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (name != name_of(isa)) continue;
    if (isa <= best) return isa;
    return Error{ErrorCode::kUnsupported,
                 fmt::format("--isa {}: this machine has {} at best", name, name_of(best))};
  }
  return unknown_word("isa", name, "auto, generic, avx2, avx512");
}

Result<DType> gpu_kv_dtype_of(const EngineOptions& o) {
  const std::string& name = o.kv_dtype;
  if (name == "fp8") return DType::kF8E4M3;
  if (name == "auto") return o.dtype == "f32" ? DType::kF32 : DType::kBF16;
  if (name == "bf16" && o.dtype != "f32") return DType::kBF16;
  if (name == "f32" && o.dtype == "f32") return DType::kF32;
  return Error{
      ErrorCode::kInvalidArgument,
      fmt::format("--kv-dtype {}: on a GPU use auto, bf16 or fp8, and f32 with --dtype f32", name)};
}

Result<DType> kv_dtype_of(const EngineOptions& o, const HfConfig& config) {
  if (o.device != "cpu") return gpu_kv_dtype_of(o);
  if (o.kv_dtype == "int8") return DType::kI8;
  if (o.kv_dtype != "auto") {
    const std::optional<DType> named = dtype_named(o.kv_dtype);
    if (named == DType::kF32 || named == DType::kF16 || named == DType::kBF16) return *named;
    return unknown_word("kv-dtype", o.kv_dtype, "auto, f32, f16, bf16, int8");
  }
  if (o.dtype == "f32") return DType::kF32;
  const DType stored = config.dtype().value_or(DType::kBF16);
  return stored == DType::kF32 && o.weights != "auto" ? DType::kBF16 : stored;
}

Result<KvCacheKind> kv_kind_of(const std::string& name) {
  if (name == "segment") return KvCacheKind::kSegment;
  if (name == "paged") return KvCacheKind::kPaged;
  return unknown_word("kv-cache", name, "segment, paged");
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
    const Result<void> limits = check_limits(o);
    if (!limits) return limits.error();
    const Result<CpuIsa> isa = isa_of(o.isa);
    if (!isa) return isa.error();
    const Result<std::optional<int>> gpu = gpu_of(o.device);
    if (!gpu) return gpu.error();
    const CpuOptions host{.threads = {.threads = o.threads}, .isa = *isa};
    if (*gpu) {
      Result<std::unique_ptr<Device>> device = Device::cuda(**gpu, host);
      if (!device) return device.error();
      impl_->device_ = std::move(*device);
    } else {
      impl_->device_ = Device::cpu(host);
    }
    set_automatic_limits();
    impl_->scratch_.resize(static_cast<std::size_t>(impl_->device_->pool().size()));
    return {};
  }

  void set_automatic_limits() {
    EngineOptions& o = impl_->options;
    const bool gpu = impl_->device_->is_cuda();
    if (o.max_batch_tokens == 0) o.max_batch_tokens = gpu ? 8192 : 512;
    if (o.max_requests == 0) o.max_requests = gpu ? 1024 : 256;
  }

  Result<void> load() {
    const Result<LoadOptions> options = load_options_from(impl_->options);
    if (!options) return options.error();
    Result<LoadedModel> model = load_model(*options, *impl_->device_);
    if (!model) return model.error();
    impl_->model = std::make_unique<LoadedModel>(std::move(*model));
    describe();
    return {};
  }

  void describe() {
    const LoadedModel& m = *impl_->model;
    const DecoderShape shape = m.config.decoder_shape();
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
                   .dtype = impl_->options.dtype,
                   .kv_cache = impl_->options.kv_cache,
                   .device = impl_->device_->is_cuda() ? impl_->device_->gpu()->name() : "cpu",
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
    const Result<DType> kv_dtype = kv_dtype_of(o, m.config);
    if (!kv_dtype) return kv_dtype.error();
    geometry_ = m.model->kv_geometry();
    kv_dtype_ = *kv_dtype;
    const Device& device = *impl_->device_;
    const DecoderShape shape = m.config.decoder_shape();
    const std::int64_t rows = std::max(o.max_batch_tokens, o.max_requests);
    gpu_limits_ = {.max_rows = rows,
                   .max_requests = o.max_requests,
                   .max_logit_rows = o.max_requests,
                   .context_length = m.context_length};
    workspace_ = device.is_cuda()
                     ? gpu_workspace_bytes(shape, gpu_limits_, m.params->options().compute)
                     : CpuExecutor::workspace_bytes(shape, rows, impl_->device_->pool().size());
    block_tokens_ = KvCache::block_tokens(device.kind());
    Result<MemoryPlan> memory = plan_memory(
        {.weights = impl_->info.weight_bytes,
         .workspace = workspace_,
         .kv_block = KvCache::block_bytes(device.kind(), geometry_, kv_dtype_),
         .block_tokens = block_tokens_,
         .context_length = m.context_length,
         .max_requests = o.max_requests,
         .kv_memory = o.kv_memory,
         .available = device.is_cuda() ? device.gpu()->free_bytes() : available_memory(),
         .on_gpu = device.is_cuda()});
    if (!memory) return memory.error();
    memory_ = std::move(*memory);
    impl_->info.memory = memory_.items;
    impl_->info.kv_tokens = memory_.kv_blocks * block_tokens_;
    impl_->info.kv_dtype = name_of(kv_dtype_);
    return {};
  }

  Result<void> reserve() {
    const EngineOptions& o = impl_->options;
    LoadedModel& m = *impl_->model;
    const Result<KvCacheKind> kind = kv_kind_of(o.kv_cache);
    if (!kind) return kind.error();
    Device& device = *impl_->device_;
    if (device.is_cuda()) {
      Result<std::unique_ptr<GpuWeights>> weights =
          GpuWeights::load(*m.params, device, o.load_format == "dummy");
      if (!weights) return weights.error();
      impl_->gpu_weights_ = std::move(*weights);
    }
    Result<KvCache> kv = KvCache::reserve(device, geometry_, kv_dtype_, memory_.kv_blocks);
    if (!kv) return kv.error();
    impl_->allocator_ =
        make_kv_allocator(*kind, {.n_blocks = memory_.kv_blocks, .block_tokens = block_tokens_});
    impl_->scheduler_ =
        std::make_unique<Scheduler>(SchedulerOptions{.max_batch_tokens = o.max_batch_tokens,
                                                     .max_requests = o.max_requests,
                                                     .context_length = m.context_length},
                                    *impl_->allocator_);
    return device.is_cuda() ? make_gpu_part(std::move(*kv)) : make_cpu_part(std::move(*kv));
  }

  Result<void> make_cpu_part(KvCache kv) {
    LoadedModel& m = *impl_->model;
    Result<Buffer> arena = Buffer::reserve_host(workspace_);
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
    gpu_limits_.kv_blocks = memory_.kv_blocks;
    Result<std::unique_ptr<Executor>> executor = make_gpu_executor({.device = *impl_->device_,
                                                                    .model = *m.model,
                                                                    .params = *m.params,
                                                                    .kv = std::move(kv),
                                                                    .limits = gpu_limits_},
                                                                   m.config.decoder_shape());
    if (!executor) return executor.error();
    impl_->executor_ = std::move(*executor);
    impl_->packed_ = true;
    return {};
  }

  KvGeometry geometry_{};
  DType kv_dtype_ = DType::kBF16;
  std::int64_t workspace_ = 0;
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
