// The consumers of the wide chain product: warpgroups that each run 64 rows of W, as A operands,
// past all rows of x.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_sums.cuh"
#include "spate/kernels/cuda/gemm_chain_wide_params.cuh"
#include "spate/kernels/cuda/mma.cuh"
#include "spate/kernels/cuda/wgmma.cuh"

namespace spate::cuda {

template <class C>
class WideChainConsumer {
 public:
  __device__ __forceinline__ WideChainConsumer(const WideChainArguments& a,
                                               const WideChainShared<C>& shared, int warp)
      : a_(a),
        shared_(shared),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(warp % 4),
        group_(warp / 4),
        ring_(a.stages, 0) {}

  __device__ __forceinline__ void run() {
    const WideChainWork work(a_);
    grid_dependency_wait();
    for (int pass = 0; pass < a_.passes; ++pass) {
      const int octets = work.count(pass) - group_ * C::kTileOctets;
      if (octets <= 0) {
        pass_stages();
        continue;
      }
      const int first = work.first(pass) + group_ * C::kTileOctets;
      if (a_.p.output == ProductOutput::kAddF32) fetch(first, octets);
      if (a_.stages >= C::kStagesToLag) {
        multiply<true>();
      } else {
        multiply<false>();
      }
      finish(first, octets);
    }
  }

 private:
  using T = typename C::T;
  using Sums = ChainSums<T>;

  __device__ __forceinline__ void wait_stage() const {
    mbar_wait(shared_.full + 8 * ring_.stage, ring_.parity);
    __syncwarp();  // the matrix instructions want the lanes together again
  }
  __device__ __forceinline__ void release(int stage) const {
    if (lane_ == 0) mbar_arrive(shared_.empty + 8 * stage);
  }

  template <bool kLag>
  __device__ __forceinline__ void multiply() {
    const auto stage_bytes = static_cast<std::uint32_t>(a_.octets * C::kOctetBytes);
    const std::uint32_t weights = shared_.weights + group_ * C::kTileOctets * C::kOctetBytes;
    int before = 0;
#pragma unroll 1
    for (int slab = 0; slab < a_.slabs; ++slab) {
      wait_stage();
      const std::uint64_t w =
          wgmma_descriptor(weights + ring_.stage * stage_bytes, 16, C::kOctetBytes);
      const std::uint64_t x = wgmma_descriptor(shared_.rows + ring_.stage * C::kRowBytes, 16, 1024);
      pin(sums_);
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < 4 * C::kChunks; ++i) {  // 16 k each
        WgmmaScores<T, C::kTokens>::run(sums_, w + ((i / 4 * 1024 + i % 4 * 32) >> 4),
                                        x + ((i / 4 * C::kRowChunkBytes + i % 4 * 32) >> 4),
                                        i > 0 || slab > 0);
      }
      wgmma_commit();
      pin(sums_);
      wgmma_wait<kLag ? 1 : 0>();
      if (!kLag) release(ring_.stage);
      if (kLag && slab > 0) release(before);
      before = ring_.stage;
      ring_.next();
    }
    wgmma_wait<0>();
    pin(sums_);
    if (kLag) release(before);
  }
  // A warpgroup without a tile lets the stages pass all the same, so as to keep its place.
  __device__ __forceinline__ void pass_stages() {
    for (int slab = 0; slab < a_.slabs; ++slab, ring_.next()) {
      wait_stage();
      release(ring_.stage);
    }
  }

  // ---- sums: sums_[4 i + 2 h + e] is of row 8 i + 2 t + e of x and of row g of octet h of the two
  // that the warp has (g = lane / 4, t = lane % 4).

  __device__ __forceinline__ int token(int i, int e) const { return i * 8 + lane_ % 4 * 2 + e; }

  // What sums are added to, all of it on its way before the products begin.
  __device__ __forceinline__ void fetch(int first, int octets) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int octet = warp_ * 2 + h;
      const float* from =
          static_cast<const float*>(a_.p.out) + WideChainWork::row(a_, first + octet) + lane_ / 4;
#pragma unroll
      for (int i = 0; i < C::kTokens / 8; ++i) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const bool there = octet < octets && token(i, e) < a_.p.rows;
          old_[4 * i + 2 * h + e] = there ? from[token(i, e) * a_.p.out_stride] : 0.F;
        }
      }
    }
  }

  __device__ __forceinline__ void finish(int first, int octets) {
    if (a_.p.output == ProductOutput::kGated) return finish_gated(first, octets);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int octet = warp_ * 2 + h;
      if (octet >= octets) continue;
      const int row = WideChainWork::row(a_, first + octet) + lane_ / 4;
      const float bias = a_.p.bias == nullptr ? 0.F : __ldg(a_.p.bias + row);
#pragma unroll
      for (int i = 0; i < C::kTokens / 8; ++i) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int at = 4 * i + 2 * h + e;
          if (token(i, e) < a_.p.rows) store(token(i, e), row, sums_[at], bias, old_[at]);
        }
      }
    }
  }
  __device__ __forceinline__ void store(int token, int row, float y, float bias, float old) const {
    const std::int64_t at = token * a_.p.out_stride + row;
    if (a_.p.bias != nullptr) y = Sums::biased(a_.p.output, y, bias);
    if (a_.p.output == ProductOutput::kNarrow) {
      static_cast<T*>(a_.p.out)[at] = static_cast<T>(y);
    } else {
      static_cast<float*>(a_.p.out)[at] = a_.p.output == ProductOutput::kAddF32 ? y + old : y;
    }
  }
  __device__ __forceinline__ void finish_gated(int first, int octets) const {
    if (warp_ * 2 >= octets) return;
    const int row = WideChainWork::row(a_, first + warp_ * 2) + lane_ / 4;
    const bool biased = a_.p.bias != nullptr;
    const float gate_bias = biased ? __ldg(a_.p.bias + row) : 0.F;
    const float up_bias = biased ? __ldg(a_.p.bias + a_.p.n / 2 + row) : 0.F;
#pragma unroll
    for (int i = 0; i < C::kTokens / 8; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if (token(i, e) >= a_.p.rows) continue;
        float gate = sums_[4 * i + e], up = sums_[4 * i + 2 + e];
        if (biased) {
          gate = Sums::biased(ProductOutput::kGated, gate, gate_bias);
          up = Sums::biased(ProductOutput::kGated, up, up_bias);
        }
        static_cast<T*>(a_.p.out)[token(i, e) * a_.p.out_stride + row] =
            static_cast<T>(Sums::gated(a_.p.activation, gate, up));
      }
    }
  }

  const WideChainArguments& a_;
  const WideChainShared<C>& shared_;
  int lane_, warp_, group_;
  WideChainRing ring_;
  float sums_[C::kTokens / 2];
  float old_[C::kTokens / 2];  // what is added to, where it is
};

}  // namespace spate::cuda
