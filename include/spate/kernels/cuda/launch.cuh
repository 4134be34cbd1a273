// Launching a kernel that takes its parameters as one struct.
#pragma once
#include <algorithm>
#include <cstddef>

#include <cuda_runtime.h>

namespace spate::cuda {

struct LaunchShape {
  dim3 grid;
  int threads = 0;
  bool dependent = false;  // programmatic stream serialization
  int cluster = 1;         // blocks along x
  int shared_bytes = 0;
  int most_shared_bytes = 0;  // of all launches of the kernel, where they differ
};

template <class P>
cudaError_t launch_kernel(void (*kernel)(P), const P& params, const LaunchShape& shape,
                          cudaStream_t stream) {
  if (shape.grid.x == 0 || shape.grid.y == 0) return cudaSuccess;
  constexpr int kUnasked = 48 << 10;  // shared memory that every kernel may have
  const int most = std::max(shape.shared_bytes, shape.most_shared_bytes);
  if (most > kUnasked) {
    if (const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
        error != cudaSuccess) {
      return error;
    }
  }
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shape.shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  if (shape.dependent) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs].val.clusterDim.x = static_cast<unsigned>(shape.cluster);
    attributes[config.numAttrs].val.clusterDim.y = 1;
    attributes[config.numAttrs++].val.clusterDim.z = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, params);
}

}  // namespace spate::cuda
