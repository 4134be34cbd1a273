// Without CUDA no GPU can be opened, so nobody comes here.
#include "core/check.h"
#include "engine/gpu_weights.h"

namespace spate {

std::int64_t GpuWeights::bytes(ParamStore& /*params*/) { return 0; }

std::int64_t GpuWeights::transfer_bytes(bool /*dummy*/) { return 0; }

Result<std::unique_ptr<GpuWeights>> GpuWeights::load(ParamStore& /*params*/, Device& /*device*/,
                                                     bool /*dummy*/) {
  return Error{ErrorCode::kUnsupported, "this program was built without CUDA"};
}

}  // namespace spate
