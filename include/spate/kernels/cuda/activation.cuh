// Activation functions on rows, gated (act(gate) * up) or plain, and conversion to what the next
// linear map consumes: bf16, f16, f32, or e4m3 with one scale a row. Memory-bound.
#pragma once
#include "spate/kernels/cuda/activation_function.cuh"
#include "spate/kernels/cuda/cluster.cuh"
#include "spate/kernels/cuda/dealt_rows.cuh"
#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

struct ActivationParams {
  const void* x = nullptr;          // [rows, 2 * n]: gates, then ups; not gated: [rows, n]
  RowType x_type = RowType::kBF16;  // or kF16, kF32
  std::int64_t x_stride = 0;        // elements
  bool gated = true;
  RowActivation activation = RowActivation::kSilu;
  const float* bias = nullptr;  // of x's columns; null: none

  void* out = nullptr;  // [rows, n]
  RowType out_type = RowType::kBF16;
  bool dealt = false;           // in the order of dealt_rows.cuh: kBF16, n a multiple of 32
  std::int64_t out_stride = 0;  // elements
  float* scales = nullptr;      // kE4M3: [rows], out * scale is the value

  std::int64_t rows = 0;
  int n = 0;  // kE4M3: up to kLongestQuantizedRow
  bool dependent_launch = false;
};

inline constexpr int kLongestQuantizedRow = 57344;  // 224 KB of shared memory

// Eight gates and ups as they were read: several of them are under way before the first is used.
template <class T, bool kVector>
struct GateUp {
  float gate[kChunk], up[kChunk];
  __device__ __forceinline__ void load(const ActivationParams& p, const T* row, int at) {
    load_chunk<false>(row, at, p.n, gate);
    if (p.gated) load_chunk<false>(row + p.n, at, p.n, up);
  }
  __device__ __forceinline__ void widen_to(float (&g)[kChunk], float (&u)[kChunk]) const {
#pragma unroll
    for (int e = 0; e < kChunk; e++) g[e] = gate[e], u[e] = up[e];
  }
};
template <class T>
struct GateUp<T, true> {
  static constexpr int kWords = static_cast<int>(sizeof(T)) / 2;
  uint4 gate[kWords], up[kWords];
  __device__ __forceinline__ void load(const ActivationParams& p, const T* row, int at) {
#pragma unroll
    for (int i = 0; i < kWords; i++) gate[i] = reinterpret_cast<const uint4*>(row + at)[i];
    if (!p.gated) return;
#pragma unroll
    for (int i = 0; i < kWords; i++) up[i] = reinterpret_cast<const uint4*>(row + p.n + at)[i];
  }
  __device__ __forceinline__ void widen_to(float (&g)[kChunk], float (&u)[kChunk]) const {
    load_vector(reinterpret_cast<const T*>(gate), g);
    load_vector(reinterpret_cast<const T*>(up), u);
  }
};

template <bool kVector>
__device__ __forceinline__ void add_bias(const float* bias, int at, int n, float (&v)[kChunk]) {
  if (bias == nullptr) return;
  float b[kChunk];
  load_chunk<kVector>(bias, at, n, b);
#pragma unroll
  for (int e = 0; e < kChunk; e++) v[e] += b[e];
}

// Values at .. at + 7 of the result; zeros beyond its end.
template <class T, bool kVector>
__device__ __forceinline__ void activate_chunk(const ActivationParams& p,
                                               const GateUp<T, kVector>& from, int at,
                                               float (&v)[kChunk]) {
  float up[kChunk];
  from.widen_to(v, up);
  add_bias<kVector>(p.bias, at, p.n, v);
  if (p.gated) add_bias<kVector>(p.bias == nullptr ? nullptr : p.bias + p.n, at, p.n, up);
#pragma unroll
  for (int e = 0; e < kChunk; e++) {
    v[e] = activated(p.activation, v[e]);
    if (p.gated) v[e] *= up[e];
    if (!kVector && at + e >= p.n) v[e] = 0.f;
  }
}

template <class T, bool kVector>
__global__ void __launch_bounds__(256)
    activation_kernel(const __grid_constant__ ActivationParams p) {
  grid_launch_dependents();
  grid_dependency_wait();
  const std::int64_t r = blockIdx.x;
  const int at = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kChunk;
  if (at >= p.n) return;
  GateUp<T, kVector> from;
  from.load(p, static_cast<const T*>(p.x) + r * p.x_stride, at);
  float v[kChunk];
  activate_chunk(p, from, at, v);
  auto* to = static_cast<std::uint8_t*>(p.out) + r * p.out_stride * row_type_bytes(p.out_type);
  if (kVector && p.dealt) return store_dealt(to, at, v);
  store_chunk<kVector>(to, p.out_type, at, p.n, v);
}

// The largest over the blocks of the cluster, for all threads. The caller has arrived at the
// cluster's barrier once.
__device__ __forceinline__ float cluster_peak(float peak, float* of_blocks /* [8] */) {
  const std::uint32_t parts = cluster_blocks();
  cluster_wait();
  if (threadIdx.x < parts) {
    store_cluster(smem_address(of_blocks + cluster_rank()), threadIdx.x, peak);
  }
  cluster_arrive();
  cluster_wait();
  for (std::uint32_t i = 0; i < parts; i++) peak = fmaxf(peak, of_blocks[i]);
  return peak;
}

// With a scale a row. A cluster of blocks makes a row, whose values wait for the scale in shared
// memory: [2][chunks of the block], halves of chunks, free of bank conflicts.
template <class T, bool kVector>
__global__ void __launch_bounds__(512, kVector ? 2 : 1)
    activation_quantize_kernel(const __grid_constant__ ActivationParams p) {
  extern __shared__ float4 held[];
  __shared__ float shared[32], of_blocks[8];
  grid_launch_dependents();
  cluster_arrive();
  grid_dependency_wait();
  const auto parts = static_cast<int>(cluster_blocks()), part = static_cast<int>(cluster_rank());
  const std::int64_t row = blockIdx.x / static_cast<unsigned>(parts);
  const int chunks = (p.n + kChunk - 1) / kChunk, each = (chunks + parts - 1) / parts;
  const int first = part * each, count = min(each, chunks - first);
  const T* from = static_cast<const T*>(p.x) + row * p.x_stride;
  const int step = static_cast<int>(blockDim.x);
  float v[kChunk], peak = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 2 * step) {
    GateUp<T, kVector> raw[2];
    raw[0].load(p, from, (first + i) * kChunk);
    if (i + step < count) raw[1].load(p, from, (first + i + step) * kChunk);
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const int at = i + j * step;
      if (at >= count) break;
      activate_chunk(p, raw[j], (first + at) * kChunk, v);
      held[at] = make_float4(v[0], v[1], v[2], v[3]);
      held[each + at] = make_float4(v[4], v[5], v[6], v[7]);
#pragma unroll
      for (int e = 0; e < kChunk; e++) peak = fmaxf(peak, fabsf(v[e]));
    }
  }
  const RowScale scale = e4m3_scale(cluster_peak(block_reduce<Max>(peak, shared), of_blocks));
  if (part == 0 && threadIdx.x == 0) p.scales[row] = scale.scale;
  auto* to = static_cast<std::uint8_t*>(p.out) + row * p.out_stride;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += step) {
    const float4 a = held[i], b = held[each + i];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
#pragma unroll
    for (int e = 0; e < kChunk; e++) v[e] *= scale.inverse;
    store_chunk<kVector>(to, RowType::kE4M3, (first + i) * kChunk, p.n, v);
  }
}

template <class T, bool kVector>
cudaError_t launch_activation_quantize(const ActivationParams& p, cudaStream_t stream) {
  if (p.n > kLongestQuantizedRow || p.scales == nullptr) return cudaErrorInvalidValue;
  const auto kernel = activation_quantize_kernel<T, kVector>;
  const std::int64_t chunks = (p.n + kChunk - 1) / kChunk;
  const int cluster = p.rows <= 33 && has_clusters(kernel) ? 8 : 1;
  const std::int64_t each = (chunks + cluster - 1) / cluster;
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(p.rows * cluster)),
                          .threads = row_threads(each, 1, 512),
                          .dependent = p.dependent_launch,
                          .cluster = cluster,
                          .shared_bytes = static_cast<int>(each) * kChunk * 4,
                          .most_shared_bytes = kLongestQuantizedRow * 4};
  return launch_kernel(kernel, p, shape, stream);
}

template <class T>
cudaError_t launch_activation_of(const ActivationParams& p, cudaStream_t stream) {
  const bool vector =
      p.n % kChunk == 0 && is_aligned(p.x, p.x_stride * static_cast<std::int64_t>(sizeof(T))) &&
      is_aligned(p.out, p.out_stride * row_type_bytes(p.out_type)) && is_aligned(p.bias, 0);
  if (p.dealt && !(vector && p.n % kDealtGroup == 0 && p.out_type == RowType::kBF16)) {
    return cudaErrorInvalidValue;
  }
  const std::int64_t chunks = (p.n + kChunk - 1) / kChunk;
  LaunchShape shape{dim3(static_cast<unsigned>(p.rows)), 0, p.dependent_launch};
  if (p.out_type != RowType::kE4M3) {
    shape.threads = row_threads(chunks, 1, 256);
    shape.grid.y = row_blocks(chunks, shape.threads);
    return vector ? launch_kernel(activation_kernel<T, true>, p, shape, stream)
                  : launch_kernel(activation_kernel<T, false>, p, shape, stream);
  }
  return vector ? launch_activation_quantize<T, true>(p, stream)
                : launch_activation_quantize<T, false>(p, stream);
}

inline cudaError_t launch_activation(const ActivationParams& p, cudaStream_t stream) {
  if (p.n < 0) return cudaErrorInvalidValue;
  if (p.rows == 0 || p.n == 0) return cudaSuccess;
  if (p.x_type == RowType::kF32) return launch_activation_of<float>(p, stream);
  if (p.x_type == RowType::kBF16) return launch_activation_of<__nv_bfloat16>(p, stream);
  if (p.x_type == RowType::kF16) return launch_activation_of<__half>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace spate::cuda
