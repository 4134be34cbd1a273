// Checkpoint: the tensors of a model folder by name, as views into mapped files that it owns. Views
// die with it. It knows no architecture; weights.h is how a model reads it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "spate/result.h"
#include "weights/mapped_file.h"
#include "weights/safetensors.h"

namespace spate {

struct TensorInfo {
  std::string name;
  std::string dtype_name;             // as the file spells it
  std::vector<std::int64_t> shape{};  // as stored; a scalar has none
  Tensor view{};            // empty when Spate lacks the element type or the rank; a scalar is [1]
  std::string file{};       // empty for a dummy
  std::int64_t offset = 0;  // bytes from the start of the file
  std::int64_t n_bytes = 0;
  bool mapped = true;  // false: the bytes are a copy in memory, because the file misaligned them

  bool usable() const { return view.rank() > 0; }
};

/// What Checkpoint::dummy makes up.
struct DummySpec {
  std::uint64_t seed = 0;
  DType dtype = DType::kBF16;  // f32, f16 or bf16
  /// False: matrices have a place and a shape but no numbers, for a device that makes its own.
  bool fill_matrices = true;
  /// Names that exist although nobody asks for them by shape: `has` is true for a tensor whose name
  /// ends in one of these, e.g. "q_proj.bias".
  std::vector<std::string> optional_tensors{};
};

class Checkpoint {
 public:
  /// Opens model.safetensors, or the shards of model.safetensors.index.json, or the only
  /// *.safetensors in `folder`, and validates every header. `folder` may also name one file.
  static Result<Checkpoint> open(const std::string& folder);

  /// Random weights of any shape that is asked for, the same for the same seed, name and shape.
  static Checkpoint dummy(DummySpec spec);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;
  ~Checkpoint();

  /// Null when there is no such tensor. The pointer stays valid as long as the checkpoint.
  const TensorInfo* find(std::string_view name) const;
  /// Whether `prefix` is a tensor or the beginning ("model.layers.3") of one's name.
  bool has(std::string_view prefix) const;
  /// In the order of names.
  std::vector<const TensorInfo*> tensors() const;
  std::int64_t n_bytes() const;                          // of all tensors
  const std::string& source() const { return source_; }  // for messages

  bool is_dummy() const { return dummy_ != nullptr; }
  /// Makes a dummy tensor, or returns the one that was made; a bug unless is_dummy().
  const TensorInfo& create(std::string_view name, std::span<const std::int64_t> shape);

  /// Lets the system drop the pages behind `view`, because it was packed elsewhere. Reading a
  /// mapped tensor again brings them back from the file; a dummy's are gone.
  void release(const Tensor& view) const;

 private:
  struct Dummy;

  Checkpoint();
  TensorInfo describe(SafetensorsEntry entry, const MappedFile& file);
  Result<void> add_file(const std::string& path);
  Result<void> add_shards(const std::string& index_path, const std::string& folder);

  // Maps and copies are declared before the views into them, so that they outlive them.
  std::vector<MappedFile> files_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;
  std::unique_ptr<Dummy> dummy_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::string source_;
};

}  // namespace spate
