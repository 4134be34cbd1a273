// Weights: a cursor into a checkpoint: `w / "layers" / 3` narrows it. WeightSource owns the record
// of what was read, so that the loader can report every tensor that a model wanted and did not
// find, and every tensor that no part of the model consumed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "spate/result.h"
#include "weights/checkpoint.h"

namespace spate {

class Weights;

/// One load of one checkpoint. Cursors point into it: it must outlive them, the checkpoint it.
class WeightSource {
 public:
  explicit WeightSource(Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;
  ~WeightSource() = default;

  /// The cursor at the top. A non-empty `prefix` ("language_model") narrows it.
  Weights root(std::string_view prefix = {});

  /// Tensors that are there but were not read, less the harmless: rotary_emb.inv_freq and other
  /// buffers that old exporters saved, and an lm_head.weight that `tied` says is the embedding.
  std::vector<std::string> unused(bool tied) const;

  /// An Error that names the unused tensors, if there are any.
  Result<void> finish(bool tied) const;

 private:
  friend class Weights;

  Checkpoint* checkpoint_;
  std::set<std::string, std::less<>> consumed_;
};

/// Cheap to copy.
class Weights {
 public:
  Weights operator/(std::string_view child) const;
  Weights operator/(std::int64_t index) const;

  /// "model.layers.3.mlp"; empty at the top.
  const std::string& path() const { return path_; }

  /// Whether there is a tensor of that name here, or any below it.
  bool has(std::string_view child) const;

  /// The tensor of exactly this shape. Throws LoadError if it is missing, differs or is of a type
  /// that Spate does not read.
  Tensor tensor(std::string_view name, std::initializer_list<std::int64_t> shape) const;

  /// The same, or nothing if the checkpoint has no tensor of that name.
  std::optional<Tensor> find(std::string_view name,
                             std::initializer_list<std::int64_t> shape) const;

  /// The same, whatever its shape: as one row.
  std::optional<Tensor> find_flat(std::string_view name) const;

 private:
  friend class WeightSource;

  Weights(WeightSource& source, std::string path) : source_(&source), path_(std::move(path)) {}

  WeightSource* source_;
  std::string path_;
};

}  // namespace spate
