// The converters of prefill: warps of the producer warpgroup that turn blocks of an e4m3 or int8
// cache into bf16 tiles in shared memory, between the copies and the products. About 45 (60)
// instructions for 16 elements, which fit beside the softmax of the consumers.
#pragma once
#include "spate/kernels/cuda/prefill_params.cuh"

namespace spate::cuda {

// Four e4m3 bytes become four bf16, exactly: the bits of exponent and mantissa are moved into
// place, which leaves a factor 2^-120, subnormals included.
__device__ __forceinline__ void e4m3x4_to_bf16(std::uint32_t x, std::uint32_t& low,
                                               std::uint32_t& high) {
  auto widen = [](std::uint32_t w) {
    std::uint32_t r = ((w >> 4) & 0x07f007f0u) | (w & 0x80008000u);
    asm("mul.rn.bf16x2 %0,%0,%1;" : "+r"(r) : "r"(0x7b807b80u));
    return r;
  };
  low = widen(__byte_perm(x, 0, 0x1404));
  high = widen(__byte_perm(x, 0, 0x3424));
}

// Four int8 times a scale: a byte under the mantissa of 2^23 is that number.
__device__ __forceinline__ void int8x4_to_bf16(std::uint32_t x, float scale, std::uint32_t& low,
                                               std::uint32_t& high) {
  const std::uint32_t biased = x ^ 0x80808080u;
  float y[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    y[i] = __uint_as_float(__byte_perm(biased, 0x4b000000u, 0x7440 + i)) - 8388736.f;
    y[i] *= scale;
  }
  low = Element<__nv_bfloat16>::pack(y[0], y[1]);
  high = Element<__nv_bfloat16>::pack(y[2], y[3]);
}

template <class C>
struct PrefillConverter {
  static constexpr int kVectors = C::kHeadDim / 16;  // of 16 elements in a row

  const PrefillShared<C>& s;
  const int thread;  // of kConverters
  Ring<C::kRawStages> raw_ring{0};
  Ring<C::kStages> k_ring{1}, v_ring{1};

  // Rows behind the last key become zeros: 0 * NaN is NaN.
  __device__ __forceinline__ void convert(std::uint32_t raw, std::uint32_t dst, int rows) const {
#pragma unroll 2
    for (int i = thread; i < C::kBlock * kVectors; i += C::kConverters) {
      const auto row = static_cast<std::uint32_t>(i / kVectors);
      const auto vector = static_cast<std::uint32_t>(i % kVectors);
      std::uint32_t x[4] = {}, y[8] = {};
      if (static_cast<int>(row) < rows) {
        load_shared_128(x, raw + kv_offset(row, vector, C::kRawRowBytes));
        if constexpr (C::kFormat == KvFormat::kInt8) {
          const float scale = load_shared_f16(raw + C::kBlock * C::kRawRowBytes + row * 2);
#pragma unroll
          for (int e = 0; e < 4; e++) int8x4_to_bf16(x[e], scale, y[2 * e], y[2 * e + 1]);
        } else {
#pragma unroll
          for (int e = 0; e < 4; e++) e4m3x4_to_bf16(x[e], y[2 * e], y[2 * e + 1]);
        }
      }
      store_shared_128(dst + kv_offset(row, 2 * vector, C::kRowBytes), y[0], y[1], y[2], y[3]);
      store_shared_128(dst + kv_offset(row, 2 * vector + 1, C::kRowBytes), y[4], y[5], y[6], y[7]);
    }
  }

  __device__ __forceinline__ void run() {
    while (true) {
      mbar_wait(s.raw_full + 8 * raw_ring.stage, raw_ring.parity);
      int half, rows;
      asm volatile("ld.shared.v2.b32 {%0,%1},[%2];"
                   : "=r"(half), "=r"(rows)
                   : "r"(s.raw_info + 8 * raw_ring.stage)
                   : "memory");
      if (rows < 0) break;
      const bool key = half == 0;
      const int stage = key ? k_ring.stage : v_ring.stage;
      mbar_wait((key ? s.k_empty : s.v_empty) + 8 * stage, key ? k_ring.parity : v_ring.parity);
      convert(s.raw + raw_ring.stage * C::kRawBytes, (key ? s.k : s.v) + stage * C::kBlockBytes,
              rows);
      fence_async_smem();
      // The stores before it wait for the loads, so the raw stage is free as well.
      mbar_arrive((key ? s.k_full : s.v_full) + 8 * stage);
      mbar_arrive(s.raw_empty + 8 * raw_ring.stage);
      if (key)
        k_ring.next();
      else
        v_ring.next();
      raw_ring.next();
    }
  }
};

}  // namespace spate::cuda
