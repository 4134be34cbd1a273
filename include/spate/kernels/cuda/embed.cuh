// Rows of the embedding table for the step's tokens, as f32. A token that the step before has
// sampled is read from where that step left it.
#pragma once
#include "spate/kernels/cuda/row_values.cuh"
#include "spate/kernels/cuda/step_tables.h"

namespace spate::cuda {

struct EmbedParams {
  const void* table = nullptr;          // [vocab, hidden]
  RowType table_type = RowType::kBF16;  // or kF16, kF32
  std::int64_t vocab = 0;
  int hidden = 0;
  StepTables tables;
  float* out = nullptr;         // [rows, hidden]; zeros for padding and for ids out of range
  std::int64_t out_stride = 0;  // elements
  std::int64_t rows = 0;
  bool dependent_launch = false;
};

__device__ __forceinline__ std::int32_t token_of_row(const StepTables& tables, std::int64_t row) {
  if (tables.positions != nullptr && tables.positions[row] < 0) return -1;
  const std::int32_t id = tables.token_ids[row];
  return id < 0 ? tables.sampled[-1 - id] : id;
}

template <class T, bool kVector>
__global__ void __launch_bounds__(256) embed_kernel(const __grid_constant__ EmbedParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t row = blockIdx.x;
  const int at = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kChunk;
  if (at >= p.hidden) return;
  const std::int32_t id = token_of_row(p.tables, row);
  float v[kChunk] = {};
  if (id >= 0 && id < p.vocab) {
    load_chunk<kVector>(static_cast<const T*>(p.table) + std::int64_t{id} * p.hidden, at, p.hidden,
                        v);
  }
  store_chunk<kVector>(p.out + row * p.out_stride, RowType::kF32, at, p.hidden, v);
}

template <class T>
cudaError_t launch_embed_of(const EmbedParams& p, cudaStream_t stream) {
  const bool vector =
      p.hidden % kChunk == 0 && is_aligned(p.table, 0) && is_aligned(p.out, p.out_stride * 4);
  const std::int64_t chunks = (p.hidden + kChunk - 1) / kChunk;
  const int threads = row_threads(chunks, 1, 256);
  const LaunchShape shape{dim3(static_cast<unsigned>(p.rows), row_blocks(chunks, threads)), threads,
                          p.dependent_launch};
  return vector ? launch_kernel(embed_kernel<T, true>, p, shape, stream)
                : launch_kernel(embed_kernel<T, false>, p, shape, stream);
}

inline cudaError_t launch_embed(const EmbedParams& p, cudaStream_t stream) {
  if (p.rows == 0 || p.hidden == 0) return cudaSuccess;
  if (p.table_type == RowType::kBF16) return launch_embed_of<__nv_bfloat16>(p, stream);
  if (p.table_type == RowType::kF16) return launch_embed_of<__half>(p, stream);
  if (p.table_type == RowType::kF32) return launch_embed_of<float>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace spate::cuda
