#include "weights/weights.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/load_error.h"
#include "weights/quote_name.h"

namespace spate {
namespace {

using Shape = std::initializer_list<std::int64_t>;

// Tensors that exporters left in files although every reader computes them from the config: the
// ends of their names.
constexpr auto kBuffers = std::to_array<std::string_view>({
    ".rotary_emb.inv_freq",
    ".rotary_emb.cos_cached",
    ".rotary_emb.sin_cached",
    ".attn.bias",  // GPT-2's causal mask
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
    ".embeddings.position_ids",
});

constexpr std::string_view kHead = "lm_head.weight";

std::string joined(std::string_view path, std::string_view child) {
  if (path.empty() || child.empty()) return fmt::format("{}{}", path, child);
  return fmt::format("{}.{}", path, child);
}

/// What the checkpoint has where something is missing: usually enough to see why.
std::string neighbours(const Checkpoint& checkpoint, std::string_view path) {
  constexpr std::size_t kMost = 8;
  const std::string inside = path.empty() ? std::string() : fmt::format("{}.", path);
  std::vector<std::string> found;
  for (const TensorInfo* t : checkpoint.tensors()) {
    if (!t->name.starts_with(inside)) continue;
    if (found.size() == kMost) {
      found.emplace_back("...");
      break;
    }
    found.push_back(quote_name(t->name));
  }
  if (found.empty()) return fmt::format("nothing is under {}", quote_name(path));
  return fmt::format("there are {}", fmt::join(found, ", "));
}

bool computes(DType t) { return t == DType::kF32 || t == DType::kF16 || t == DType::kBF16; }

void require_usable(const TensorInfo& info) {
  if (!info.usable() || !computes(info.view.dtype())) {
    throw LoadError(ErrorCode::kUnsupported,
                    fmt::format("{}: tensor {} is {}; Spate reads F32, F16 and BF16", info.file,
                                quote_name(info.name), info.dtype_name));
  }
}

Tensor checked(const TensorInfo& info, Shape shape) {
  if (!std::ranges::equal(info.shape, shape)) {
    throw LoadError(
        ErrorCode::kCorrupt,
        fmt::format("{}: tensor {} is [{}], but config.json asks for [{}]; the two may belong to "
                    "different models",
                    info.file, quote_name(info.name), fmt::join(info.shape, ", "),
                    fmt::join(shape, ", ")));
  }
  require_usable(info);
  return info.view;
}

bool is_buffer(std::string_view name) {
  return std::ranges::any_of(kBuffers, [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

Weights WeightSource::root(std::string_view prefix) { return {*this, std::string(prefix)}; }

std::vector<std::string> WeightSource::unused(bool tied) const {
  std::vector<std::string> out;
  for (const TensorInfo* t : checkpoint_->tensors()) {
    if (consumed_.contains(t->name) || is_buffer(t->name)) continue;
    if (tied && t->name.ends_with(kHead)) continue;
    out.push_back(t->name);
  }
  return out;
}

Result<void> WeightSource::finish(bool tied) const {
  constexpr std::size_t kMost = 10;
  std::vector<std::string> names = unused(tied);
  if (names.empty()) return {};
  const std::size_t count = names.size();
  names.resize(std::min(count, kMost));
  std::ranges::transform(names, names.begin(), quote_name);
  return Error{ErrorCode::kUnsupported,
               fmt::format("{}: {} tensor{} that this architecture does not use: {}{}; the output "
                           "would be wrong without them",
                           checkpoint_->source(), count, count == 1 ? "" : "s",
                           fmt::join(names, ", "), count > kMost ? ", ..." : "")};
}

Weights Weights::operator/(std::string_view child) const {
  return {*source_, joined(path_, child)};
}

Weights Weights::operator/(std::int64_t index) const {
  return {*source_, joined(path_, fmt::format("{}", index))};
}

bool Weights::has(std::string_view child) const {
  return source_->checkpoint_->has(joined(path_, child));
}

Tensor Weights::tensor(std::string_view name, Shape shape) const {
  Checkpoint& checkpoint = *source_->checkpoint_;
  const std::string full = joined(path_, name);
  const TensorInfo* info = checkpoint.find(full);
  if (info == nullptr && checkpoint.is_dummy()) info = &checkpoint.create(full, shape);
  if (info == nullptr) {
    throw LoadError(ErrorCode::kNotFound,
                    fmt::format("{}: tensor {} [{}] is missing ({}); the download may be "
                                "incomplete, or config.json that of another model",
                                checkpoint.source(), quote_name(full), fmt::join(shape, ", "),
                                neighbours(checkpoint, path_)));
  }
  const Tensor view = checked(*info, shape);
  source_->consumed_.insert(full);
  return view;
}

std::optional<Tensor> Weights::find(std::string_view name, Shape shape) const {
  if (!has(name)) return std::nullopt;
  return tensor(name, shape);
}

std::optional<Tensor> Weights::find_flat(std::string_view name) const {
  const TensorInfo* info = source_->checkpoint_->find(joined(path_, name));
  if (info == nullptr) return std::nullopt;
  require_usable(*info);
  source_->consumed_.insert(info->name);
  return Tensor(info->view.data(), info->view.dtype(), {info->view.count()});
}

}  // namespace spate
