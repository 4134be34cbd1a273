// Attention by one thread block a row and query head, for what the fast kernels do not take: f32,
// and combinations of cache type, head dim and score change that nobody has asked to be fast. All
// masks of the engine, any head dim up to 256 that is a multiple of 8. Keys are taken in tiles of
// 32 at absolute positions, so a row's bits depend on its position alone.
#pragma once
#include <cstdint>
#include <type_traits>

#include <cuda_fp8.h>

#include "spate/kernels/cuda/kv_image.h"
#include "spate/kernels/cuda/launch.cuh"
#include "spate/kernels/cuda/mma.cuh"
#include "spate/kernels/cuda/step_tables.h"
#include "spate/kernels/cuda/variant.cuh"

namespace spate::cuda {

struct AttentionRowsParams {
  StepTables tables;
  std::int64_t rows = 0;    // of the launch; those with position -1 are left alone
  const void* q = nullptr;  // T [rows][q_heads][head_dim]
  void* out = nullptr;      // T [rows][q_heads][head_dim]
  int q_heads = 1, kv_heads = 1, head_dim = 0;
  float scale = 1;                                // of q k^T
  const void* pages = nullptr;                    // blocks of kStepBlockTokens tokens
  std::int64_t page_stride = 0, head_stride = 0;  // bytes
  const float* k_scale = nullptr;                 // [kv_heads], of e4m3; null: one
  const float* v_scale = nullptr;
  int window_left = 1 << 30;                  // keys before a row's position that it sees
  float soft_cap = 0;                         // 0: none
  const float* alibi_slopes = nullptr;        // [q_heads], or null
  int least_q_len = 0, most_q_len = 1 << 30;  // rows of other requests are left alone
  bool dependent_launch = false;
};

namespace rows_detail {

inline constexpr int kWarps = 4, kMostDims = 256, kTile = 32;

// 16 bytes of a cache row as floats.
template <class Kv>
struct Vector {
  static constexpr int kSize = 16 / sizeof(Kv);
  float x[kSize];
};
__device__ __forceinline__ float number(float x) { return x; }
__device__ __forceinline__ float number(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float number(__half x) { return __half2float(x); }
__device__ __forceinline__ float number(__nv_fp8_e4m3 x) { return static_cast<float>(x); }
__device__ __forceinline__ float number(std::int8_t x) { return static_cast<float>(x); }
template <class T>
__device__ __forceinline__ T element(float x) {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else if constexpr (std::is_same_v<T, __half>)
    return __float2half_rn(x);
  else
    return __float2bfloat16_rn(x);
}

template <class Kv>
__device__ __forceinline__ Vector<Kv> load_vector(const std::uint8_t* row) {
  const uint4 raw = *reinterpret_cast<const uint4*>(row);
  const auto* e = reinterpret_cast<const Kv*>(&raw);
  Vector<Kv> v;
#pragma unroll
  for (int i = 0; i < Vector<Kv>::kSize; i++) v.x[i] = number(e[i]);
  return v;
}

struct Shared {
  float q[kMostDims];
  float probs[kWarps][kTile];
  float out[kWarps][kMostDims];
  float max[kWarps], sum[kWarps];
};

// Where a row is and what it sees.
struct Row {
  int position, first_key;
  const std::int32_t* table;
  int head, kv_head;
};

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, i));
  return x;
}
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(~0u, x, i);
  return x;
}

template <class Kv>
struct WarpRow {
  static constexpr int kMine = kMostDims / 32;  // dims lane, lane + 32, ...
  const AttentionRowsParams& p;
  Shared& s;
  const Row& row;
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  const std::uint32_t row_bytes = kv_row_bytes(p.head_dim, sizeof(Kv));
  float max = -kInfinity, sum = 0, out[kMine] = {};

  __device__ __forceinline__ const std::uint8_t* block_of(int key) const {
    return static_cast<const std::uint8_t*>(p.pages) +
           row.table[key / kStepBlockTokens] * p.page_stride + row.kv_head * p.head_stride;
  }
  __device__ __forceinline__ float token_scale(const std::uint8_t* block, std::uint32_t token,
                                               bool value) const {
    if constexpr (!std::is_same_v<Kv, std::int8_t>) return 1.f;
    return __half2float(*reinterpret_cast<const __half*>(
        block + kv_scale_offset(static_cast<int>(token), value, kStepBlockTokens, row_bytes)));
  }
  // This lane's logit in powers of two.
  __device__ __forceinline__ float logit(int key) const {
    if (key > row.position || key < row.first_key) return -kInfinity;
    const std::uint8_t* k = block_of(key);
    const auto token = static_cast<std::uint32_t>(key % kStepBlockTokens);
    float x = 0;
    constexpr int kSize = Vector<Kv>::kSize;
    for (int c = 0; c * kSize < p.head_dim; c++) {
      const auto v =
          load_vector<Kv>(k + kv_offset(token, static_cast<std::uint32_t>(c), row_bytes));
#pragma unroll
      for (int i = 0; i < kSize; i++) {
        if (c * kSize + i < p.head_dim) x = fmaf(s.q[c * kSize + i], v.x[i], x);
      }
    }
    x *= token_scale(k, token, false) * p.scale *
         (p.k_scale == nullptr ? 1.f : p.k_scale[row.kv_head]);
    if (p.soft_cap > 0) x = p.soft_cap * tanh_exp(x / p.soft_cap);
    if (p.alibi_slopes != nullptr)
      x += p.alibi_slopes[row.head] * static_cast<float>(key - row.position);
    return x * kLog2E;
  }
  __device__ __forceinline__ void tile(int first) {
    const float x = logit(first + lane);
    const float top = fmaxf(max, warp_max(x));
    // Nothing to add, and no NaN that the maximum ignores.
    if (top == -kInfinity && __all_sync(~0u, x == -kInfinity)) return;
    const float scale = exp2_approx(max - top), y = exp2_approx(x - top);
    max = top;
    sum = sum * scale + y;
    __syncwarp();
    s.probs[warp][lane] = y;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < kMine; m++) out[m] *= scale;
    const int n = min(kTile, row.position + 1 - first);
    const std::uint8_t* v = block_of(first) + kStepBlockTokens * row_bytes;
    for (int j = max_key(first) - first; j < n; j++) {
      const auto token = static_cast<std::uint32_t>((first + j) % kStepBlockTokens);
      const float w = s.probs[warp][j] * token_scale(block_of(first), token, true);
#pragma unroll
      for (int m = 0; m < kMine; m++) {
        const auto byte = static_cast<std::uint32_t>((lane + 32 * m) * sizeof(Kv));
        if (lane + 32 * m >= p.head_dim) break;
        const auto* at =
            reinterpret_cast<const Kv*>(v + kv_offset(token, byte / 16, row_bytes) + byte % 16);
        out[m] = fmaf(w, number(*at), out[m]);
      }
    }
  }
  __device__ __forceinline__ int max_key(int first) const {
    return first > row.first_key ? first : row.first_key;
  }
  __device__ __forceinline__ void publish() {
    sum = warp_sum(sum);
    if (lane == 0) {
      s.max[warp] = max;
      s.sum[warp] = sum;
    }
#pragma unroll
    for (int m = 0; m < kMine; m++) s.out[warp][lane + 32 * m] = out[m];
  }
};

}  // namespace rows_detail

template <class T, class Kv>
__global__ __launch_bounds__(rows_detail::kWarps * 32) void attention_rows_kernel(
    const __grid_constant__ AttentionRowsParams p) {
  using namespace rows_detail;
  __shared__ Shared s;
  grid_dependency_wait();
  grid_launch_dependents();
  const int r = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  Row row{p.tables.positions[r], 0, nullptr, static_cast<int>(blockIdx.y), 0};
  if (row.position < 0) return;
  const int sequence = p.tables.sequence[r], q_len = p.tables.q_len[sequence];
  if (q_len < p.least_q_len || q_len > p.most_q_len) return;
  row.first_key = max(0, row.position - p.window_left);
  row.table = p.tables.block_table + p.tables.table_begin[sequence];
  row.kv_head = row.head / (p.q_heads / p.kv_heads);
  const std::int64_t at = (std::int64_t{r} * p.q_heads + row.head) * p.head_dim;
  for (int d = thread; d < p.head_dim; d += kWarps * 32)
    s.q[d] = number(static_cast<const T*>(p.q)[at + d]);
  __syncthreads();
  WarpRow<Kv> mine{p, s, row};
  const int tiles = row.position / kTile + 1;
  for (int t = row.first_key / kTile + mine.warp; t < tiles; t += kWarps) mine.tile(t * kTile);
  mine.publish();
  __syncthreads();
  float top = -kInfinity, sum = 0;
  for (int w = 0; w < kWarps; w++) top = fmaxf(top, s.max[w]);
  for (int w = 0; w < kWarps; w++) sum += s.sum[w] * exp2_approx(s.max[w] - top);
  const float inv = (p.v_scale == nullptr ? 1.f : p.v_scale[row.kv_head]) / sum;
  for (int d = thread; d < p.head_dim; d += kWarps * 32) {
    float x = 0;
    for (int w = 0; w < kWarps; w++) x += s.out[w][d] * exp2_approx(s.max[w] - top);
    static_cast<T*>(p.out)[at + d] = element<T>(x * inv);
  }
}

// T: queries and output; Kv: the cache.
template <class T, class Kv>
cudaError_t launch_attention_rows(const AttentionRowsParams& p, cudaStream_t stream) {
  if (p.rows == 0) return cudaSuccess;
  if (p.head_dim > rows_detail::kMostDims || p.head_dim % 8 != 0) return cudaErrorInvalidValue;
  const LaunchShape shape{
      .grid = dim3(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.q_heads)),
      .threads = rows_detail::kWarps * 32,
      .dependent = p.dependent_launch};
  return launch_kernel(attention_rows_kernel<T, Kv>, p, shape, stream);
}

}  // namespace spate::cuda
