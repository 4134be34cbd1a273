// The epilogue of the streaming product: three warps take the tiles in turn, add the consumers'
// partial sums in a fixed order, and finish the values: norm, scales, bias, residual or gate.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/gemm_stream_params.cuh"
#include "spate/kernels/cuda/mma.cuh"

namespace spate::cuda {

__device__ __forceinline__ float stream_activation(RowActivation kind, float x) {
  switch (kind) {
    case RowActivation::kSilu:
      return x / (1.F + __expf(-x));
    case RowActivation::kGelu:
      return 0.5F * x * (1.F + erff(x * 0.70710678F));
    case RowActivation::kGeluTanh: {
      const float inner = 1.59576912F * fmaf(0.044715F * x * x, x, x);
      return x / (1.F + __expf(-inner));
    }
    case RowActivation::kRelu:
      return fmaxf(x, 0.F);
    default:
      return x / (1.F + __expf(-1.702F * x));
  }
}

template <class C>
class StreamEpilogue {
 public:
  __device__ __forceinline__ StreamEpilogue(const StreamArguments& a, const StreamShared<C>& shared,
                                            int warp)
      : a_(a), shared_(shared), lane_(static_cast<int>(threadIdx.x) % 32), warp_(warp) {}

  __device__ __forceinline__ void run() {
    const StreamWork<C> work(a_);
    grid_dependency_wait();
    std::uint32_t parity = 0;
    for (int first = 0; first < work.tiles; first += work.group) {
      const int count = min(work.group, work.tiles - first);
      for (int slice = 0; slice < work.slices; ++slice) {
        for (int i = warp_; i < count; i += C::kEpilogues, parity ^= 1) {
          const bool last = slice + 1 == work.slices;
          tile(StreamWork<C>::tile(first + i), i, parity, slice > 0, last);
        }
      }
    }
  }

 private:
  // A tile has kQuads float4 a token; a lane takes kParts of them, of one or two tokens.
  static constexpr int kQuads = 2 * C::kOctets;
  static constexpr int kAll = C::kTokens * kQuads;
  static constexpr int kParts = kAll >= 32 ? kAll / 32 : 1;

  static __device__ __forceinline__ void add(float4& a, const float4& b) {
    a.x += b.x;
    a.y += b.y;
    a.z += b.z;
    a.w += b.w;
  }
  static __device__ __forceinline__ void scale(float4& a, const float4& b) {
    a.x *= b.x;
    a.y *= b.y;
    a.z *= b.z;
    a.w *= b.w;
  }
  __device__ __forceinline__ bool is_gated() const { return a_.p.output == ProductOutput::kGated; }

  // Which float4 is part i of this lane.
  __device__ __forceinline__ int token(int i) const { return (lane_ + 32 * i) / kQuads; }
  __device__ __forceinline__ int quad() const { return lane_ % kQuads; }

  __device__ __forceinline__ void tile(int u, int carried, std::uint32_t parity, bool add_carry,
                                       bool last) {
    const bool active = lane_ < kAll;
    const int octet = quad() / 2;
    const std::int64_t w_row = StreamWork<C>::row(a_, u, octet) + quad() % 2 * 4;
    float4 old[kParts] = {}, sum[kParts] = {};
    if (last && active && a_.p.output == ProductOutput::kAddF32) {
#pragma unroll
      for (int i = 0; i < kParts; ++i) {
        if (token(i) < a_.p.rows) old[i] = *out_f32(token(i), w_row);
      }
    }
    mbar_wait(shared_.red_full + 8 * warp_, parity);
    __syncwarp();
    if (active) {
#pragma unroll
      for (int i = 0; i < kParts; ++i) sum[i] = total(token(i));
    }
    // See StreamConsumer::stage for why the address depends on the values.
    const std::uint32_t seen = __float_as_uint(sum[0].x) ^ __float_as_uint(sum[kParts - 1].w);
    const std::uint32_t zero = static_cast<std::uint32_t>(a_.p.rows) >> 16;
    mbar_arrive(shared_.red_empty + 8 * warp_ + (seen & zero));
    carry(sum, carried, add_carry, last);
    if (!last) return;
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      if (active) finish(sum[i], token(i), w_row);
      if (active && a_.p.output == ProductOutput::kAddF32) add(sum[i], old[i]);
      store(sum[i], token(i), u, w_row);
    }
  }

  __device__ __forceinline__ float4 total(int t) const {
    float4 sum = part(0, t);
#pragma unroll
    for (int w = 1; w < C::kWarps; ++w) add(sum, part(w, t));
    return sum;
  }
  __device__ __forceinline__ float4 part(int w, int t) const {
    return reinterpret_cast<const float4*>(shared_.red(warp_, w) + t * C::kPitch)[quad()];
  }

  // Sums over the slices before this one.
  __device__ __forceinline__ void carry(float4 (&sum)[kParts], int carried, bool add_carry,
                                        bool last) const {
    if (lane_ >= kAll) return;
    float4* at = shared_.carry(carried) + lane_;
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      if (add_carry) {
        float4 before = at[32 * i];
        add(before, sum[i]);
        sum[i] = before;
      }
      if (!last) at[32 * i] = sum[i];
    }
  }

  __device__ __forceinline__ void finish(float4& y, int t, std::int64_t w_row) const {
    if (C::kNorms && a_.p.norm_weight != nullptr) {
      float squares = 0;
#pragma unroll
      for (int w = 0; w < C::kWarps; ++w) squares += shared_.squares(w)[t];
      const float r = rsqrtf(squares / static_cast<float>(a_.p.k) + a_.p.norm_eps);
      scale(y, make_float4(r, r, r, r));
    }
    if (C::kFormat == StreamFormat::kFp8) {
      scale(y, __ldg(reinterpret_cast<const float4*>(a_.p.weight_scales + w_row)));
    }
    if (a_.p.bias != nullptr) add(y, __ldg(reinterpret_cast<const float4*>(a_.p.bias + w_row)));
  }

  __device__ __forceinline__ float4* out_f32(int t, std::int64_t column) const {
    return reinterpret_cast<float4*>(static_cast<float*>(a_.p.out) + t * a_.p.out_stride + column);
  }
  __device__ __forceinline__ void store_narrow(const float4& y, int t, std::int64_t column) const {
    using T = typename C::T;
    auto* row = static_cast<T*>(a_.p.out) + t * a_.p.out_stride;
    *reinterpret_cast<uint2*>(row + column) =
        make_uint2(Element<T>::pack(y.x, y.y), Element<T>::pack(y.z, y.w));
  }

  __device__ __forceinline__ void store(const float4& y, int t, int u, std::int64_t w_row) const {
    if (C::kOctets == 2 && is_gated()) return store_gated(y, t, u);
    if (lane_ >= kAll || t >= a_.p.rows) return;
    if (a_.p.output == ProductOutput::kNarrow) {
      store_narrow(y, t, w_row);
    } else {
      *out_f32(t, w_row) = y;
    }
  }

  // Lanes with gate (quads 0 and 1) take up from two lanes further.
  __device__ __forceinline__ void store_gated(const float4& y, int t, int u) const {
    float4 up;
    up.x = __shfl_down_sync(~0u, y.x, 2);
    up.y = __shfl_down_sync(~0u, y.y, 2);
    up.z = __shfl_down_sync(~0u, y.z, 2);
    up.w = __shfl_down_sync(~0u, y.w, 2);
    if (quad() >= 2 || t >= a_.p.rows) return;
    up.x *= stream_activation(a_.p.activation, y.x);
    up.y *= stream_activation(a_.p.activation, y.y);
    up.z *= stream_activation(a_.p.activation, y.z);
    up.w *= stream_activation(a_.p.activation, y.w);
    store_narrow(up, t, u * 8 + quad() * 4);
  }

  const StreamArguments& a_;
  const StreamShared<C>& shared_;
  int lane_, warp_;
};

}  // namespace spate::cuda
