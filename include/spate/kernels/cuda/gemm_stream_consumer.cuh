// The consumers of the streaming product: eight warps that keep their part of the activations in
// registers, as A operands, and run the weights of a tile past them. Sums of a tile go to the
// epilogue's warps through shared memory.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_stream_params.cuh"
#include "spate/kernels/cuda/gemm_stream_weights.cuh"
#include "spate/kernels/cuda/mma.cuh"

namespace spate::cuda {

template <class C>
class StreamConsumer {
 public:
  __device__ __forceinline__ StreamConsumer(const StreamArguments& a, const StreamShared<C>& shared)
      : a_(a),
        shared_(shared),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(__shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0) - 1 - C::kEpilogues),
        zero_(static_cast<std::uint32_t>(a.p.rows) >> 16) {}

  __device__ __forceinline__ void run() {
    const StreamWork<C> work(a_);
    warm_norm();
    grid_dependency_wait();
    for (int first = 0; first < work.tiles; first += work.group) {
      const int end = min(first + work.group, work.tiles);
      squares_[0] = squares_[1] = 0;
      for (int slice = 0; slice < work.slices; ++slice) {
        load(slice);
        if (a_.p.norm_weight != nullptr && slice + 1 == work.slices) publish_squares();
        const int stages = StreamWork<C>::stages(a_, slice);
        for (int i = first; i < end; ++i) multiply((i - first) % C::kEpilogues, slice, stages);
      }
    }
  }

 private:
  static constexpr int kHalves = C::kWide ? 2 : 1;  // of eight rows
  using Weights = StreamWeights<C>;
  using Bf16 = Element<__nv_bfloat16>;
  struct Sums {
    float c[2][C::kOctets][4];  // two chains, so that products follow each other more closely
  };

  // First k of one of this warp's groups.
  __device__ __forceinline__ int k_of(int slice, int group) const {
    return slice * C::kSlice + group / C::kShareGroups * C::kStageK + warp_ * C::kShare +
           group % C::kShareGroups * C::kGroup + (lane_ & 3) * 8;
  }

  // The norm's weights do not depend on the kernel before: into the L2 cache while it still runs.
  __device__ __forceinline__ void warm_norm() const {
    if (a_.p.norm_weight == nullptr) return;
    const int thread = warp_ * 32 + lane_;
    for (std::int64_t i = thread * 32; i < a_.p.k; i += C::kWarps * 32 * 32) {
      asm volatile("prefetch.global.L2 [%0];" ::"l"(a_.p.norm_weight + i));
    }
  }

  __device__ __forceinline__ std::int64_t x_row(int row) const {
    return (a_.p.row_index == nullptr ? row : a_.p.row_index[row]) * a_.p.x_stride;
  }

  __device__ __forceinline__ void load(int slice) {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
      const int row = h * 8 + (lane_ >> 2);
      const bool live = row < a_.p.rows;
      const std::int64_t start = live ? x_row(row) : 0;
      if (a_.p.norm_weight != nullptr) {
        load_normed(static_cast<const float*>(a_.p.x) + start, live, slice, h);
      } else {
        load_plain(static_cast<const __nv_bfloat16*>(a_.p.x) + start, live, slice, h);
      }
    }
  }

  __device__ __forceinline__ void load_plain(const __nv_bfloat16* x, bool live, int slice, int h) {
#pragma unroll
    for (int g = 0; g < C::kSliceGroups; ++g) {
      const int k = k_of(slice, g);
      uint4 v = make_uint4(0, 0, 0, 0);
      if (live && k < a_.p.k) v = __ldcg(reinterpret_cast<const uint4*>(x + k));
      x_[h][g][0] = v.x;
      x_[h][g][1] = v.y;
      x_[h][g][2] = v.z;
      x_[h][g][3] = v.w;
    }
  }

  // Rows times the norm's weight; the epilogue divides by the root of the mean square.
  __device__ __forceinline__ void load_normed(const float* x, bool live, int slice, int h) {
    float sum = squares_[h];
#pragma unroll
    for (int g = 0; g < C::kSliceGroups; ++g) {
      const int k = k_of(slice, g);
      const bool inside = live && k < a_.p.k;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float4 v = make_float4(0, 0, 0, 0), w = v;
        if (inside) {
          v = __ldcg(reinterpret_cast<const float4*>(x + k + half * 4));
          w = __ldg(reinterpret_cast<const float4*>(a_.p.norm_weight + k + half * 4));
        }
        sum = fmaf(v.x, v.x, sum);
        sum = fmaf(v.y, v.y, sum);
        sum = fmaf(v.z, v.z, sum);
        sum = fmaf(v.w, v.w, sum);
        x_[h][g][half * 2] = Bf16::pack(v.x * w.x, v.y * w.y);
        x_[h][g][half * 2 + 1] = Bf16::pack(v.z * w.z, v.w * w.w);
      }
    }
    squares_[h] = sum;
  }

  __device__ __forceinline__ void publish_squares() {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
      float sum = squares_[h];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      // Every group of tiles comes to the same sums.
      if ((lane_ & 3) == 0) shared_.squares(warp_)[h * 8 + (lane_ >> 2)] = sum;
    }
  }

  __device__ __forceinline__ void wait(std::uint32_t bar, std::uint32_t parity) const {
    mbar_wait(bar, parity);
    __syncwarp();  // the matrix instructions want the lanes together again
  }

  __device__ __forceinline__ void multiply(int buffer, int slice, int stages) {
    Sums sums = {};
#pragma unroll
    for (int s = 0; s < C::kSliceStages; ++s) {
      if (s < stages) stage(sums, slice, s);
    }
    wait(shared_.red_empty + 8 * buffer, (red_phases_ >> buffer & 1) ^ 1);
    red_phases_ ^= 1u << buffer;
    float* out = shared_.red(buffer, warp_) + (lane_ >> 2) * C::kPitch;
#pragma unroll
    for (int o = 0; o < C::kOctets; ++o) {
#pragma unroll
      for (int i = 0; i < 2 * kHalves; ++i) {
        out[i / 2 * 8 * C::kPitch + o * 8 + Weights::row_of(2 * (lane_ & 3) + i % 2)] =
            sums.c[0][o][i] + sums.c[1][o][i];
      }
    }
    __syncwarp();
    if (lane_ == 0) mbar_arrive(shared_.red_full + 8 * buffer);
  }

  __device__ __forceinline__ void stage(Sums& sums, int slice, int s) {
    wait(shared_.full + 8 * ring_.stage, ring_.parity);
    Weights w;
    w.begin(shared_.ring + ring_.stage * C::kStageBytes, warp_, lane_);
    std::uint32_t seen = 0;
#pragma unroll
    for (int g = 0; g < C::kShareGroups; g += Weights::kLoadGroups) {
      // Copies end with the row's last block, and what lies behind it in the stage is stale.
      if (C::kPacked && k_of(slice, s * C::kShareGroups + g) - (lane_ & 3) * 8 >= a_.p.k) break;
#pragma unroll
      for (int o = 0; o < C::kOctets; ++o) {
        w.fetch(o, g, lane_);
        seen ^= w.any();
        products(sums, w, o, g, s * C::kShareGroups + g);
      }
    }
    __syncwarp();
    // The slot may be refilled only when the loads have returned. The assembler would move a plain
    // arrive ahead of the matrix instructions, right behind the issue of the loads, which may queue
    // behind others: so its address depends on what they return.
    if (lane_ == 0) mbar_arrive(shared_.empty + 8 * ring_.stage + (seen & zero_));
    ring_.next();
  }

  __device__ __forceinline__ void products(Sums& sums, Weights& w, int octet, int share_group,
                                           int slice_group) {
#pragma unroll
    for (int j = 0; j < Weights::kLoadGroups; ++j) {
      std::uint32_t b[4];
      w.operand(j, b);
      const int g = slice_group + j;
      if constexpr (C::kPacked) {
        float part[4] = {};
        product(part, g, 0, b[0], b[1]);
        product(part, g, 1, b[2], b[3]);
        const float2 scale = w.scale(octet, share_group + j);
        float(&c)[4] = sums.c[j & 1][octet];
        c[0] = fmaf(part[0], scale.x, c[0]);
        c[1] = fmaf(part[1], scale.y, c[1]);
        c[2] = fmaf(part[2], scale.x, c[2]);
        c[3] = fmaf(part[3], scale.y, c[3]);
      } else {
        product(sums.c[0][octet], g, 0, b[0], b[1]);
        product(sums.c[1][octet], g, 1, b[2], b[3]);
      }
    }
  }

  __device__ __forceinline__ void product(float (&c)[4], int group, int step, std::uint32_t b0,
                                          std::uint32_t b1) const {
    const std::uint32_t b[2] = {b0, b1};
    const std::uint32_t x[4] = {
        x_[0][group][2 * step], C::kWide ? x_[kHalves - 1][group][2 * step] : 0u,
        x_[0][group][2 * step + 1], C::kWide ? x_[kHalves - 1][group][2 * step + 1] : 0u};
    Bf16::mma(c, x, b);
  }

  const StreamArguments& a_;
  const StreamShared<C>& shared_;
  int lane_, warp_;
  std::uint32_t zero_;  // known to be 0 at run time only
  Ring<C::kStages> ring_{0};
  std::uint32_t red_phases_ = 0;
  float squares_[2] = {};
  std::uint32_t x_[kHalves][C::kSliceGroups][4];
};

}  // namespace spate::cuda
