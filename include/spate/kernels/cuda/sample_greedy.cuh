// The largest logit of each row, ties to the lowest id: greedy decoding. Reads the logits once.
// Few rows are spread over clusters of blocks; the result does not depend on how.
#pragma once
#include "spate/kernels/cuda/cluster.cuh"
#include "spate/kernels/cuda/row_values.cuh"
#include "spate/kernels/cuda/sample_rules.cuh"

namespace spate::cuda {

struct GreedyParams {
  const float* logits = nullptr;  // [rows, vocab]
  std::int64_t stride = 0;        // elements
  int vocab = 0;
  const std::int32_t* slots = nullptr;  // [rows]; -1: padding, nothing is written. null: no slots
  std::int32_t* sampled = nullptr;      // [slots]: the token, for the next step's embed
  std::int32_t* tokens = nullptr;       // [rows]; 0 where there is an error
  std::int32_t* errors = nullptr;       // [rows] SampleError
  std::int64_t rows = 0;
  bool dependent_launch = false;
};

inline constexpr int kGreedyThreads = 512;

// What a thread has seen: the largest and where it was first.
struct Leader {
  float x = -kInfinity;
  int id = 0;
  bool finite = true;
  __device__ __forceinline__ void see(float y, int at) {
    finite = finite && y < kInfinity;  // false for NaN
    if (y > x) x = y, id = at;
  }
  __device__ __forceinline__ std::uint64_t rank() const {
    return finite ? logit_rank(x, id) : kNotFiniteRank;
  }
};

__device__ __forceinline__ std::uint64_t larger(std::uint64_t a, std::uint64_t b) {
  return a > b ? a : b;
}

// For thread 0.
__device__ __forceinline__ std::uint64_t block_largest(std::uint64_t x, std::uint64_t* shared) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x = larger(x, __shfl_xor_sync(~0u, x, step));
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x >= 32) return 0;
  x = threadIdx.x < blockDim.x / 32 ? shared[threadIdx.x] : 0;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x = larger(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

// This block's share of a row, in ascending order.
template <bool kVector>
__device__ __forceinline__ std::uint64_t largest_of(const float* row, int n, int part, int parts) {
  Leader leader;
  const int step = kGreedyThreads * parts;
  const int first = part * kGreedyThreads + static_cast<int>(threadIdx.x);
  if constexpr (kVector) {
    const auto* vectors = reinterpret_cast<const float4*>(row);
#pragma unroll 4
    for (int i = first; i < n / 4; i += step) {
      const float4 x = vectors[i];
      leader.see(x.x, 4 * i);
      leader.see(x.y, 4 * i + 1);
      leader.see(x.z, 4 * i + 2);
      leader.see(x.w, 4 * i + 3);
    }
  } else {
    for (int i = first; i < n; i += step) leader.see(row[i], i);
  }
  return leader.rank();
}

__device__ __forceinline__ void write_greedy(const GreedyParams& p, std::int64_t row,
                                             std::uint64_t best) {
  const std::int32_t error = error_of_rank(best);
  const std::int32_t token = error == kSampled ? rank_id(best) : 0;
  if (p.tokens != nullptr) p.tokens[row] = token;
  if (p.errors != nullptr) p.errors[row] = error;
  if (p.slots != nullptr && p.sampled != nullptr) p.sampled[p.slots[row]] = token;
}

// A cluster of blocks a row.
template <bool kVector>
__global__ void __launch_bounds__(kGreedyThreads)
    greedy_kernel(const __grid_constant__ GreedyParams p) {
  __shared__ std::uint64_t shared[32];
  __shared__ std::uint64_t of_blocks[8];
  grid_launch_dependents();
  cluster_arrive();  // before another block's memory may be written, that block must run
  grid_dependency_wait();
  const auto parts = static_cast<int>(cluster_blocks());
  const auto part = static_cast<int>(cluster_rank());
  const std::int64_t row = blockIdx.x / static_cast<unsigned>(parts);
  const bool padding = p.slots != nullptr && p.slots[row] < 0;
  std::uint64_t best = 0;
  if (!padding) best = largest_of<kVector>(p.logits + row * p.stride, p.vocab, part, parts);
  best = block_largest(best, shared);
  cluster_wait();
  if (threadIdx.x == 0) store_cluster(smem_address(of_blocks + part), 0, best);
  cluster_arrive();
  cluster_wait();
  if (part != 0 || threadIdx.x != 0 || padding) return;
  for (int i = 0; i < parts; i++) best = larger(best, of_blocks[i]);
  write_greedy(p, row, best);
}

inline cudaError_t launch_greedy(const GreedyParams& p, cudaStream_t stream) {
  if (p.vocab < 1) return cudaErrorInvalidValue;
  const bool vector = p.vocab % 4 == 0 && is_aligned(p.logits, p.stride * 4);
  const auto kernel = vector ? greedy_kernel<true> : greedy_kernel<false>;
  const int cluster = has_clusters(kernel) ? blocks_of_row(p.rows) : 1;
  const LaunchShape shape{dim3(static_cast<unsigned>(p.rows * cluster)), kGreedyThreads,
                          p.dependent_launch, cluster};
  return launch_kernel(kernel, p, shape, stream);
}

}  // namespace spate::cuda
