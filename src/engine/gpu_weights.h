// GpuWeights: a model's matrices and tables in GPU memory. Streams them there from the mapped
// checkpoint through page-locked buffers, converting or quantizing on the way.
#pragma once

#include <cstdint>
#include <memory>

#include "device/buffer.h"
#include "device/device.h"
#include "models/params.h"

namespace spate {

class GpuWeights {
 public:
  /// What `load` will take. A table that is also a matrix (tied embeddings) counts once.
  static std::int64_t bytes(ParamStore& params);
  /// Besides, until it is done, on the GPU and as much page-locked; nothing when `dummy`.
  static std::int64_t transfer_bytes(bool dummy);

  /// Moves everything; afterwards the matrices and tables of `params` are on the GPU and the
  /// checkpoint is not needed. Random numbers are made there when `dummy`.
  static Result<std::unique_ptr<GpuWeights>> load(ParamStore& params, Device& device, bool dummy);

 private:
  explicit GpuWeights(Buffer memory) : memory_(std::move(memory)) {}
  Buffer memory_;
};

}  // namespace spate
