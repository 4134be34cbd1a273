// The consumers of the chain product in tiles: warpgroups that each multiply 64 rows of x with the
// rows of W of a tile, and write what becomes of the sums.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_chain_sums.cuh"
#include "spate/kernels/cuda/gemm_chain_tiles_params.cuh"
#include "spate/kernels/cuda/mma.cuh"
#include "spate/kernels/cuda/wgmma_product.cuh"

namespace spate::cuda {

template <class C>
class TileConsumer {
 public:
  __device__ __forceinline__ TileConsumer(const TileArguments& a, const TileShared<C>& shared,
                                          int warp)
      : a_(a), shared_(shared), lane_(static_cast<int>(threadIdx.x) % 32), warp_(warp), ring_(0) {}

  __device__ __forceinline__ void run() {
    const TileWork<C> work{a_};
    const int tiles = work.count();
    grid_dependency_wait();
    for (int i = static_cast<int>(blockIdx.x); i < tiles; i += static_cast<int>(gridDim.x)) {
      tile_ = work.at(i);
      const int own = tile_.first_row + warp_ / 4 * 64;  // the warpgroup's first row
      if (own + 64 <= tile_.row || own >= tile_.row_end) {
        pass_stages();
      } else {
        multiply();
        finish();
      }
    }
  }

 private:
  using T = typename C::T;
  using Sums = ChainSums<T>;

  __device__ __forceinline__ void release() const {
    if (lane_ == 0) mbar_arrive(shared_.empty + 8 * ring_.stage);
  }
  __device__ __forceinline__ void multiply() {
#pragma unroll 1
    for (int chunk = 0; chunk < a_.chunks; ++chunk, ring_.next()) {
      mbar_wait(shared_.full + 8 * ring_.stage, ring_.parity);
      __syncwarp();  // the matrix instructions want the lanes together again
      const std::uint64_t x =
          wgmma_descriptor(shared_.rows(ring_.stage) + warp_ / 4 * 64 * 128, 16, 1024);
      const std::uint64_t w = wgmma_descriptor(shared_.weights(ring_.stage), 16, 1024);
      pin(sums_);
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // 16 k each
        WgmmaScores<T, C::kWidth>::run(sums_, x + i * 2, w + i * 2, i > 0 || chunk > 0);
      }
      wgmma_commit();
      pin(sums_);
      wgmma_wait<0>();  // the other warpgroup's products run meanwhile
      release();
    }
    pin(sums_);
  }
  // A warpgroup without rows lets the stages pass all the same, so as to keep its place.
  __device__ __forceinline__ void pass_stages() {
    for (int chunk = 0; chunk < a_.chunks; ++chunk, ring_.next()) {
      mbar_wait(shared_.full + 8 * ring_.stage, ring_.parity);
      release();
    }
  }

  // ---- sums: sums_[4 i + 2 h + e] is of row g + 8 h of the warp's 16 and of column 8 i + 2 t + e
  // of the operand (g = lane / 4, t = lane % 4).

  __device__ __forceinline__ int first_row() const { return tile_.first_row + warp_ * 16; }
  __device__ __forceinline__ bool has_row(int row) const {
    return row >= tile_.row && row < tile_.row_end;
  }
  __device__ __forceinline__ bool has_column(int column) const {
    return column >= tile_.column && column < tile_.column_end;
  }

  // What stands outside of the loops over sums is not inlined into each of them: with the
  // activation's choices inside, a tile's end was 100 KB of code and a quarter of its time.
  __device__ __forceinline__ void finish() {
    if (a_.p.bias != nullptr) add_bias();
    if (a_.p.output == ProductOutput::kGated) return finish_gated();
    store_narrow<C::kWidth>([&](int octet, int h) {
      return Element<T>::pack(sums_[4 * octet + 2 * h], sums_[4 * octet + 2 * h + 1]);
    });
  }
  __device__ __forceinline__ void add_bias() {
    const int n = static_cast<int>(a_.p.n);
#pragma unroll
    for (int i = 0; i < C::kWidth / 8; ++i) {
      const int half = i >= C::kWidth / 16 ? 1 : 0;
      const int first = TileWork<C>{a_}.half(tile_, half) - half * C::kWidth / 2;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float bias = __ldg(a_.p.bias + min(first + i * 8 + lane_ % 4 * 2 + e, n - 1));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float& y = sums_[4 * i + 2 * h + e];
          y = Sums::biased(a_.p.output, y, bias);
        }
      }
    }
  }
  __device__ __forceinline__ void finish_gated() {
    switch (a_.p.activation) {
      case RowActivation::kSilu:
        return store_gated<RowActivation::kSilu>();
      case RowActivation::kGelu:
        return store_gated<RowActivation::kGelu>();
      case RowActivation::kGeluTanh:
        return store_gated<RowActivation::kGeluTanh>();
      case RowActivation::kRelu:
        return store_gated<RowActivation::kRelu>();
      default:
        return store_gated<RowActivation::kQuickGelu>();
    }
  }
  template <RowActivation kActivation>
  __device__ __forceinline__ void store_gated() {
    const auto gated = [&](int octet, int h, int e) {
      const int at = 4 * octet + 2 * h + e;
      return Sums::gated(kActivation, sums_[at], sums_[at + C::kWidth / 4]);
    };
    store_narrow<C::kWidth / 2>(
        [&](int octet, int h) { return Element<T>::pack(gated(octet, h, 0), gated(octet, h, 1)); });
  }

  // `pair_of(octet, h)`: columns 8 octet + 2 t and + 1 of row g + 8 h. Through the warp's own part
  // of shared memory, 64 columns at a time.
  template <int kColumns, class Pair>
  __device__ __forceinline__ void store_narrow(const Pair& pair_of) const {
    const std::uint32_t own = shared_.out + warp_ * C::kOutBytes;
#pragma unroll
    for (int part = 0; part < kColumns; part += 64) {
      const int width = kColumns - part < 64 ? kColumns - part : 64;
      __syncwarp();
#pragma unroll
      for (int c = 0; c < width; c += 16) {
        const int octet = (part + c) / 8;
        const std::uint32_t to = own + lane_ % 16 * C::kOutPitch + c * 2 + lane_ / 16 * 16;
        stmatrix_x4(to, {pair_of(octet, 0), pair_of(octet, 1), pair_of(octet + 1, 0),
                         pair_of(octet + 1, 1)});
      }
      __syncwarp();
      const int at = tile_.first_column + part + lane_ % 8 * 8;
      if (lane_ % 8 * 8 >= width || !has_column(at)) continue;
#pragma unroll
      for (int r = lane_ / 8; r < 16; r += 4) {
        const int row = first_row() + r;
        if (!has_row(row)) continue;
        std::uint32_t v[4];
        load_shared_128(v, own + r * C::kOutPitch + lane_ % 8 * 16);
        *reinterpret_cast<uint4*>(static_cast<T*>(a_.p.out) + row * a_.p.out_stride + at) =
            make_uint4(v[0], v[1], v[2], v[3]);
      }
    }
  }

  const TileArguments& a_;
  const TileShared<C>& shared_;
  int lane_, warp_;
  Ring<C::kStages> ring_;
  ResultTile tile_;
  float sums_[C::kWidth / 2];
};

}  // namespace spate::cuda
