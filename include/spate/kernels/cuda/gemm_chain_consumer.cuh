// The consumers of the chain product: warps that each run a tile of W, as A operands, past x.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_sums.cuh"
#include "spate/kernels/cuda/mma.cuh"

namespace spate::cuda {

template <class C>
class ChainConsumer {
 public:
  __device__ __forceinline__ ChainConsumer(const ChainArguments& a, const ChainShared<C>& shared,
                                           int warp)
      : a_(a),
        shared_(shared),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(warp),
        zero_(static_cast<std::uint32_t>(a.p.rows) >> 16) {
    const int row = lane_ % 8;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int piece = C::kOctets == 2 ? 2 * i + lane_ / 16 : 4 * i + lane_ / 8;
      const int octet = C::kOctets == 2 ? lane_ / 8 % 2 : 0;
      weight_offset_[i] =
          static_cast<std::uint32_t>(octet * C::kOctetBytes + row * 128 + (piece ^ row) * 16);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int piece = 4 * i + lane_ / 8;
      row_offset_[i] = static_cast<std::uint32_t>(row * 128 + (piece ^ row) * 16);
    }
  }

  __device__ __forceinline__ void run() {
    const ChainWork<C> work(a_);
    grid_dependency_wait();
    for (int first = 0; first < work.tiles; first += work.group) {
      const int count = min(work.group, work.tiles - first);
      if (warp_ < count) {
        const int tile = ChainWork<C>::tile(first + warp_);
        load_old(tile);
        stage_ = issued_ + warp_;
        multiply(count);
        finish(tile);
      } else {
        pass_rows();
      }
      issued_ += count * a_.slabs;
    }
  }

 private:
  using T = typename C::T;
  using Sums = ChainSums<T>;
  static constexpr int kLoads = C::kOctets == 2 ? 4 : 2;  // of W, in a chunk
  static constexpr int kTokenOctets = C::kTokens / 8;

  // Operands of 64 k.
  struct Operands {
    std::uint32_t w[kLoads][4], x[kTokenOctets][2][4];
  };

  __device__ __forceinline__ void wait(std::uint32_t bar, std::uint32_t parity) const {
    mbar_wait(bar, parity);
    __syncwarp();  // the matrix instructions want the lanes together again
  }

  __device__ __forceinline__ std::uint32_t weight_parity() const {
    return static_cast<std::uint32_t>(stage_ / C::kStages & 1);
  }
  // Whether the next slab of the tile and of x have come.
  __device__ __forceinline__ bool slab_is_there() const {
    const bool weights =
        mbar_test(shared_.weight_full + 8 * (stage_ % C::kStages), weight_parity());
    const bool rows = mbar_test(shared_.row_full + 8 * row_.stage, row_.parity);
    return __all_sync(~0u, weights && rows) != 0;
  }
  // Where this lane loads the next slab from.
  __device__ __forceinline__ void enter_slab() {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      weight_at_[i] = shared_.weights +
                      static_cast<std::uint32_t>(stage_ % C::kStages * C::kStageBytes) +
                      weight_offset_[i];
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      row_at_[i] =
          shared_.rows + static_cast<std::uint32_t>(row_.stage * C::kRowBytes) + row_offset_[i];
    }
  }
  // Waits for the next slab; its first operands.
  __device__ __forceinline__ void begin_slab(Operands& first) {
    wait(shared_.weight_full + 8 * (stage_ % C::kStages), weight_parity());
    wait(shared_.row_full + 8 * row_.stage, row_.parity);
    enter_slab();
    load(first, 0);
  }

  __device__ __forceinline__ void load(Operands& o, int chunk) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) ldmatrix_x4(o.w[i], weight_at_[i] + chunk * 1024);
#pragma unroll
    for (int t = 0; t < kTokenOctets; ++t) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        ldmatrix_x4(o.x[t][i], row_at_[i] + chunk * C::kRowChunkBytes + t * 1024);
      }
    }
    // Keeps the assembler from moving loads to just before their use, to save registers.
    __syncwarp();
  }
  // One of the four links that a chunk is of each chain.
  __device__ __forceinline__ void link(const Operands& o, int s) {
    std::uint32_t w[4];
    if constexpr (C::kOctets == 2) {
#pragma unroll
      for (int i = 0; i < 4; ++i) w[i] = o.w[s][i];
    } else {
      w[0] = o.w[s / 2][s % 2 * 2], w[2] = o.w[s / 2][s % 2 * 2 + 1];
      w[1] = w[3] = 0;
    }
#pragma unroll
    for (int t = 0; t < kTokenOctets; ++t) {
      const std::uint32_t x[2] = {o.x[t][s / 2][s % 2 * 2], o.x[t][s / 2][s % 2 * 2 + 1]};
      Element<T>::mma(sums_[t], w, x);
    }
  }

  __device__ __forceinline__ void links(const Operands& o) {
#pragma unroll
    for (int s = 0; s < 4; ++s) link(o, s);
  }

  // Operands are loaded a chunk ahead, also from one slab to the next, so that nothing stands
  // between the links of a chain.
  __device__ __forceinline__ void multiply(int count) {
#pragma unroll
    for (int i = 0; i < 4 * kTokenOctets; ++i) sums_[i / 4][i % 4] = 0;
    Operands operands[2];
    begin_slab(operands[0]);
#pragma unroll 1
    for (int slab = 0; slab < a_.slabs; ++slab) {
#pragma unroll
      for (int c = 0; c < C::kChunks - 2; ++c) {
        load(operands[(c + 1) % 2], c + 1);
        links(operands[c % 2]);
      }
      load(operands[1], C::kChunks - 1);
      const int read = stage_ % C::kStages, read_row = row_.stage;
      stage_ += count;
      row_.next();
      const bool more = slab + 1 < a_.slabs, early = more && slab_is_there();
      links(operands[0]);
      if (early) {
        enter_slab();
        load(operands[0], 0);
      }
      links(operands[1]);
      release(operands[1], read, read_row);
      if (more && !early) begin_slab(operands[0]);
    }
  }
  // The slots may be refilled only when the loads have returned. The assembler would move a plain
  // arrive right behind the issue of the loads: so its address depends on what they return.
  __device__ __forceinline__ void release(const Operands& last, int slot, int row_slot) const {
    std::uint32_t seen = 0;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) seen ^= last.w[i][0];
#pragma unroll
    for (int i = 0; i < 2 * kTokenOctets; ++i) seen ^= last.x[i / 2][i % 2][0];
    __syncwarp();
    if (lane_ == 0) {
      mbar_arrive(shared_.weight_empty + 8 * slot + (seen & zero_));
      mbar_arrive(shared_.row_empty + 8 * row_slot + (seen & zero_));
    }
  }
  // A consumer without a tile lets x pass all the same, so as to keep its place in the ring.
  __device__ __forceinline__ void pass_rows() {
    for (int slab = 0; slab < a_.slabs; ++slab, row_.next()) {
      wait(shared_.row_full + 8 * row_.stage, row_.parity);
      if (lane_ == 0) mbar_arrive(shared_.row_empty + 8 * row_.stage);
    }
  }

  // ---- sums: sums_[o][2 h + e] is of row 8 o + 2 t + e of x and of row g of octet h of the tile
  // (g = lane / 4, t = lane % 4).

  __device__ __forceinline__ int token(int i) const { return i / 4 * 8 + lane_ % 4 * 2 + i % 2; }
  __device__ __forceinline__ int row(int tile, int octet) const {
    return ChainWork<C>::row(a_, tile, octet) + lane_ / 4;
  }
  __device__ __forceinline__ bool stores(int tile, int i) const {
    const int octet = i / 2 % 2;
    return token(i) < a_.p.rows && octet < C::kOctets && row(tile, octet) < a_.p.n;
  }
  __device__ __forceinline__ float* out_f32(int tile, int i) const {
    return static_cast<float*>(a_.p.out) + token(i) * a_.p.out_stride + row(tile, i / 2 % 2);
  }
  __device__ __forceinline__ void load_old(int tile) {
    if (a_.p.output != ProductOutput::kAddF32) return;
#pragma unroll
    for (int i = 0; i < 4 * kTokenOctets; ++i) {
      old_[i] = stores(tile, i) ? *out_f32(tile, i) : 0.F;
    }
  }
  __device__ __forceinline__ void store_narrow(int i, int column, float y) const {
    static_cast<T*>(a_.p.out)[token(i) * a_.p.out_stride + column] = static_cast<T>(y);
  }

  __device__ __forceinline__ void add_bias(int tile) {
#pragma unroll
    for (int i = 0; i < 4 * kTokenOctets; ++i) {
      if (!stores(tile, i)) continue;
      float& y = sums_[i / 4][i % 4];
      y = Sums::biased(a_.p.output, y, __ldg(a_.p.bias + row(tile, i / 2 % 2)));
    }
  }

  __device__ __forceinline__ void finish(int tile) {
    if (a_.p.bias != nullptr) add_bias(tile);
    if (a_.p.output == ProductOutput::kAddF32) {
#pragma unroll
      for (int i = 0; i < 4 * kTokenOctets; ++i) sums_[i / 4][i % 4] += old_[i];
    }
    if (C::kOctets == 2 && a_.p.output == ProductOutput::kGated) return finish_gated(tile);
#pragma unroll
    for (int i = 0; i < 4 * kTokenOctets; ++i) {
      if (!stores(tile, i)) continue;
      const float y = sums_[i / 4][i % 4];
      if (a_.p.output == ProductOutput::kNarrow) {
        store_narrow(i, row(tile, i / 2 % 2), y);
      } else {
        *out_f32(tile, i) = y;
      }
    }
  }
  __device__ __forceinline__ void finish_gated(int tile) const {
#pragma unroll
    for (int i = 0; i < 4 * kTokenOctets; ++i) {
      if (i % 4 >= 2 || token(i) >= a_.p.rows) continue;
      const float gate = sums_[i / 4][i % 4], up = sums_[i / 4][i % 4 + 2];
      store_narrow(i, row(tile, 0), Sums::gated(a_.p.activation, gate, up));
    }
  }

  const ChainArguments& a_;
  const ChainShared<C>& shared_;
  int lane_, warp_;
  std::uint32_t zero_;  // known to be 0 at run time only
  int issued_ = 0, stage_ = 0;
  Ring<C::kRowStages> row_{0};
  std::uint32_t weight_offset_[kLoads], weight_at_[kLoads], row_offset_[2], row_at_[2];
  float sums_[kTokenOctets][4];
  float old_[4 * kTokenOctets];
};

}  // namespace spate::cuda
