// The operators of a model's shapes alone: every matrix at several numbers of rows, attention at
// several depths. Weights and cache rotate over more memory than caches hold, as in a model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "device/device.h"
#include "models/params.h"
#include "spate/result.h"
#include "weights/hf_config.h"

namespace spate::bench {

struct KernelOptions {
  DecoderShape shape{};
  ParamOptions params{};        // on a GPU with its arithmetic
  DType stored = DType::kBF16;  // of the weights in the checkpoint
  DType kv_dtype = DType::kBF16;
  double case_seconds = 0.1;
};

struct KernelResult {
  std::string name{};    // the operator
  std::string shape{};   // of its rows
  OpCost cost{};         // of one call
  double seconds = 0.0;  // median
};

/// Measures all cases; `between` is called before each operator (to sample the ceilings).
Result<std::vector<KernelResult>> measure_kernels(Device& device, const KernelOptions& options,
                                                  const std::function<void()>& between);

/// The same on a GPU, from recorded launches (gpu_kernels.cu).
Result<std::vector<KernelResult>> measure_gpu_kernels(Device& device, const KernelOptions& options,
                                                      const std::function<void()>& between);

}  // namespace spate::bench
