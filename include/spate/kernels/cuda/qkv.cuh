// The end of a projection to queries, keys and values: bias, a norm of each head, rotation; then
// the scaled query, or an append to the cache (kv_image.h) at the row's place. Memory-bound. A
// group of lanes makes a head, eight values each, so that a rotation is an exchange between two
// lanes; heads and rotations of odd sizes go through shared memory.
#pragma once
#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/row_values.cuh"
#include "spate/kernels/cuda/step_tables.h"

namespace spate::cuda {

struct FinishQkvParams {
  const void* sums = nullptr;          // [rows, (q_heads + 2 kv_heads) * head_dim]
  RowType sums_type = RowType::kBF16;  // or kF32
  std::int64_t sums_stride = 0;        // elements
  const float* bias = nullptr;         // of the columns of sums; null: none
  int q_heads = 1, kv_heads = 1, head_dim = 128;

  const float* query_norm = nullptr;  // [head_dim]: RMSNorm before the rotation; null: none
  const float* key_norm = nullptr;
  float norm_eps = 0;
  const float* rope =
      nullptr;         // [positions][rotary_dim]: cos of each pair (i, i + rotary_dim / 2),
  int rotary_dim = 0;  // then sin; even, up to head_dim; 0: no rotation
  float query_scale = 1;

  void* queries = nullptr;                // [rows, q_heads, head_dim]; zeros for padding
  RowType queries_type = RowType::kBF16;  // or kF32
  std::int64_t queries_stride = 0;        // elements, of a row

  void* cache = nullptr;                // of this layer: its first block's first head
  std::int64_t block_stride = 0;        // bytes
  std::int64_t head_stride = 0;         // bytes; K rows, then V rows: kv_block_bytes
  RowType cache_type = RowType::kBF16;  // or kF32, kE4M3
  const float* k_scale = nullptr;       // kE4M3: [kv_heads], x / scale is stored; null: ones
  const float* v_scale = nullptr;

  StepTables tables;
  std::int64_t rows = 0;
  bool dependent_launch = false;
};

inline constexpr int kLongestHead = 1024;

enum class HeadRole { kQuery, kKey, kValue };

// A head of a row: where it comes from and goes to.
struct HeadPlace {
  HeadRole role;
  int head;    // among those of its role
  int column;  // its first in sums
  std::int32_t position;
  const float* norm;  // null: none
};

__device__ __forceinline__ HeadPlace head_place(const FinishQkvParams& p, std::int64_t row,
                                                int head) {
  const std::int32_t position = p.tables.positions[row];
  const int column = head * p.head_dim;
  if (head < p.q_heads) return {HeadRole::kQuery, head, column, position, p.query_norm};
  head -= p.q_heads;
  if (head < p.kv_heads) return {HeadRole::kKey, head, column, position, p.key_norm};
  return {HeadRole::kValue, head - p.kv_heads, column, position, nullptr};
}

// Where a key or value goes: its half of the block's image, and the token in it.
struct CacheRow {
  std::uint8_t* half;
  std::uint32_t token, row_bytes;
  __device__ __forceinline__ std::uint8_t* at(int byte) const {
    return half + kv_offset(token, static_cast<std::uint32_t>(byte) / 16, row_bytes) + byte % 16;
  }
};

__device__ __forceinline__ CacheRow cache_row(const FinishQkvParams& p, std::int64_t row,
                                              const HeadPlace& place) {
  const std::int32_t first = p.tables.table_begin[p.tables.sequence[row]];
  const std::int64_t block = p.tables.block_table[first + place.position / kStepBlockTokens];
  const std::uint32_t row_bytes = kv_row_bytes(p.head_dim, row_type_bytes(p.cache_type));
  auto* half =
      static_cast<std::uint8_t*>(p.cache) + block * p.block_stride + place.head * p.head_stride;
  if (place.role == HeadRole::kValue) half += std::int64_t{kStepBlockTokens} * row_bytes;
  return {half, static_cast<std::uint32_t>(place.position % kStepBlockTokens), row_bytes};
}

// What stored values are divided by. A cache of another type (INT8) has its case here and in the
// two places that store.
__device__ __forceinline__ float cache_scale(const FinishQkvParams& p, const HeadPlace& place) {
  const float* scales = place.role == HeadRole::kKey ? p.k_scale : p.v_scale;
  return p.cache_type == RowType::kE4M3 && scales != nullptr ? scales[place.head] : 1.f;
}

// ---- heads of whole chunks: lane c of a group has values 8 c .. 8 c + 7

__device__ __forceinline__ void normalize_head(const float* weight, float eps, int dim, int lanes,
                                               float (&v)[kChunk]) {
  float squares = 0;
#pragma unroll
  for (int e = 0; e < kChunk; e++) squares += v[e] * v[e];
  for (int step = lanes / 2; step > 0; step /= 2) {
    squares += __shfl_xor_sync(~0u, squares, step);
  }
  if (weight == nullptr) return;
  const float inverse = 1.f / sqrtf(squares / static_cast<float>(dim) + eps);
  const int at = static_cast<int>(threadIdx.x) % lanes * kChunk;
  if (at >= dim) return;
  float w[kChunk];
  load_vector(weight + at, w);
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] = v[e] * inverse * w[e];
}

// All lanes of the warp take part; heads that are not rotated have `table` null.
__device__ __forceinline__ void rotate_head(const float* table, int rotary, int lanes,
                                            float (&v)[kChunk]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, chunk = lane % lanes,
            half = rotary / 2 / kChunk;
  const bool rotated = table != nullptr && chunk < 2 * half, upper = chunk >= half;
  const int partner = !rotated ? lane : upper ? lane - half : lane + half;
  float other[kChunk];
#pragma unroll
  for (int e = 0; e < kChunk; e++) other[e] = __shfl_sync(~0u, v[e], partner);
  if (!rotated) return;
  float cosine[kChunk], sine[kChunk];
  const int pair = (upper ? chunk - half : chunk) * kChunk;
  load_vector(table + pair, cosine);
  load_vector(table + rotary / 2 + pair, sine);
#pragma unroll
  for (int e = 0; e < kChunk; e++) {
    v[e] = upper ? v[e] * cosine[e] + other[e] * sine[e] : v[e] * cosine[e] - other[e] * sine[e];
  }
}

__device__ __forceinline__ void store_query_chunk(const FinishQkvParams& p, std::int64_t row,
                                                  const HeadPlace& place, int at,
                                                  float (&v)[kChunk]) {
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] = place.position < 0 ? 0.f : v[e] * p.query_scale;
  auto* to = static_cast<std::uint8_t*>(p.queries) +
             (row * p.queries_stride + place.head * p.head_dim) * row_type_bytes(p.queries_type);
  store_chunk<true>(to, p.queries_type, at, p.head_dim, v);
}

__device__ __forceinline__ void append_chunk(const FinishQkvParams& p, std::int64_t row,
                                             const HeadPlace& place, int at, float (&v)[kChunk]) {
  if (place.position < 0) return;
  const CacheRow to = cache_row(p, row, place);
  if (p.cache_type == RowType::kBF16) {
    store_vector(to.at(at * 2), RowType::kBF16, v);
  } else if (p.cache_type == RowType::kF32) {
    *reinterpret_cast<float4*>(to.at(at * 4)) = make_float4(v[0], v[1], v[2], v[3]);
    *reinterpret_cast<float4*>(to.at(at * 4 + 16)) = make_float4(v[4], v[5], v[6], v[7]);
  } else {
    const float scale = cache_scale(p, place);
#pragma unroll
    for (int e = 0; e < kChunk; e++) v[e] = v[e] / scale;
    store_vector(to.at(at), RowType::kE4M3, v);
  }
}

// blockIdx.x: row; blockIdx.y and groups of `lanes` threads: heads.
template <class T>
__device__ __forceinline__ void finish_chunks(const FinishQkvParams& p, int lanes) {
  const std::int64_t row = blockIdx.x;
  const int heads = p.q_heads + 2 * p.kv_heads;
  const int head = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) / lanes;
  const int at = static_cast<int>(threadIdx.x) % lanes * kChunk;
  const bool active = head < heads && at < p.head_dim;
  const HeadPlace place = head_place(p, row, head < heads ? head : 0);
  float v[kChunk] = {};
  if (active) {
    const int column = place.column + at;
    load_vector(static_cast<const T*>(p.sums) + row * p.sums_stride + column, v);
    if (p.bias != nullptr) {
      float bias[kChunk];
      load_vector(p.bias + column, bias);
#pragma unroll
      for (int e = 0; e < kChunk; e++) v[e] += bias[e];
    }
  }
  normalize_head(place.norm, p.norm_eps, p.head_dim, lanes, v);
  if (p.rotary_dim > 0) {
    const bool rotated = active && place.role != HeadRole::kValue && place.position >= 0;
    rotate_head(rotated ? p.rope + std::int64_t{place.position} * p.rotary_dim : nullptr,
                p.rotary_dim, lanes, v);
  }
  if (!active) return;
  if (place.role == HeadRole::kQuery) {
    store_query_chunk(p, row, place, at, v);
  } else {
    append_chunk(p, row, place, at, v);
  }
}

// ---- heads of any size: a warp a head, its values in shared memory

__device__ __forceinline__ void store_head(const FinishQkvParams& p, std::int64_t row,
                                           const HeadPlace& place, int d, float x) {
  if (place.role == HeadRole::kQuery) {
    const std::int64_t at = row * p.queries_stride + place.head * p.head_dim + d;
    store_value(static_cast<std::uint8_t*>(p.queries) + at * row_type_bytes(p.queries_type),
                p.queries_type, place.position < 0 ? 0.f : x * p.query_scale);
  } else if (place.position >= 0) {
    store_value(cache_row(p, row, place).at(d * row_type_bytes(p.cache_type)), p.cache_type,
                x / cache_scale(p, place));
  }
}

__device__ __forceinline__ float rotated_value(const float* v, const float* table, int rotary,
                                               int d) {
  const int half = rotary / 2;
  if (d >= rotary) return v[d];
  const int pair = d < half ? d : d - half;
  const float cosine = table[pair], sine = table[half + pair];
  return d < half ? v[d] * cosine - v[d + half] * sine : v[d] * cosine + v[d - half] * sine;
}

template <class T>
__device__ __forceinline__ void finish_values(const FinishQkvParams& p, float* v) {
  const std::int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y);
  const HeadPlace place = head_place(p, row, head);
  float squares = 0;
  for (int d = static_cast<int>(threadIdx.x); d < p.head_dim; d += 32) {
    const int column = place.column + d;
    float x = widen(static_cast<const T*>(p.sums)[row * p.sums_stride + column]);
    if (p.bias != nullptr) x += p.bias[column];
    v[d] = x;
    squares += x * x;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
  if (place.norm != nullptr) {
    const float inverse = 1.f / sqrtf(squares / static_cast<float>(p.head_dim) + p.norm_eps);
    for (int d = static_cast<int>(threadIdx.x); d < p.head_dim; d += 32) {
      v[d] = v[d] * inverse * place.norm[d];
    }
  }
  __syncwarp();
  const bool rotated = place.role != HeadRole::kValue && place.position >= 0;
  const float* table = p.rope + std::int64_t{place.position} * p.rotary_dim;
  for (int d = static_cast<int>(threadIdx.x); d < p.head_dim; d += 32) {
    store_head(p, row, place, d, rotated ? rotated_value(v, table, p.rotary_dim, d) : v[d]);
  }
}

// kLanes: of a group; 0: heads of any size.
template <class T, int kLanes>
__global__ void __launch_bounds__(256)
    finish_qkv_kernel(const __grid_constant__ FinishQkvParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  if constexpr (kLanes > 0) {
    finish_chunks<T>(p, kLanes);
  } else {
    __shared__ float head[kLongestHead];
    finish_values<T>(p, head);
  }
}

inline bool finishes_chunks(const FinishQkvParams& p) {
  const bool sums_aligned = is_aligned(p.sums, p.sums_stride * row_type_bytes(p.sums_type));
  const bool out_aligned = is_aligned(p.queries, p.queries_stride * row_type_bytes(p.queries_type));
  return p.head_dim % kChunk == 0 && p.head_dim <= 32 * kChunk &&
         p.rotary_dim % (2 * kChunk) == 0 && sums_aligned && out_aligned && is_aligned(p.bias, 0) &&
         is_aligned(p.rope, 0) && is_aligned(p.query_norm, 0) && is_aligned(p.key_norm, 0);
}

template <class T>
cudaError_t launch_finish_qkv_of(const FinishQkvParams& p, cudaStream_t stream) {
  const int heads = p.q_heads + 2 * p.kv_heads;
  const auto rows = static_cast<unsigned>(p.rows);
  if (!finishes_chunks(p)) {
    const LaunchShape shape{dim3(rows, static_cast<unsigned>(heads)), 32, p.dependent_launch};
    return launch_rows(finish_qkv_kernel<T, 0>, p, shape, stream);
  }
  const int lanes = p.head_dim <= 64 ? 8 : p.head_dim <= 128 ? 16 : 32;
  const int threads = heads * lanes < 256 ? (heads * lanes + 31) / 32 * 32 : 256;
  const LaunchShape shape{dim3(rows, row_blocks(heads * lanes, threads)), threads,
                          p.dependent_launch};
  if (lanes == 8) return launch_rows(finish_qkv_kernel<T, 8>, p, shape, stream);
  if (lanes == 16) return launch_rows(finish_qkv_kernel<T, 16>, p, shape, stream);
  return launch_rows(finish_qkv_kernel<T, 32>, p, shape, stream);
}

inline cudaError_t launch_finish_qkv(const FinishQkvParams& p, cudaStream_t stream) {
  const bool rotary_fits = p.rotary_dim % 2 == 0 && p.rotary_dim <= p.head_dim;
  if (p.head_dim < 1 || p.head_dim > kLongestHead || !rotary_fits) return cudaErrorInvalidValue;
  if (p.cache_type == RowType::kF16) return cudaErrorInvalidValue;
  if (!is_aligned(p.cache, p.block_stride | p.head_stride)) return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  if (p.sums_type == RowType::kF32) return launch_finish_qkv_of<float>(p, stream);
  if (p.sums_type == RowType::kBF16) return launch_finish_qkv_of<__nv_bfloat16>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace spate::cuda
