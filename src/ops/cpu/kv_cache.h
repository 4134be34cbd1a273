// The cache's layout on the CPU, from what operators know of a layer.
#pragma once

#include "ops/kv_view.h"
#include "spate/kernels/cpu/kv_layout.h"

namespace spate::ops::cpu {

static_assert(kKvBlockTokens == kernels::cpu::kKvTokens);

/// The dtypes that a cache can have are f32, f16, bf16 and i8.
constexpr kernels::cpu::KvFormat kv_format(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kernels::cpu::KvFormat::kF32;
    case DType::kF16:
      return kernels::cpu::KvFormat::kF16;
    case DType::kI8:
      return kernels::cpu::KvFormat::kInt8;
    default:
      return kernels::cpu::KvFormat::kBF16;
  }
}

/// head_bytes() of the result is KvLayer::head_bytes.
constexpr kernels::cpu::KvLayout kv_layout(DType dtype, std::int64_t head_dim) {
  return {kv_format(dtype), head_dim};
}
constexpr kernels::cpu::KvLayout kv_layout(const KvLayer& layer) {
  return kv_layout(layer.dtype, layer.head_dim);
}

/// The type of the queries: project_qkv writes what attention reads.
constexpr DType query_dtype(DType cache) {
  return cache == DType::kF32 || cache == DType::kF16 ? DType::kF32 : DType::kBF16;
}

/// Keys and values of one head in block `number`.
inline std::byte* kv_block(const KvLayer& layer, std::int64_t number, std::int64_t head) {
  return layer.base + number * layer.block_stride + head * layer.head_bytes;
}

}  // namespace spate::ops::cpu
