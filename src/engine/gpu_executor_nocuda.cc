// Without CUDA no GPU can be opened, so nobody comes here.
#include "engine/gpu_executor.h"

namespace spate {

std::int64_t gpu_workspace_bytes(const DecoderShape& /*shape*/, const GpuLimits& /*limits*/,
                                 ComputeDType /*compute*/) {
  return 0;
}

GpuTables gpu_table_bytes(const DecoderShape& /*shape*/, const GpuLimits& /*limits*/,
                          DType /*kv_dtype*/) {
  return {};
}

Result<std::unique_ptr<Executor>> make_gpu_executor(GpuParts /*parts*/,
                                                    const DecoderShape& /*shape*/) {
  return Error{ErrorCode::kUnsupported, "this program was built without CUDA"};
}

}  // namespace spate
