// Host side that both kernels of the chain product share: their maps of W and x, and the launch.
#pragma once
#include <cstdint>

#include <cuda_runtime.h>

#include "spate/kernels/cuda/gemm_chain_params.cuh"
#include "spate/kernels/cuda/tensor_map.cuh"

namespace spate::cuda {

// [chunks of k][rows][64 k], so that one copy brings rows x chunks.
struct ChainMap {
  const void* data;
  std::int64_t rows, stride, k;
  int box_rows, box_chunks;
};
inline cudaError_t encode_chain_map(CUtensorMap* map, const ChainMap& m) {
  TensorView view;
  view.data = m.data;
  view.size[0] = kChainChunk;
  view.size[1] = m.rows;
  view.size[2] = m.k / kChainChunk;
  view.stride[0] = m.stride;
  view.stride[1] = kChainChunk;
  view.stride[2] = m.rows * m.stride;
  view.box[0] = kChainChunk;
  view.box[1] = m.box_rows;
  view.box[2] = m.box_chunks;
  view.promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_128B;  // 256 bytes cost 2 % of the bandwidth
  return encode_tensor_map<__nv_bfloat16>(map, view);   // f16 is copied alike
}

struct ChainLaunch {
  int blocks, threads, shared_bytes;
  bool dependent;
};
template <class Arguments>
cudaError_t launch_chain(void (*kernel)(Arguments), const ChainLaunch& l, cudaStream_t stream,
                         const Arguments& arguments) {
  if (const auto e =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, l.shared_bytes);
      e != cudaSuccess) {
    return e;
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t launch{};
  launch.gridDim = dim3(static_cast<unsigned>(l.blocks));
  launch.blockDim = dim3(static_cast<unsigned>(l.threads));
  launch.dynamicSmemBytes = static_cast<std::size_t>(l.shared_bytes);
  launch.stream = stream;
  launch.attrs = &attribute;
  launch.numAttrs = l.dependent ? 1 : 0;
  return cudaLaunchKernelEx(&launch, kernel, arguments);
}

}  // namespace spate::cuda
