#include "bench/kernels.h"

namespace spate::bench {

Result<std::vector<KernelResult>> measure_gpu_kernels(Device& /*device*/,
                                                      const KernelOptions& /*options*/,
                                                      const std::function<void()>& /*between*/) {
  return Error{ErrorCode::kUnsupported, "this program was built without CUDA"};
}

}  // namespace spate::bench
