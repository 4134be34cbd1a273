// Host side that both kernels of the chain product share: their maps of W and x.
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

}  // namespace spate::cuda
