// The consumers of the streaming product: eight warps that keep their part of the activations in
// registers, as A operands, and run the weights of a tile past them. Sums of a tile go to the
// epilogue's warps through shared memory.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_stream_params.cuh"
#include "spate/kernels/cuda/gemm_stream_weights.cuh"
#include "spate/kernels/cuda/mma.cuh"

namespace spate::cuda {

// 16 bytes, or zeros. In the order of the program and without branches, so that loads that follow
// each other are in flight together.
__device__ __forceinline__ void load_if(std::uint32_t (&v)[4], const void* p, bool condition) {
  v[0] = v[1] = v[2] = v[3] = 0;
  asm volatile("{.reg .pred P; setp.ne.b32 P, %5, 0; @P ld.global.v4.b32 {%0,%1,%2,%3},[%4];}"
               : "+r"(v[0]), "+r"(v[1]), "+r"(v[2]), "+r"(v[3])
               : "l"(p), "r"(static_cast<int>(condition))
               : "memory");
}

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
    stage_norm();
    grid_dependency_wait();
    for (int first = 0; first < work.tiles; first += work.group) {
      const int end = min(first + work.group, work.tiles);
      squares_[0] = squares_[1] = 0;
      for (int slice = 0; slice < work.slices; ++slice) {
        const int stages = StreamWork<C>::stages(a_, slice);
        load(slice);
        if (C::kNorms && a_.p.norm_weight != nullptr && slice + 1 == work.slices) publish_squares();
        for (int i = first; i < end; ++i) multiply((i - first) % C::kEpilogues, slice, stages);
      }
    }
  }

 private:
  static constexpr int kHalves = C::kWide ? 2 : 1;              // of eight rows
  static constexpr int kPart = C::kWide ? 4 : C::kSliceGroups;  // groups loaded at a time
  using Weights = StreamWeights<C>;
  using T = typename C::T;
  struct Sums {
    float c[2][C::kOctets][4];  // two chains, so that products follow each other more closely
  };

  // First of the lane's eight k in one of this warp's groups: a start and constants.
  __device__ __forceinline__ int k_of(int slice, int group) const {
    return slice * C::kSlice + warp_ * C::kShare + (lane_ & 3) * 8 +
           group / C::kShareGroups * C::kStageK + group % C::kShareGroups * C::kGroup;
  }

  // The norm's weights do not depend on the kernel before: while it still runs, copies of this
  // warp's part of them into shared memory begin, in the order of k_of. There is room where nothing
  // is carried between slices.
  __device__ __forceinline__ void stage_norm() const {
    if constexpr (C::kNorms) {
      if (a_.p.norm_weight == nullptr || a_.p.k > C::kSlice) return;
#pragma unroll
      for (int i = 0; i < C::kSliceGroups / 4; ++i) {
        const int group = i * 4 + lane_ / 8, in_group = lane_ % 8 * 4;
        const int k = k_of(0, group) - (lane_ & 3) * 8 + in_group;
        if (k < a_.p.k) {
          const std::uint32_t to = smem_address(staged_norm() + group * C::kGroup + in_group);
          asm volatile("cp.async.cg.shared.global [%0],[%1],16;" ::"r"(to),
                       "l"(a_.p.norm_weight + k)
                       : "memory");
        }
      }
      asm volatile("cp.async.commit_group;" ::: "memory");
    }
  }
  __device__ __forceinline__ float* staged_norm() const {  // [kSliceGroups][32]
    return reinterpret_cast<float*>(shared_.carry(0)) + warp_ * C::kSliceGroups * C::kGroup;
  }

  __device__ __forceinline__ std::int64_t x_row(int row) const {
    return (a_.p.row_index == nullptr ? row : a_.p.row_index[row]) * a_.p.x_stride;
  }

  __device__ __forceinline__ void load(int slice) {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
      const int row = h * 8 + (lane_ >> 2);
      const bool live = row < a_.p.rows;
      const std::int64_t start = x_row(live ? row : 0);
      if (!C::kNorms || a_.p.norm_weight == nullptr) {
        load_plain(static_cast<const T*>(a_.p.x) + start, live, slice, h);
        continue;
      }
      const float* x = static_cast<const float*>(a_.p.x) + start;
      // As much at a time as the registers hold: each part waits for the memory once.
#pragma unroll
      for (int part = 0; part < C::kSliceGroups; part += kPart) {
        load_normed<kPart>(x, live, {slice, part, h});
      }
    }
  }

  __device__ __forceinline__ void load_plain(const T* x, bool live, int slice, int h) {
    const T* at = x + k_of(slice, 0);
#pragma unroll
    for (int g = 0; g < C::kSliceGroups; ++g) {
      load_if(x_[h][g], at + (k_of(slice, g) - k_of(slice, 0)), live && k_of(slice, g) < a_.p.k);
    }
#pragma unroll
    for (int g = 0; g < C::kSliceGroups && Weights::kEvenAndOdd; ++g) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const std::uint32_t first = x_[h][g][i], second = x_[h][g][i + 1];
        x_[h][g][i] = __byte_perm(first, second, 0x5410);
        x_[h][g][i + 1] = __byte_perm(first, second, 0x7632);
      }
    }
  }

  // A run of groups of one half of the rows.
  struct Part {
    int slice, first, half;
  };

  // Of the lane's eight k in a group, the first or second four; zeros beyond K.
  __device__ __forceinline__ float4 norm_at(int slice, int group, int i) const {
    if (k_of(slice, group) >= a_.p.k) return make_float4(0, 0, 0, 0);
    if (a_.p.k > C::kSlice) {
      return __ldg(reinterpret_cast<const float4*>(a_.p.norm_weight + k_of(slice, group)) + i);
    }
    return reinterpret_cast<const float4*>(staged_norm() + group * C::kGroup)[(lane_ & 3) * 2 + i];
  }

  // Rows times the norm's weight; the epilogue divides by the root of the mean square.
  template <int kCount>
  __device__ __forceinline__ void load_normed(const float* x, bool live, Part part) {
    const int start = k_of(part.slice, part.first);
    std::uint32_t v[kCount][2][4];
#pragma unroll
    for (int g = 0; g < kCount; ++g) {
      const int k = k_of(part.slice, part.first + g);
      const bool inside = live && k < a_.p.k;
      load_if(v[g][0], x + start + (k - start), inside);
      load_if(v[g][1], x + start + (k - start) + 4, inside);
    }
    if (part.first == 0) {
      asm volatile("cp.async.wait_all;" ::: "memory");
      __syncwarp();
    }
    float sum = squares_[part.half];
#pragma unroll
    for (int g = 0; g < kCount; ++g) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float4 w = norm_at(part.slice, part.first + g, i);
        const float y[4] = {__uint_as_float(v[g][i][0]), __uint_as_float(v[g][i][1]),
                            __uint_as_float(v[g][i][2]), __uint_as_float(v[g][i][3])};
#pragma unroll
        for (int e = 0; e < 4; ++e) sum = fmaf(y[e], y[e], sum);
        std::uint32_t* x2 = &x_[part.half][part.first + g][i * 2];
        const float second = Weights::kEvenAndOdd ? y[2] * w.z : y[1] * w.y;
        const float third = Weights::kEvenAndOdd ? y[1] * w.y : y[2] * w.z;
        x2[0] = Element<T>::pack(y[0] * w.x, second);
        x2[1] = Element<T>::pack(third, y[3] * w.w);
      }
    }
    squares_[part.half] = sum;
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
    mbar_arrive(shared_.red_full + 8 * buffer);
  }

  __device__ __forceinline__ void stage(Sums& sums, int slice, int s) {
    constexpr int kLoads = C::kShareGroups / Weights::kLoadGroups;
    Weights w[kLoads][C::kOctets];
    wait(shared_.full + 8 * ring_.stage, ring_.parity);
    const typename Weights::Place place(shared_.ring + ring_.stage * C::kStageBytes, warp_, lane_);
    std::uint32_t seen = 0;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int group = i * Weights::kLoadGroups;
#pragma unroll
      for (int o = 0; o < C::kOctets; ++o) {
        if constexpr (C::kPacked) {
          // Copies end with the row's last block, and what lies behind it in the stage is stale.
          const int k = k_of(slice, s * C::kShareGroups + group) - (lane_ & 3) * 8;
          w[i][o].clear();
          if (k < a_.p.k) w[i][o].fetch(place, o, group);
        } else {
          w[i][o].fetch(place, o, group);
        }
        seen ^= w[i][o].any();
      }
    }
    // The slot may be refilled only when the loads have returned. The assembler would move a plain
    // arrive right behind the issue of the loads, which may queue behind others: so its address
    // depends on what they return.
    mbar_arrive(shared_.empty + 8 * ring_.stage + (seen & zero_));
    ring_.next();
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
#pragma unroll
      for (int o = 0; o < C::kOctets; ++o) {
        products(sums, w[i][o], o, s * C::kShareGroups + i * Weights::kLoadGroups);
      }
    }
  }

  __device__ __forceinline__ void products(Sums& sums, const Weights& w, int octet, int group) {
#pragma unroll
    for (int j = 0; j < Weights::kLoadGroups; ++j) {
      std::uint32_t b[4];
      w.operand(j, b);
      if constexpr (C::kPacked) {
        float part[4] = {};
        product(part, group + j, 0, b[0], b[1]);
        product(part, group + j, 1, b[2], b[3]);
        const float2 scale = w.scale(j);
        float(&c)[4] = sums.c[j & 1][octet];
        c[0] = fmaf(part[0], scale.x, c[0]);
        c[1] = fmaf(part[1], scale.y, c[1]);
        c[2] = fmaf(part[2], scale.x, c[2]);
        c[3] = fmaf(part[3], scale.y, c[3]);
      } else {
        product(sums.c[0][octet], group, 0, b[0], b[1]);
        product(sums.c[1][octet], group, 1, b[2], b[3]);
      }
    }
  }

  __device__ __forceinline__ void product(float (&c)[4], int group, int step, std::uint32_t b0,
                                          std::uint32_t b1) const {
    const int low = 2 * step, high = 2 * step + 1;
    const std::uint32_t a0 = x_[0][group][low], a2 = x_[0][group][high];
    const std::uint32_t a1 = C::kWide ? x_[kHalves - 1][group][low] : 0u;
    const std::uint32_t a3 = C::kWide ? x_[kHalves - 1][group][high] : 0u;
    // Not volatile: products of different groups may overlap.
    if constexpr (std::is_same_v<T, __half>) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
          "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
          "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
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
