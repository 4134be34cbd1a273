// Clusters of blocks (sm_90): their barrier and stores to another block's shared memory. A kernel
// that was launched without a cluster is a cluster of one, and so is every block in code for
// earlier GPUs: has_clusters says which code a device runs.
#pragma once
#include <cstdint>

#include <cuda_runtime.h>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define SPATE_CLUSTERS_OF_ONE
#endif

namespace spate::cuda {

// The compute capability (times ten) that the code of a kernel was compiled for which the device
// runs; 0: none.
template <class K>
int kernel_architecture(K* kernel) {
  cudaFuncAttributes a{};
  if (cudaFuncGetAttributes(&a, kernel) != cudaSuccess) return 0;
  // 0 in code for one architecture that does not say what it was made from.
  return a.ptxVersion != 0 ? a.ptxVersion : a.binaryVersion;
}
template <class K>
bool has_clusters(K* kernel) {
  return kernel_architecture(kernel) >= 90;
}

#ifdef SPATE_CLUSTERS_OF_ONE
__device__ __forceinline__ std::uint32_t cluster_rank() { return 0; }
__device__ __forceinline__ std::uint32_t cluster_blocks() { return 1; }
__device__ __forceinline__ void cluster_arrive() {}
__device__ __forceinline__ void cluster_wait() { __syncthreads(); }
__device__ __forceinline__ std::uint32_t cluster_address(std::uint32_t address, std::uint32_t) {
  return address;
}
#define SPATE_CLUSTER_SPACE "shared"
#else
#define SPATE_CLUSTER_SPACE "shared::cluster"
__device__ __forceinline__ std::uint32_t cluster_rank() {
  std::uint32_t r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
__device__ __forceinline__ std::uint32_t cluster_blocks() {
  std::uint32_t n;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(n));
  return n;
}
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// The address, in the whole cluster's window, of a shared-memory address as block `rank` has it.
__device__ __forceinline__ std::uint32_t cluster_address(std::uint32_t address,
                                                         std::uint32_t rank) {
  std::uint32_t mapped;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}
#endif
__device__ __forceinline__ void store_cluster(std::uint32_t address, std::uint32_t rank,
                                              std::uint64_t x) {
  asm volatile("st." SPATE_CLUSTER_SPACE ".u64 [%0], %1;" ::"r"(cluster_address(address, rank)),
               "l"(x)
               : "memory");
}
__device__ __forceinline__ void store_cluster(std::uint32_t address, std::uint32_t rank, float x) {
  asm volatile("st." SPATE_CLUSTER_SPACE ".f32 [%0], %1;" ::"r"(cluster_address(address, rank)),
               "f"(x)
               : "memory");
}
__device__ __forceinline__ void store_cluster(std::uint32_t address, std::uint32_t rank,
                                              std::uint32_t x) {
  asm volatile("st." SPATE_CLUSTER_SPACE ".u32 [%0], %1;" ::"r"(cluster_address(address, rank)),
               "r"(x)
               : "memory");
}
__device__ __forceinline__ std::uint32_t load_cluster_u32(std::uint32_t address,
                                                          std::uint32_t rank) {
  std::uint32_t x;
  asm volatile("ld." SPATE_CLUSTER_SPACE ".u32 %0, [%1];"
               : "=r"(x)
               : "r"(cluster_address(address, rank))
               : "memory");
  return x;
}
__device__ __forceinline__ std::uint32_t add_cluster(std::uint32_t address, std::uint32_t rank,
                                                     std::uint32_t x) {
  std::uint32_t old;
  asm volatile("atom." SPATE_CLUSTER_SPACE ".add.u32 %0, [%1], %2;"
               : "=r"(old)
               : "r"(cluster_address(address, rank)), "r"(x)
               : "memory");
  return old;
}
// All blocks of the cluster, and all their threads.
__device__ __forceinline__ void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

}  // namespace spate::cuda

#undef SPATE_CLUSTER_SPACE
#undef SPATE_CLUSTERS_OF_ONE
