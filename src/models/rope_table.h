// Cosines and sines of rotary positions, computed as far as they are needed: a table for a context
// of 128k tokens would cost a second at start.
#pragma once

#include <cstdint>
#include <vector>

#include "device/buffer.h"
#include "device/gpu.h"
#include "ops/linear.h"
#include "weights/hf_config.h"

namespace spate {

/// Thread rule: `ensure` is called by the engine's thread before a step.
class RopeTable {
 public:
  /// Throws LoadError when the address space cannot be reserved.
  RopeTable(const RopeConfig& config, std::int64_t head_dim, std::int64_t n_positions,
            Gpu* gpu = nullptr);

  /// Makes positions 0 .. n - 1 available.
  void ensure(std::int64_t n);
  ops::RopeTable view() const;
  /// On the device, all positions.
  std::int64_t n_bytes() const { return table_.n_bytes(); }
  bool serves(const RopeConfig& config, std::int64_t head_dim) const {
    return config == config_ && head_dim == head_dim_;
  }

 private:
  RopeConfig config_;
  std::int64_t head_dim_;
  std::int64_t n_positions_;
  std::int64_t ready_ = 0;
  std::vector<float> inverse_frequencies_;
  float scale_ = 1.0F;
  Buffer table_;  // on the host
  Gpu* gpu_;
  Buffer on_gpu_;  // a copy, if there is a GPU
};

}  // namespace spate
