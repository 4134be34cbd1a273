// Host side of tensor copies: descriptors of strided rank-4 views for boxes of 64 columns with the
// 128-byte swizzle. The driver's encoder is looked up through the runtime, so nothing links
// libcuda.
#pragma once
#include <cstdint>

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace spate::cuda {

// Dimension 0 is contiguous; sizes, strides (of dimensions 1 to 3) and box are in elements. Reads
// outside give zeros, writes outside are dropped.
struct TensorView {
  const void* data = nullptr;
  std::int64_t size[4] = {1, 1, 1, 1};
  std::int64_t stride[3] = {0, 0, 0};
  int box[4] = {64, 1, 1, 1};
  CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
};

template <class T>
inline constexpr CUtensorMapDataType kTensorMapType = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
template <>
inline constexpr CUtensorMapDataType kTensorMapType<__half> = CU_TENSOR_MAP_DATA_TYPE_FLOAT16;

// cudaErrorInvalidValue: the view breaks a rule of the hardware (base and strides are multiples of
// 16 bytes, box sides at most 256).
template <class T>
cudaError_t encode_tensor_map(CUtensorMap* map, const TensorView& view) {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return error;
  if (found != cudaDriverEntryPointSuccess) return cudaErrorNotSupported;
  cuuint64_t size[4], stride[3];
  cuuint32_t box[4];
  const cuuint32_t element_stride[4] = {1, 1, 1, 1};
  for (int i = 0; i < 4; ++i) {
    size[i] = static_cast<cuuint64_t>(view.size[i]);
    box[i] = static_cast<cuuint32_t>(view.box[i]);
    if (i > 0) stride[i - 1] = static_cast<cuuint64_t>(view.stride[i - 1]) * sizeof(T);
  }
  const CUresult result = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry)(
      map, kTensorMapType<T>, 4, const_cast<void*>(view.data), size, stride, box, element_stride,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, view.promotion,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace spate::cuda
