#include "bench/gpu_probe.h"

namespace spate::bench {

struct GpuProbe::State {};

Result<std::unique_ptr<GpuProbe>> GpuProbe::create(Device& /*device*/) {
  return Error{ErrorCode::kUnsupported, "this program was built without CUDA"};
}
GpuProbe::GpuProbe(std::unique_ptr<State> state) : state_(std::move(state)) {}
GpuProbe::~GpuProbe() = default;
GpuBurst GpuProbe::sample(double /*seconds_each*/) { return {}; }

}  // namespace spate::bench
