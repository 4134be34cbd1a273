// From checkpoint tensors to what blocks compute with: matrices in their arithmetic format, small
// vectors in f32, rotary tables. ParamStore owns all of it; blocks keep pointers.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "device/device.h"
#include "models/rope_table.h"
#include "quant/matrix.h"
#include "weights/hf_config.h"
#include "weights/weights.h"

namespace spate {

/// How float weights are kept for multiplication.
enum class ComputeDType : std::uint8_t { kF32, kBF16 };

struct ParamOptions {
  ComputeDType compute = ComputeDType::kBF16;
  /// kQ8 or kQ4: quantize linear maps while loading; absent: keep the checkpoint's values.
  std::optional<WeightFormat> quantize = std::nullopt;
};

/// Owns what a model's blocks point to. Lives as long as the model.
class ParamStore {
 public:
  explicit ParamStore(const ParamOptions& options) : options_(options) {}
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;
  ~ParamStore() = default;

  /// The output head stays at 8 bits where linear maps have 4: it decides every token and is read
  /// once a step.
  enum class Use : std::uint8_t { kLinear, kHead };
  Matrix& matrix(DType stored, std::int64_t k, std::vector<PanelSource> sources, Use use);
  /// A copy in f32.
  const float* vector(Tensor t);
  RopeTable& rope(const RopeConfig& config, std::int64_t head_dim, std::int64_t n_positions);

  std::deque<Matrix>& matrices() { return matrices_; }
  std::deque<RopeTable>& ropes() { return ropes_; }
  /// Bytes of all matrices as packed.
  std::int64_t matrix_bytes() const;

 private:
  WeightFormat format_of(DType stored, Use use) const;

  ParamOptions options_;
  std::deque<Matrix> matrices_;  // stable addresses
  std::deque<std::vector<float>> vectors_;
  std::deque<RopeTable> ropes_;
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
  /// `name` as f32, or null when the checkpoint has none.
  const float* optional_vector(std::string_view name, std::int64_t n) const {
    return has(name) ? store_->vector(tensor(name, {n})) : nullptr;
  }
  ParamStore& store() const { return *store_; }
  /// How many positions rotary tables must serve.
  std::int64_t n_positions() const { return n_positions_; }

 private:
  Weights weights_;
  ParamStore* store_;
  std::int64_t n_positions_;
};

}  // namespace spate
