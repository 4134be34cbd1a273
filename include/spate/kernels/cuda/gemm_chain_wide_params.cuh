// The wide chain product (17 to 64 rows): how its work is dealt out and its map of shared memory.
// What a launch is given is ChainGemmParams; the kernel is gemm_chain_wide.cuh.
#pragma once
#include <algorithm>
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_params.cuh"

namespace spate::cuda {

struct WideChainArguments {
  ChainGemmParams p;
  CUtensorMap weights, rows;  // 64 k x rows x chunks of k
  int slabs;                  // of k
  int passes, octets;         // passes over k; octets of rows of W in each, at most
  int stages;
};

template <class T_>
struct WideChainKernel {
  using T = T_;
  static constexpr int kTokens = kWideChainRows;  // rows of x in the tile: the instruction's N

  static constexpr int kWarpgroups = 4;  // consumers, 64 rows of W each
  static constexpr int kConsumers = 128 * kWarpgroups;
  static constexpr int kThreads = kConsumers + 64;  // a warp copies weights, another one x
  static constexpr int kTileOctets = 8;
  static constexpr int kMostOctets = kTileOctets * kWarpgroups;
  static constexpr int kChunks = 2;  // of 64 k, in a stage
  static constexpr int kSlab = kChunks * kChainChunk;
  static constexpr int kOctetBytes = kChunks * 1024;
  static constexpr int kRowChunkBytes = kTokens * 128;
  static constexpr int kRowBytes = kChunks * kRowChunkBytes;
  static constexpr int kBarBytes = 1024;
  static constexpr int kSharedBytes = 232448;
  static constexpr int kMostStages = 16;
  // With fewer stages each is freed as soon as it is multiplied; with more of them the next one's
  // products are issued first, so that the chains of sums never wait.
  static constexpr int kStagesToLag = 4;
};

template <class C>
struct WideChainShared {
  std::uint32_t full, empty, rows, weights;
  __device__ __forceinline__ WideChainShared(const std::uint8_t* smem, int stages) {
    full = smem_address(smem);
    empty = full + 8 * C::kMostStages;
    rows = full + C::kBarBytes;
    weights = rows + static_cast<std::uint32_t>(stages * C::kRowBytes);
  }
  __device__ __forceinline__ void init(int stages) const {
    for (int i = 0; i < stages; ++i) {
      mbar_init(full + 8 * i, 2);  // weights and x
      mbar_init(empty + 8 * i, 4 * C::kWarpgroups);
    }
    mbar_init_fence();
  }
};

// Position in a ring whose number of stages is known at run time.
struct WideChainRing {
  int stages, stage = 0;
  std::uint32_t parity;
  __device__ __forceinline__ WideChainRing(int n, std::uint32_t first) : stages(n), parity(first) {}
  __device__ __forceinline__ void next() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// The work of one block: a band of octets of rows of W, in passes over k. Octets are dealt out in
// twos, a gate's and its up's where there are gates.
struct WideChainWork {
  int begin, end, each;
  __device__ __forceinline__ explicit WideChainWork(const WideChainArguments& a) : each(a.octets) {
    const std::int64_t pairs = (a.p.n / 8 + 1) / 2, grid = gridDim.x, block = blockIdx.x;
    begin = static_cast<int>(pairs * block / grid) * 2;
    end = min(static_cast<int>(pairs * (block + 1) / grid) * 2, static_cast<int>(a.p.n / 8));
  }
  __device__ __forceinline__ int first(int pass) const { return begin + pass * each; }
  __device__ __forceinline__ int count(int pass) const {
    return max(0, min(each, end - first(pass)));
  }
  // First row of W of an octet.
  static __device__ __forceinline__ int row(const WideChainArguments& a, int octet) {
    if (a.p.output != ProductOutput::kGated) return octet * 8;
    return octet / 2 * 8 + octet % 2 * static_cast<int>(a.p.n / 2);
  }
};

// The same passes for all blocks, and as many stages as there is room for.
template <class C>
void deal_wide_chain(WideChainArguments& a, int grid) {
  const std::int64_t pairs = (a.p.n / 8 + 1) / 2, most = (pairs + grid - 1) / grid * 2;
  a.slabs = static_cast<int>((a.p.k + C::kSlab - 1) / C::kSlab);
  a.passes = static_cast<int>((most + C::kMostOctets - 1) / C::kMostOctets);
  a.octets = static_cast<int>(((most + a.passes - 1) / a.passes + 1) / 2 * 2);
  // The last tile's operands may reach beyond its stage: what is there does not matter, but it must
  // be there.
  const int beyond = (a.octets + C::kTileOctets - 1) / C::kTileOctets * C::kTileOctets - a.octets;
  const int room = C::kSharedBytes - C::kBarBytes - beyond * C::kOctetBytes;
  a.stages = std::min(C::kMostStages, room / (a.octets * C::kOctetBytes + C::kRowBytes));
}

}  // namespace spate::cuda
