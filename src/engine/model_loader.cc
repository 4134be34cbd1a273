#include "engine/model_loader.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "core/load_error.h"
#include "models/registry.h"
#include "weights/weights.h"

namespace spate {
namespace {

std::int64_t context_of(const HfConfig& config, std::int64_t asked) {
  const std::int64_t own = config.decoder_shape().max_positions;
  if (asked == 0) return own;
  // Dynamic scaling begins where the configured positions end (models/rope.cc).
  const RopeConfig rope = config.rope();
  const double stretch = rope.type == RopeConfig::Type::kDynamic ? rope.factor : 1.0;
  const auto most = static_cast<std::int64_t>(static_cast<double>(own) * stretch);
  if (asked < 0 || asked > most) {
    throw LoadError(ErrorCode::kInvalidArgument,
                    fmt::format("context length {}: the model's is {} (max_position_embeddings "
                                "and its scaling); ask for 1 to {}",
                                asked, most, most));
  }
  return asked;
}

const Architecture& architecture_of(const HfConfig& config, const std::string& path) {
  const std::string name = config.architecture();
  const Architecture* architecture = find_architecture(name);
  if (architecture == nullptr) {
    throw LoadError(ErrorCode::kUnsupported,
                    fmt::format("{}: architecture {} is not supported; Spate runs {}", path, name,
                                supported_architectures()));
  }
  return *architecture;
}

LoadedModel build(const LoadOptions& options, const HfConfig& config, Device& device) {
  const Architecture& architecture = architecture_of(config, options.path);
  ParamOptions params = options.params;
  if (device.is_cuda()) params.compute = gpu_compute(params, config);
  LoadedModel loaded{.path = options.path,
                     .config = config,
                     .generation = value_or_throw(GenerationConfig::load(options.path)),
                     .checkpoint = options.dummy
                                       ? Checkpoint::dummy({.fill_matrices = !device.is_cuda()})
                                       : value_or_throw(Checkpoint::open(options.path)),
                     .params = std::make_unique<ParamStore>(params, device),
                     .model = nullptr,
                     .context_length = context_of(config, options.context_length)};
  WeightSource source(loaded.checkpoint);
  loaded.model =
      architecture.make(config, Params(source.root(), *loaded.params, loaded.context_length));
  const Result<void> finished = source.finish(config.flag("tie_word_embeddings", false));
  if (!finished) throw LoadError(finished.error());
  for (const TensorInfo* t : loaded.checkpoint.tensors()) loaded.n_parameters += t->view.count();
  return loaded;
}

}  // namespace

ComputeDType gpu_compute(const ParamOptions& params, const HfConfig& config) {
  const bool f16 = config.dtype() == DType::kF16;
  return params.compute.value_or(f16 ? ComputeDType::kF16 : ComputeDType::kBF16);
}

Result<LoadedModel> load_model(const LoadOptions& options, Device& device) {
  const Result<HfConfig> config = HfConfig::load(options.path);
  if (!config) return config.error();
  return load_result([&] { return build(options, *config, device); });
}

Result<Packer> Packer::create(ParamStore& params) {
  Packer packer(params);
  Result<Buffer> storage = Buffer::reserve_host(params.matrix_bytes());
  if (!storage) return storage.error();
  packer.storage_ = std::move(*storage);
  std::byte* at = packer.storage_.data();
  for (Matrix& m : params.matrices()) {
    m.set_storage(at);
    at += m.packed_bytes();
  }
  return packer;
}

void Packer::pack(Device& device, Matrix& matrix) {
  constexpr std::int64_t kChunk = 4;
  device.pool().run([&](int) {
    for (std::int64_t first = device.pool().take(kChunk); first < matrix.n_panels();
         first = device.pool().take(kChunk)) {
      matrix.pack_panels(device.isa(), first, std::min(first + kChunk, matrix.n_panels()));
    }
  });
  matrix.mark_packed();
}

void Packer::pack_required(Device& device) {
  for (Matrix& m : params_->matrices()) {
    if (row_format_of(m.format()) == RowFormat::kInt8 && !m.packed()) pack(device, m);
  }
}

bool Packer::pack_some(Device& device, double seconds) {
  const auto begin = std::chrono::steady_clock::now();
  const std::chrono::duration<double> enough(seconds);
  auto& matrices = params_->matrices();
  while (next_ < matrices.size() && std::chrono::steady_clock::now() - begin < enough) {
    Matrix& m = matrices[next_++];
    if (!m.packed()) pack(device, m);
  }
  return next_ == matrices.size();
}

}  // namespace spate
