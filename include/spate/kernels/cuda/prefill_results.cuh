// The end of a tile of prefill: what a consumer thread stores of its rows.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/prefill_rows.cuh"
#include "spate/kernels/cuda/softmax.cuh"

namespace spate::cuda {

template <class C>
struct PrefillResults {
  using T = typename C::T;
  static constexpr int kOut = C::kHeadDim / 2;  // registers of a thread
  using Softmax = OnlineSoftmax<C::kBlock / 2, C::kLazy, C::kEmulate>;

  const PrefillArguments& args;
  const PrefillParams& p;
  const PrefillShared<C>& s;
  const PrefillRows<C>& rows;
  const bool leader;  // of the warpgroup

  // Natural logarithms of the rows' sums.
  __device__ __forceinline__ void store_lse(const Softmax& softmax, float factor0,
                                            float factor1) const {
    if (p.lse == nullptr || (rows.lane & 3) != 0) return;
    auto store = [&](int row, float max, float sum) {
      if (row >= rows.tile.rows) return;
      const std::int64_t token = rows.tile.q_token + rows.token_of(row);
      p.lse[token * p.q_heads + rows.head_of(row)] = log_sum_exp(max, sum);
    };
    store(rows.first_row, softmax.max0 * factor0, softmax.sum0);
    store(rows.first_row + 8, softmax.max1 * factor1, softmax.sum1);
  }
  __device__ __forceinline__ std::uint32_t staged(int row, int vector) const {
    return s.out + (vector / 8) * C::kTileRows * 128 + row * 128 + (((vector ^ row) & 7) << 4);
  }
  // What O of this thread's two rows must be multiplied by.
  __device__ __forceinline__ float2 normalizers(const Softmax& softmax) const {
    const bool scaled = C::kFormat == KvFormat::kE4M3 && p.v_scale != nullptr;
    const float scale = scaled ? __ldg(p.v_scale + rows.tile.kv_head) : 1.f;
    return make_float2(softmax.sum0 > 0 ? scale / softmax.sum0 : 0,
                       softmax.sum1 > 0 ? scale / softmax.sum1 : 0);
  }
  __device__ __forceinline__ T* output_row(int row) const {
    return static_cast<T*>(p.out) + (rows.tile.q_token + rows.token_of(row)) * p.out_token_stride +
           rows.head_of(row) * p.out_head_stride;
  }
  // From registers: the four lanes of a row exchange pairs of elements for runs of 16 bytes.
  __device__ __forceinline__ void store_direct(const Softmax& softmax,
                                               const float (&out)[kOut]) const {
    static_assert(!C::kOutputDirect || C::kHeadDim % 32 == 0);
    const float2 inv = normalizers(softmax);
    T* const to[2] = {output_row(rows.first_row) + (rows.lane & 3) * 8,
                      output_row(rows.first_row + 8) + (rows.lane & 3) * 8};
#pragma unroll
    for (int c = 0; c < C::kHeadDim / 32; c++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        std::uint32_t x[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* o = out + (c * 4 + i) * 4 + half * 2;
          const float f = half == 0 ? inv.x : inv.y;
          x[i] = Element<T>::pack(o[0] * f, o[1] * f);
        }
        transpose_quad(x);
        if (rows.first_row + half * 8 < rows.tile.rows)
          *reinterpret_cast<uint4*>(to[half] + c * 32) = make_uint4(x[0], x[1], x[2], x[3]);
      }
    }
  }
  __device__ __forceinline__ void stage_output(const Softmax& softmax,
                                               const float (&out)[kOut]) const {
    const auto [inv0, inv1] = normalizers(softmax);
    const int row = rows.group * 64 + rows.warp * 16 + (rows.lane & 15);
#pragma unroll
    for (int c = 0; c < C::kHeadDim / 16; c++) {
      const float* o = out + 8 * c;
      stmatrix_x4(
          staged(row, 2 * c + (rows.lane >> 4)),
          {Element<T>::pack(o[0] * inv0, o[1] * inv0), Element<T>::pack(o[2] * inv1, o[3] * inv1),
           Element<T>::pack(o[4] * inv0, o[5] * inv0), Element<T>::pack(o[6] * inv1, o[7] * inv1)});
    }
    fence_async_smem();
  }
  // Whole warpgroups leave through a tensor copy; the end of a request row by row, since the rows
  // behind it belong to the next one.
  __device__ __forceinline__ void store_output() const {
    const int count = rows.tile.rows - rows.group * 64;
    if (count >= 64) {
      if (leader) {
#pragma unroll
        for (int c = 0; c < C::kChunks; c++) {
          tensor_store(
              &args.map_out, s.out + (c * C::kTileRows + rows.group * 64) * 128,
              {c * 64, 0, rows.tile.q_token + rows.token_of(rows.group * 64), rows.tile.head});
        }
        bulk_commit();
      }
    } else {
      store_rows(count, false);
    }
  }
  // The first `count` rows of this warpgroup, from the staging buffer or zeros.
  __device__ __forceinline__ void store_rows(int count, bool zero) const {
    constexpr int kVectors = C::kHeadDim / 8;
    for (int i = static_cast<int>(threadIdx.x & 127); i < count * kVectors; i += 128) {
      const int row = rows.group * 64 + i / kVectors, vector = i % kVectors;
      std::uint32_t x[4] = {};
      if (!zero) load_shared_128(x, staged(row, vector));
      *reinterpret_cast<uint4*>(output_row(row) + vector * 8) = make_uint4(x[0], x[1], x[2], x[3]);
    }
  }
};

}  // namespace spate::cuda
