// From checkpoint tensors to what blocks compute with: matrices in their arithmetic format, small
// vectors in f32, rotary tables. ParamStore owns all of it; blocks keep pointers.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "device/device.h"
#include "models/rope_table.h"
#include "quant/matrix.h"
#include "weights/hf_config.h"
#include "weights/weights.h"

namespace spate {

/// What float weights are multiplied in, with sums in f32. bf16 and f16: weights are rounded to it
/// where they are stored otherwise; f32: they stay as stored and are widened. On the CPU, rows that
/// meet f16 weights are f32.
enum class ComputeDType : std::uint8_t { kF32, kF16, kBF16 };

DType dtype_of(ComputeDType compute);

struct ParamOptions {
  /// Absent: the type that each tensor is stored in. On a GPU all are of one type, so it is there.
  std::optional<ComputeDType> compute = std::nullopt;
  /// kQ8 or kQ4: quantize linear maps while loading; absent: keep the checkpoint's values.
  std::optional<WeightFormat> quantize = std::nullopt;
};

/// Owns what a model's blocks point to. Lives as long as the model.
class ParamStore {
 public:
  ParamStore(const ParamOptions& options, Device& device) : options_(options), device_(device) {}
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;
  ~ParamStore() = default;

  /// The output head stays at 8 bits where linear maps have 4: it decides every token and is read
  /// once a step.
  enum class Use : std::uint8_t { kLinear, kHead };
  Matrix& matrix(DType stored, std::int64_t k, std::vector<PanelSource> sources, Use use,
                 PanelOrder order = PanelOrder::kInOrder);
  /// The numbers of a tensor, in f32 on the host.
  static std::vector<float> values(Tensor t);
  /// A copy in f32, on the device.
  const float* vector(Tensor t);
  /// A copy on the device; throws LoadError when it has no room.
  const float* vector(std::span<const float> values);
  /// Rows that are looked up, not multiplied. On a GPU it is moved there with the matrices.
  Tensor& table(Tensor t) { return tables_.emplace_back(t); }
  RopeTable& rope(const RopeConfig& config, std::int64_t head_dim, std::int64_t n_positions);

  std::deque<Matrix>& matrices() { return matrices_; }
  std::deque<RopeTable>& ropes() { return ropes_; }
  std::deque<Tensor>& tables() { return tables_; }
  const ParamOptions& options() const { return options_; }
  /// Bytes of all matrices as packed.
  std::int64_t matrix_bytes() const;
  /// Bytes of all vectors and rotary tables, on the device.
  std::int64_t vector_bytes() const;

 private:
  WeightFormat format_of(DType stored, Use use) const;

  float* gpu_floats(std::int64_t n);

  ParamOptions options_;
  Device& device_;
  std::deque<Matrix> matrices_;  // stable addresses
  std::deque<std::vector<float>> vectors_;
  std::deque<RopeTable> ropes_;
  std::deque<Tensor> tables_;
  std::vector<Buffer> gpu_chunks_;  // of vectors
  std::int64_t gpu_used_ = 0;       // bytes of the last chunk
};

/// A cursor into the checkpoint together with the store that its tensors go to: what blocks are
/// constructed from. `p / "self_attn" / "q_proj"` narrows it.
class Params {
 public:
  Params(Weights weights, ParamStore& store, std::int64_t n_positions)
      : weights_(std::move(weights)), store_(&store), n_positions_(n_positions) {}

  template <class Child>
  Params operator/(const Child& child) const {
    return {weights_ / child, *store_, n_positions_};
  }
  bool has(std::string_view child) const { return weights_.has(child); }
  Tensor tensor(std::string_view name, std::initializer_list<std::int64_t> shape) const {
    return weights_.tensor(name, shape);
  }
  /// `name` as f32 on the host; empty when the checkpoint has none.
  std::vector<float> optional_values(std::string_view name, std::int64_t n) const {
    return has(name) ? ParamStore::values(tensor(name, {n})) : std::vector<float>();
  }
  /// The same for a tensor of any shape.
  std::vector<float> optional_values(std::string_view name) const {
    const std::optional<Tensor> found = weights_.find_flat(name);
    return found ? ParamStore::values(*found) : std::vector<float>();
  }
  /// "model.layers.3.self_attn".
  const std::string& path() const { return weights_.path(); }
  ParamStore& store() const { return *store_; }
  /// How many positions rotary tables must serve.
  std::int64_t n_positions() const { return n_positions_; }

 private:
  Weights weights_;
  ParamStore* store_;
  std::int64_t n_positions_;
};

}  // namespace spate
