#include "weights/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "weights/dummy.h"
#include "weights/model_json.h"
#include "weights/quote_name.h"
#include "weights/safetensors.h"

namespace spate {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

/// A contiguous view, or an empty one where Tensor has no room for the rank.
Tensor view_of(void* data, DType dtype, std::span<const std::int64_t> shape) {
  switch (shape.size()) {
    case 0:
      return {data, dtype, {1}};
    case 1:
      return {data, dtype, {shape[0]}};
    case 2:
      return {data, dtype, {shape[0], shape[1]}};
    case 3:
      return {data, dtype, {shape[0], shape[1], shape[2]}};
    case 4:
      return {data, dtype, {shape[0], shape[1], shape[2], shape[3]}};
    default:
      return {};
  }
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The only *.safetensors in `folder`: how some tools name a model that they did not split.
Result<std::string> only_safetensors(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (it->path().extension() == ".safetensors") found.push_back(it->path().string());
  }
  if (code) return Error{ErrorCode::kIo, fmt::format("{}: {}", folder, code.message())};
  if (found.size() == 1) return found.front();
  std::ranges::sort(found);
  const std::string seen =
      found.empty() ? "no .safetensors at all" : fmt::format("{}", fmt::join(found, ", "));
  return Error{ErrorCode::kNotFound,
               fmt::format("{}: neither {} nor {} is there, but {}; a model folder as published on "
                           "Hugging Face has one of them",
                           folder, kSingle, kIndex, seen)};
}

/// tensor name -> file name, both as model.safetensors.index.json has them.
using WeightMap = std::map<std::string, std::string>;

Result<WeightMap> read_weight_map(const std::string& path) {
  Result<Json> document = read_model_json(path);
  if (!document) return document.error();
  const auto map = document->find("weight_map");
  if (map == document->end() || !map->is_object() || map->empty()) {
    return Error{ErrorCode::kCorrupt,
                 fmt::format("{}: weight_map is missing, empty or not an object", path)};
  }
  WeightMap out;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string()) {
      return Error{ErrorCode::kCorrupt,
                   fmt::format("{}: weight_map[{}] is not a file name", path, quote_name(name))};
    }
    const auto& text = file.get_ref<const std::string&>();
    // A name with a folder in it could reach any file of the machine.
    if (text.empty() || text.find('/') != std::string::npos ||
        text.find('\0') != std::string::npos) {
      return Error{ErrorCode::kCorrupt,
                   fmt::format("{}: weight_map[{}] is {}, not a plain file name", path,
                               quote_name(name), quote_name(text))};
    }
    out.emplace(name, text);
  }
  return out;
}

}  // namespace

struct Checkpoint::Dummy {
  DummySpec spec;
  DummyWeights weights;
};

Checkpoint::Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Result<Checkpoint> Checkpoint::open(const std::string& folder) {
  Checkpoint checkpoint;
  checkpoint.source_ = folder;
  std::error_code code;
  const fs::file_status status = fs::status(folder, code);
  if (!fs::exists(status)) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: no such model folder", folder)};
  }
  Result<void> added;
  if (!fs::is_directory(status)) {
    added = checkpoint.add_file(folder);
  } else if (const fs::path single = fs::path(folder) / kSingle; is_there(single)) {
    added = checkpoint.add_file(single.string());
  } else if (const fs::path index = fs::path(folder) / kIndex; is_there(index)) {
    added = checkpoint.add_shards(index.string(), folder);
  } else {
    Result<std::string> only = only_safetensors(folder);
    if (!only) return only.error();
    added = checkpoint.add_file(*only);
  }
  if (!added) return added.error();
  return checkpoint;
}

TensorInfo Checkpoint::describe(SafetensorsEntry entry, const MappedFile& file) {
  const std::byte* data = file.bytes().data() + entry.begin;
  TensorInfo info{.name = std::move(entry.name),
                  .dtype_name = std::move(entry.dtype_name),
                  .shape = std::move(entry.shape),
                  .file = file.path(),
                  .offset = entry.begin,
                  .n_bytes = entry.n_bytes()};
  if (!entry.dtype) return info;
  const auto alignment = static_cast<std::uintptr_t>(size_of(*entry.dtype));
  info.mapped = reinterpret_cast<std::uintptr_t>(data) % alignment == 0;
  if (!info.mapped) {
    const auto n = static_cast<std::size_t>(info.n_bytes);
    copies_.push_back(std::make_unique_for_overwrite<std::byte[]>(n));
    std::memcpy(copies_.back().get(), data, n);
    data = copies_.back().get();
  }
  // Views are mutable by type; these pages are not, and nothing below models writes weights.
  info.view = view_of(const_cast<std::byte*>(data), *entry.dtype, info.shape);
  return info;
}

Result<void> Checkpoint::add_file(const std::string& path) {
  Result<MappedFile> file = MappedFile::open(path);
  if (!file) return file.error();
  Result<SafetensorsIndex> index = parse_safetensors(file->bytes(), path);
  if (!index) return index.error();
  for (SafetensorsEntry& entry : index->tensors) {
    const TensorInfo info = describe(std::move(entry), *file);
    const auto [at, inserted] = tensors_.try_emplace(info.name, info);
    if (!inserted) {
      return Error{ErrorCode::kCorrupt, fmt::format("tensor {} is in {} and in {}",
                                                    quote_name(info.name), at->second.file, path)};
    }
  }
  files_.push_back(std::move(*file));
  return {};
}

Result<void> Checkpoint::add_shards(const std::string& index_path, const std::string& folder) {
  const Result<WeightMap> map = read_weight_map(index_path);
  if (!map) return map.error();
  std::set<std::string> shards;
  for (const auto& [name, file] : *map) shards.insert(file);
  for (const std::string& shard : shards) {
    const std::string path = (fs::path(folder) / shard).string();
    if (!is_there(path)) {
      return Error{ErrorCode::kNotFound,
                   fmt::format("{}: shard {} is missing; download it", index_path, shard)};
    }
    if (Result<void> ok = add_file(path); !ok) return ok;
  }
  for (const auto& [name, file] : *map) {
    const TensorInfo* info = find(name);
    if (info == nullptr || fs::path(info->file).filename() != file) {
      return Error{
          ErrorCode::kCorrupt,
          fmt::format("{}: tensor {} should be in {}, but is {}", index_path, quote_name(name),
                      file, info == nullptr ? "in none of the shards" : "in " + info->file)};
    }
  }
  for (const auto& [name, info] : tensors_) {
    if (!map->contains(name)) {
      return Error{ErrorCode::kCorrupt, fmt::format("{}: tensor {} of {} is not in weight_map",
                                                    index_path, quote_name(name), info.file)};
    }
  }
  return {};
}

Checkpoint Checkpoint::dummy(DummySpec spec) {
  Checkpoint checkpoint;
  checkpoint.source_ = "dummy weights";
  DummyWeights weights(spec.seed, spec.dtype, spec.fill_matrices);
  checkpoint.dummy_ = std::make_unique<Dummy>(Dummy{std::move(spec), std::move(weights)});
  return checkpoint;
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

bool Checkpoint::has(std::string_view prefix) const {
  if (is_dummy()) {
    const auto& optional = dummy_->spec.optional_tensors;
    return find(prefix) != nullptr ||
           std::ranges::any_of(optional, [&](const auto& end) { return prefix.ends_with(end); });
  }
  if (find(prefix) != nullptr) return true;
  const std::string inside = std::string(prefix) + '.';
  const auto next = tensors_.lower_bound(inside);
  return next != tensors_.end() && next->first.starts_with(inside);
}

std::vector<const TensorInfo*> Checkpoint::tensors() const {
  std::vector<const TensorInfo*> out;
  out.reserve(tensors_.size());
  for (const auto& [name, info] : tensors_) out.push_back(&info);
  return out;
}

std::int64_t Checkpoint::n_bytes() const {
  std::int64_t sum = 0;
  for (const auto& [name, info] : tensors_) sum += info.n_bytes;
  return sum;
}

const TensorInfo& Checkpoint::create(std::string_view name, std::span<const std::int64_t> shape) {
  SPATE_CHECK(is_dummy());
  if (const TensorInfo* made = find(name); made != nullptr) return *made;
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  const DType dtype = dummy_->spec.dtype;
  TensorInfo info{
      .name = std::string(name),
      .dtype_name = std::string(name_of(dtype)),
      .shape = {shape.begin(), shape.end()},
      .view = view_of(dummy_->weights.make(name, count, shape.size() == 1), dtype, shape),
      .n_bytes = count * size_of(dtype),
      .mapped = false};
  return tensors_.try_emplace(info.name, std::move(info)).first->second;
}

void Checkpoint::release(const Tensor& view) const {
  const std::span part(static_cast<const std::byte*>(view.data()),
                       static_cast<std::size_t>(view.n_bytes()));
  if (dummy_) dummy_->weights.release(part);
  for (const MappedFile& file : files_) {
    const std::span all = file.bytes();
    const bool inside = std::less_equal<>()(all.data(), part.data()) &&
                        std::less<>()(part.data(), all.data() + all.size());
    if (inside) file.advise(MappedFile::Advice::kDontNeed, part);
  }
}

}  // namespace spate
