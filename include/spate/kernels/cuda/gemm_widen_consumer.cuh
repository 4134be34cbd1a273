// The consumers of the widening product: four warpgroups, each with 64 rows of W, which it turns
// into A operands as they come, and sums for all rows of the tile of x. Sums of blocks that share a
// tile (parts of k) are added up through the cluster's shared memory, in the order of k.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_widen_params.cuh"
#include "spate/kernels/cuda/gemm_widen_weights.cuh"
#include "spate/kernels/cuda/wgmma_product.cuh"

namespace spate::cuda {

__device__ __forceinline__ float4 load_cluster_f32x4(std::uint32_t address, std::uint32_t rank) {
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(cluster_address(address, rank))
               : "memory");
  return v;
}

template <class C>
class WidenConsumer {
 public:
  __device__ __forceinline__ WidenConsumer(const WidenArguments& a, const WidenShared<C>& shared)
      : a_(a),
        shared_(shared),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(__shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0)),
        zero_(static_cast<std::uint32_t>(a.p.rows) >> 30) {}

  __device__ __forceinline__ void run() {
    const WidenWork<C> work(a_);
    grid_dependency_wait();
    for (int item = work.first_item; item < a_.items; item += work.item_step) {
      multiply(work);
      const int column = WidenWork<C>::column(a_, item), row = WidenWork<C>::row(a_, item);
      if (a_.splits == 1) {
        store_sums(column, row);
      } else {
        add_up(work.rank, column, row);
      }
    }
  }

 private:
  using Bf16 = Element<__nv_bfloat16>;

  __device__ __forceinline__ void wait(std::uint32_t bar, std::uint32_t parity) const {
    mbar_wait(bar, parity);
    __syncwarp();  // the matrix instructions want the lanes together again
  }
  __device__ __forceinline__ int warpgroup() const { return warp_ / 4; }

  __device__ __forceinline__ void multiply(const WidenWork<C>& work) {
#pragma unroll
    for (float& sum : sums_) sum = 0;
    for (int b = 0; b < work.blocks; ++b) {
      const int slot = weight_ring_.stage * C::kWarpgroups + warpgroup();
      wait(shared_.weight_full + 8 * slot, weight_ring_.parity);
      const std::uint32_t part =
          shared_.weights + slot * C::kPartBytes + warp_ % 4 * 2 * C::Layout::kBlockBytes;
      weights_.fetch_scales(part, lane_, 0);
#pragma unroll
      for (int c = 0; c < C::kBlockChunks; ++c) chunk(part, c, b == 0 && c == 0);
      // The slot may be refilled only when the loads have returned. The assembler would move a
      // plain arrive right behind the issue of the loads: so its address depends on what they
      // return.
      mbar_arrive(shared_.weight_empty + 8 * slot + (weights_.any() & zero_));
      weight_ring_.next();
    }
    wgmma_wait<0>();
    pin(sums_);
    release(before(chunk_ring_.stage));
  }
  static __device__ __forceinline__ int before(int stage) {
    return stage == 0 ? C::kChunkStages - 1 : stage - 1;
  }

  // 128 k. Operands of 32 k are made while the products of the 32 before are under way.
  __device__ __forceinline__ void chunk(std::uint32_t part, int c, bool first) {
    constexpr int kGroups = C::kChunk / kQuantGroup;
    const int stage = chunk_ring_.stage;
    wait(shared_.chunk_full + 8 * stage, chunk_ring_.parity);
    const std::uint64_t rows = wgmma_descriptor(shared_.chunks + stage * C::kChunkBytes, 16, 1024);
    const auto low = static_cast<std::uint32_t>(rows);  // steps change this half alone
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int group = c * kGroups + g;
      std::uint32_t(&operands)[8] = operands_[g % 2];
      if (g % WidenWeights<C>::kGroups == 0) weights_.fetch(part, lane_, group);
      const float scale[2] = {widened(weights_.scales[0]), widened(weights_.scales[1])};
      if (group + 1 < C::kBlockChunks * kGroups) weights_.fetch_scales(part, lane_, group + 1);
      wgmma_wait<1>();
      pin(operands);
      if (g == 1 && !first) release(before(stage));
      weights_.operands(scale, group, operands);
      pin(operands);
      pin(sums_);
      wgmma_fence();
#pragma unroll
      for (int s = 0; s < 2; ++s) {  // 16 k, 32 bytes of a row
        const int at = g / 2 * C::kBoxBytes + g % 2 * 64 + s * 32;
        WgmmaProduct<__nv_bfloat16, C::kRows>::run(sums_, operands + 4 * s,
                                                   rows >> 32 << 32 | (low + at / 16));
      }
      wgmma_commit();
    }
    chunk_ring_.next();
  }
  static __device__ __forceinline__ float widened(unsigned short half) {
    return __half2float(__ushort_as_half(half));
  }
  __device__ __forceinline__ void release(int stage) const {
    if (lane_ == 0) mbar_arrive(shared_.chunk_empty + 8 * stage);
  }

  // ---- sums: sums_[4 i + 2 h + e] is of row 8 i + 2 t + e of x and row lane / 4 + 8 h of the
  // warp's 16 of W (t = lane % 4).

  __device__ __forceinline__ float* out_f32(int row, int column) const {
    return static_cast<float*>(a_.p.out) + row * a_.p.out_stride + column;
  }
  __device__ __forceinline__ void store_sums(int column, int row) {
    const int mine = column + warp_ * 16 + lane_ / 4;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int at = mine + 8 * h;
      const bool inside = at < a_.p.n;  // the same for all lanes: n is a multiple of 8
      const float bias = inside && a_.p.bias != nullptr ? a_.p.bias[at] : 0.F;
#pragma unroll
      for (int i = 0; i < C::kRows / 8; ++i) {
        const float y[2] = {sums_[4 * i + 2 * h] + bias, sums_[4 * i + 2 * h + 1] + bias};
        const int first = row + 8 * i + lane_ % 4 * 2;
        if (!inside) continue;
        if (a_.p.output == ProductOutput::kNarrow) {
          store_pair(y, first, at);
        } else {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            if (first + e >= a_.p.rows) continue;
            float* to = out_f32(first + e, at);
            *to = a_.p.output == ProductOutput::kAddF32 ? *to + y[e] : y[e];
          }
        }
      }
    }
  }
  // Neighbours in W exchange values, so that each stores a pair of one row of x.
  __device__ __forceinline__ void store_pair(const float (&y)[2], int first, int column) const {
    const bool odd = lane_ / 4 % 2 == 1;
    const float other = __shfl_xor_sync(~0u, odd ? y[0] : y[1], 4);
    const int row = first + (odd ? 1 : 0);
    if (row >= a_.p.rows) return;
    auto* to = static_cast<__nv_bfloat16*>(a_.p.out) + row * a_.p.out_stride;
    const std::uint32_t pair = odd ? Bf16::pack(other, y[1]) : Bf16::pack(y[0], other);
    *reinterpret_cast<std::uint32_t*>(to + column / 2 * 2) = pair;
  }

  // Every block of the cluster adds up, and stores, some rows of the tile.
  __device__ __forceinline__ void add_up(int rank, int column, int row) {
    barrier_sync(1, C::kConsumers);  // the rings are read: sums may lie over them
    const int mine = warp_ * 16 + lane_ / 4;
#pragma unroll
    for (int i = 0; i < C::kRows / 2; ++i) {
      const int x_row = i / 4 * 8 + lane_ % 4 * 2 + i % 2, w_row = mine + i / 2 % 2 * 8;
      asm volatile("st.shared.f32 [%0], %1;" ::"r"(sum_at(x_row, w_row)), "f"(sums_[i]) : "memory");
    }
    cluster_sync();
    const int live = min(C::kRows, a_.p.rows - row), w_row = static_cast<int>(threadIdx.x) % 64 * 4;
    const int at = column + w_row;
    if (at < a_.p.n) {
      constexpr int kAtOnce = C::kConsumers / 64;
      for (int r = rank + static_cast<int>(threadIdx.x) / 64 * a_.splits; r < live;
           r += kAtOnce * a_.splits) {
        float4 sum = load_cluster_f32x4(sum_at(r, w_row), 0);
        for (int other = 1; other < a_.splits; ++other) {
          add(sum, load_cluster_f32x4(sum_at(r, w_row), static_cast<std::uint32_t>(other)));
        }
        store_four(sum, row + r, at);
      }
    }
    fence_async_smem();  // copies will overwrite what was read here
    cluster_sync();
  }
  __device__ __forceinline__ std::uint32_t sum_at(int x_row, int w_row) const {
    return shared_.chunks + static_cast<std::uint32_t>(x_row * C::kPitch + w_row) * 4;
  }
  static __device__ __forceinline__ void add(float4& a, const float4& b) {
    a.x += b.x;
    a.y += b.y;
    a.z += b.z;
    a.w += b.w;
  }
  __device__ __forceinline__ void store_four(float4 y, int row, int column) const {
    if (a_.p.bias != nullptr) add(y, __ldg(reinterpret_cast<const float4*>(a_.p.bias + column)));
    if (a_.p.output == ProductOutput::kNarrow) {
      auto* to = static_cast<__nv_bfloat16*>(a_.p.out) + row * a_.p.out_stride + column;
      *reinterpret_cast<uint2*>(to) = make_uint2(Bf16::pack(y.x, y.y), Bf16::pack(y.z, y.w));
      return;
    }
    auto* to = reinterpret_cast<float4*>(out_f32(row, column));
    if (a_.p.output == ProductOutput::kAddF32) add(y, *to);
    *to = y;
  }

  const WidenArguments& a_;
  const WidenShared<C>& shared_;
  int lane_, warp_;
  std::uint32_t zero_;  // known to be 0 at run time only
  Ring<C::kChunkStages> chunk_ring_{0};
  Ring<C::kWeightStages> weight_ring_{0};
  WidenWeights<C> weights_;
  std::uint32_t operands_[2][8];
  float sums_[C::kRows / 2];
};

}  // namespace spate::cuda
