// From a model folder to a model that can run: config, checkpoint, parameters, architecture.
#pragma once

#include <memory>
#include <string>

#include "device/device.h"
#include "models/language_model.h"
#include "models/params.h"
#include "spate/engine.h"
#include "spate/result.h"
#include "weights/checkpoint.h"
#include "weights/generation_config.h"
#include "weights/hf_config.h"

namespace spate {

/// A loaded model and everything that it borrows from, in order of destruction.
struct LoadedModel {
  std::string path{};
  HfConfig config;
  GenerationConfig generation;
  Checkpoint checkpoint;
  std::unique_ptr<ParamStore> params;
  ModelPtr model;
  std::int64_t n_parameters = 0;
  std::int64_t context_length = 0;
};

/// What of EngineOptions concerns the weights, checked (engine/options.h).
struct LoadOptions {
  std::string path{};
  ParamOptions params{};
  bool dummy = false;
  std::int64_t context_length = 0;  // 0: the model's
};

/// What a GPU computes in: what the options say, else f16 for a checkpoint in f16, else bf16.
ComputeDType gpu_compute(const ParamOptions& params, const HfConfig& config);

/// Maps the files and builds the model for `device`; nothing is packed or moved there yet. Errors
/// name file, key or tensor.
Result<LoadedModel> load_model(const LoadOptions& options, Device& device);

/// Gives the matrices their panels. Quantized ones must be packed before the first step; float ones
/// run from the mapped file until `pack_some` has come to them, with the same bits.
class Packer {
 public:
  /// Reserves the panels' memory.
  static Result<Packer> create(ParamStore& params);

  /// Packs every matrix that cannot run unpacked.
  void pack_required(Device& device);
  /// Packs in layer order for about `seconds`; true when nothing is left.
  bool pack_some(Device& device, double seconds);

 private:
  explicit Packer(ParamStore& params) : params_(&params) {}
  static void pack(Device& device, Matrix& matrix);

  ParamStore* params_;
  Buffer storage_;
  std::size_t next_ = 0;
};

}  // namespace spate
