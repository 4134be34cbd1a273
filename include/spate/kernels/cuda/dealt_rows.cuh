// The order in which the widening product (gemm_widen.cuh) takes its rows. The matrix instruction
// wants pairs of k from a lane, quantized weights lie in eights of it (gemm_quant_layout.cuh); so
// the kernels that write the product's rows deal each group of 32 values out to match.
#pragma once
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

inline constexpr int kDealtGroup = 32;

// Where value i of a group lies: pair j of eight values `t` becomes pair t of the eight values j.
__host__ __device__ constexpr int dealt_place(int i) { return i / 2 % 4 * 8 + i / 8 * 2 + i % 2; }

// Values at .. at + 7 of a bf16 row of whole groups.
__device__ __forceinline__ void store_dealt(void* row, int at, const float (&v)[kChunk]) {
  auto* pairs = static_cast<std::uint32_t*>(row) +
                (at / kDealtGroup * kDealtGroup + dealt_place(at % kDealtGroup)) / 2;
#pragma unroll
  for (int j = 0; j < kChunk / 2; j++) pairs[j * 4] = pack_bf16(v[2 * j], v[2 * j + 1]);
}

}  // namespace spate::cuda
