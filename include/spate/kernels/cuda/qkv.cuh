// The end of a projection to queries, keys and values: bias, a norm of each head, rotation; then
// the scaled query, or an append to the cache (kv_image.h) at the row's place. Memory-bound. A
// group of lanes makes a head, eight values each, so that a rotation is an exchange between two
// lanes; heads and rotations of odd sizes go through shared memory.
#pragma once
#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/kv_quantize.cuh"
#include "spate/kernels/cuda/row_values.cuh"
#include "spate/kernels/cuda/step_tables.h"

namespace spate::cuda {

struct FinishQkvParams {
  const void* sums = nullptr;          // [rows, (q_heads + 2 kv_heads) * head_dim]
  RowType sums_type = RowType::kBF16;  // or kF16, kF32
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
  RowType queries_type = RowType::kBF16;  // or kF16, kF32
  std::int64_t queries_stride = 0;        // elements, of a row

  void* cache = nullptr;                // of this layer: its first block's first head
  std::int64_t block_stride = 0;        // bytes
  std::int64_t head_stride = 0;         // bytes; K rows, then V rows: kv_block_bytes
  RowType cache_type = RowType::kBF16;  // or any other; kI8 with a scale for each token and head
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
  bool value;
  __device__ __forceinline__ std::uint8_t* at(int byte) const {
    return half + kv_offset(token, static_cast<std::uint32_t>(byte) / 16, row_bytes) + byte % 16;
  }
  __device__ __forceinline__ __half* scale() const {
    const std::int64_t before = value ? std::int64_t{kStepBlockTokens} * row_bytes : 0;
    return reinterpret_cast<__half*>(
        half - before +
        kv_scale_offset(static_cast<int>(token), value, kStepBlockTokens, row_bytes));
  }
};

__device__ __forceinline__ CacheRow cache_row(const FinishQkvParams& p, std::int64_t row,
                                              const HeadPlace& place) {
  const std::int32_t first = p.tables.table_begin[p.tables.sequence[row]];
  const std::int64_t block = p.tables.block_table[first + place.position / kStepBlockTokens];
  const std::uint32_t row_bytes = kv_row_bytes(p.head_dim, row_type_bytes(p.cache_type));
  auto* half =
      static_cast<std::uint8_t*>(p.cache) + block * p.block_stride + place.head * p.head_stride;
  const bool value = place.role == HeadRole::kValue;
  if (value) half += std::int64_t{kStepBlockTokens} * row_bytes;
  return {half, static_cast<std::uint32_t>(place.position % kStepBlockTokens), row_bytes, value};
}

// What values are multiplied with before they are stored as e4m3.
__device__ __forceinline__ float cache_inverse_scale(const FinishQkvParams& p,
                                                     const HeadPlace& place) {
  const float* scales = place.role == HeadRole::kKey ? p.k_scale : p.v_scale;
  return p.cache_type == RowType::kE4M3 && scales != nullptr ? 1.f / scales[place.head] : 1.f;
}

// ---- heads of whole chunks: lane c of a group has values 8 c .. 8 c + 7

// The rotation of a lane's values, the same for all heads of a row.
struct LaneRotation {
  float cosine[kChunk], sine[kChunk];
  bool rotates, upper;  // upper: the second half of its pairs
};

__device__ __forceinline__ LaneRotation load_rotation(const FinishQkvParams& p,
                                                      std::int32_t position, int at) {
  LaneRotation r;
  r.upper = at >= p.rotary_dim / 2;
  r.rotates = at < p.rotary_dim && position >= 0;
#pragma unroll
  for (int e = 0; e < kChunk; e++) r.cosine[e] = 1.f, r.sine[e] = 0.f;
  if (!r.rotates) return r;
  const float* table = p.rope + std::int64_t{position} * p.rotary_dim + at;
  load_vector(r.upper ? table - p.rotary_dim / 2 : table, r.cosine);
  load_vector(r.upper ? table : table + p.rotary_dim / 2, r.sine);
  return r;
}

__device__ __forceinline__ void normalize_head(const FinishQkvParams& p, const HeadPlace& place,
                                               const float (&weight)[kChunk], int lanes,
                                               float (&v)[kChunk]) {
  float squares = 0;
#pragma unroll
  for (int e = 0; e < kChunk; e++) squares += v[e] * v[e];
  for (int step = lanes / 2; step > 0; step /= 2) {
    squares += __shfl_xor_sync(~0u, squares, step);
  }
  if (place.norm == nullptr) return;
  const float inverse = rsqrtf(squares / static_cast<float>(p.head_dim) + p.norm_eps);
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] = v[e] * inverse * weight[e];
}

// All lanes of the warp take part.
__device__ __forceinline__ void rotate_head(const LaneRotation& r, bool rotated, int rotary,
                                            float (&v)[kChunk]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, half = rotary / 2 / kChunk;
  const int partner = !rotated ? lane : r.upper ? lane - half : lane + half;
#pragma unroll
  for (int e = 0; e < kChunk; e++) {
    const float other = __shfl_sync(~0u, v[e], partner);
    const float turned = r.upper ? other * r.sine[e] : -other * r.sine[e];
    if (rotated) v[e] = v[e] * r.cosine[e] + turned;
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

// The scale of a head as int8; all lanes of the group take part.
template <int kLanes>
__device__ __forceinline__ __half head_scale(const float (&v)[kChunk]) {
  float largest = 0;
#pragma unroll
  for (int e = 0; e < kChunk; e++) largest = fmaxf(largest, fabsf(v[e]));
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, step));
  return kv_int8_scale(largest);
}

// `scale`: of an int8 cache, that of the head.
__device__ __forceinline__ void append_chunk(const FinishQkvParams& p, const HeadPlace& place,
                                             const CacheRow& to, int at, __half scale,
                                             float (&v)[kChunk]) {
  if (place.position < 0) return;
  if (p.cache_type == RowType::kI8) {
    *reinterpret_cast<uint2*>(to.at(at)) = kv_int8_pack(v, 1.f / __half2float(scale));
    if (at == 0) *to.scale() = scale;
    return;
  }
  if (row_type_bytes(p.cache_type) == 2) {
    store_vector(to.at(at * 2), p.cache_type, v);
  } else if (p.cache_type == RowType::kF32) {
    *reinterpret_cast<float4*>(to.at(at * 4)) = make_float4(v[0], v[1], v[2], v[3]);
    *reinterpret_cast<float4*>(to.at(at * 4 + 16)) = make_float4(v[4], v[5], v[6], v[7]);
  } else {
    const float inverse = cache_inverse_scale(p, place);
#pragma unroll
    for (int e = 0; e < kChunk; e++) v[e] *= inverse;
    store_vector(to.at(at), RowType::kE4M3, v);
  }
}

template <class T>
__device__ __forceinline__ void load_sums(const FinishQkvParams& p, std::int64_t row, int column,
                                          float (&v)[kChunk]) {
  load_vector(static_cast<const T*>(p.sums) + row * p.sums_stride + column, v);
  if (p.bias == nullptr) return;
  float bias[kChunk];
  load_vector(p.bias + column, bias);
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] += bias[e];
}

// blockIdx.x: row. Groups of `kLanes` threads take the row's heads in turn. What the kernels of the
// step do not write is fetched while the kernel before still runs.
template <class T, int kLanes, bool kNorm>
__device__ __forceinline__ void finish_chunks(const FinishQkvParams& p) {
  const std::int64_t row = blockIdx.x;
  const int heads = p.q_heads + 2 * p.kv_heads, step = static_cast<int>(blockDim.x) / kLanes;
  const int group = static_cast<int>(threadIdx.x) / kLanes;
  const int at = static_cast<int>(threadIdx.x) % kLanes * kChunk;
  const LaneRotation rotation = load_rotation(p, p.tables.positions[row], at);
  for (int first = static_cast<int>(blockIdx.y) * step; first < heads;
       first += static_cast<int>(gridDim.y) * step) {
    const int head = first + group;
    const bool active = head < heads && at < p.head_dim;
    const HeadPlace place = head_place(p, row, head < heads ? head : 0);
    float weight[kChunk];
    if (kNorm && active && place.norm != nullptr) load_vector(place.norm + at, weight);
    CacheRow to = {};
    if (place.role != HeadRole::kQuery && place.position >= 0) to = cache_row(p, row, place);
    grid_dependency_wait();
    float v[kChunk] = {};
    if (active) load_sums<T>(p, row, place.column + at, v);
    if constexpr (kNorm) normalize_head(p, place, weight, kLanes, v);
    if (p.rotary_dim > 0) {
      rotate_head(rotation, rotation.rotates && place.role != HeadRole::kValue, p.rotary_dim, v);
    }
    __half scale{};
    if (p.cache_type == RowType::kI8) scale = head_scale<kLanes>(v);
    if (active && place.role == HeadRole::kQuery) store_query_chunk(p, row, place, at, v);
    if (active && place.role != HeadRole::kQuery) append_chunk(p, place, to, at, scale, v);
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
                x * cache_inverse_scale(p, place));
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

// One warp, one key or value.
template <class Value>
__device__ __forceinline__ void append_int8(const FinishQkvParams& p, std::int64_t row,
                                            const HeadPlace& place, const Value& value) {
  if (place.position < 0) return;
  const int lane = static_cast<int>(threadIdx.x);
  float largest = 0;
  for (int d = lane; d < p.head_dim; d += 32) largest = fmaxf(largest, fabsf(value(d)));
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, step));
  const CacheRow to = cache_row(p, row, place);
  const __half scale = kv_int8_scale(largest);
  for (int d = lane; d < p.head_dim; d += 32)
    *to.at(d) = static_cast<std::uint8_t>(kv_int8(value(d), 1.f / __half2float(scale)));
  if (lane == 0) *to.scale() = scale;
}

template <class T>
__device__ __forceinline__ void finish_values(const FinishQkvParams& p, float* v) {
  grid_dependency_wait();
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
    const float inverse = rsqrtf(squares / static_cast<float>(p.head_dim) + p.norm_eps);
    for (int d = static_cast<int>(threadIdx.x); d < p.head_dim; d += 32) {
      v[d] = v[d] * inverse * place.norm[d];
    }
  }
  __syncwarp();
  const bool rotated = place.role != HeadRole::kValue && place.position >= 0;
  const float* table = p.rope + std::int64_t{place.position} * p.rotary_dim;
  const auto finished = [&](int d) {
    return rotated ? rotated_value(v, table, p.rotary_dim, d) : v[d];
  };
  if (p.cache_type == RowType::kI8 && place.role != HeadRole::kQuery) {
    return append_int8(p, row, place, finished);
  }
  for (int d = static_cast<int>(threadIdx.x); d < p.head_dim; d += 32) {
    store_head(p, row, place, d, finished(d));
  }
}

// kLanes: of a group; 0: heads of any size.
template <class T, int kLanes, bool kNorm>
__global__ void __launch_bounds__(256, 4)
    finish_qkv_kernel(const __grid_constant__ FinishQkvParams p) {
  grid_launch_dependents();
  if constexpr (kLanes > 0) {
    finish_chunks<T, kLanes, kNorm>(p);
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

template <class T, int kLanes>
cudaError_t launch_finish_chunks(const FinishQkvParams& p, cudaStream_t stream) {
  const int lanes = (p.q_heads + 2 * p.kv_heads) * kLanes;
  const int threads = lanes < 256 ? (lanes + 31) / 32 * 32 : 256;
  // Few rows: all heads at once. Many: the rotation is loaded once for all heads of a row.
  const unsigned parts = p.rows <= 264 ? row_blocks(lanes, threads) : 1;
  const LaunchShape shape{dim3(static_cast<unsigned>(p.rows), parts), threads, p.dependent_launch};
  return p.query_norm == nullptr && p.key_norm == nullptr
             ? launch_kernel(finish_qkv_kernel<T, kLanes, false>, p, shape, stream)
             : launch_kernel(finish_qkv_kernel<T, kLanes, true>, p, shape, stream);
}

template <class T>
cudaError_t launch_finish_qkv_of(const FinishQkvParams& p, cudaStream_t stream) {
  if (!finishes_chunks(p)) {
    const LaunchShape shape{
        dim3(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.q_heads + 2 * p.kv_heads)), 32,
        p.dependent_launch};
    return launch_kernel(finish_qkv_kernel<T, 0, true>, p, shape, stream);
  }
  if (p.head_dim <= 64) return launch_finish_chunks<T, 8>(p, stream);
  if (p.head_dim <= 128) return launch_finish_chunks<T, 16>(p, stream);
  return launch_finish_chunks<T, 32>(p, stream);
}

inline cudaError_t launch_finish_qkv(const FinishQkvParams& p, cudaStream_t stream) {
  const bool rotary_fits = p.rotary_dim % 2 == 0 && p.rotary_dim <= p.head_dim;
  if (p.head_dim < 1 || p.head_dim > kLongestHead || !rotary_fits) return cudaErrorInvalidValue;
  if (!is_aligned(p.cache, p.block_stride | p.head_stride)) return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  if (p.sums_type == RowType::kF32) return launch_finish_qkv_of<float>(p, stream);
  if (p.sums_type == RowType::kBF16) return launch_finish_qkv_of<__nv_bfloat16>(p, stream);
  if (p.sums_type == RowType::kF16) return launch_finish_qkv_of<__half>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace spate::cuda
