// The converters of prefill: warps of the producer warpgroup, beside the one that copies, which
// turn blocks of an e4m3 or int8 cache into bf16 tiles in shared memory, between the copies and the
// products: about 24 (32) instructions for 8 elements of e4m3 (int8), beside the softmax of the
// consumers.
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
  static constexpr int kChunks = C::kHeadDim / 8;  // of 8 elements in a row, 16 bytes of bf16
  static constexpr int kUnits = C::kHeadDim / 32;  // chunks of 8 rows for one lane
  static constexpr int kBatch = kUnits < 4 ? kUnits : 4;  // whose loads are in flight together
  static constexpr int kGroups = C::kBlock / 8;

  const PrefillShared<C>& s;
  const int thread;  // of kConverters
  Ring<C::kRawStages> raw_ring{0};
  Ring<C::kStages> k_ring{1}, v_ring{1};

  // Units u .. u + kBatch - 1 of this lane in a group of 8 rows, of which `rows` are keys; the
  // others become zeros: 0 * NaN is NaN. Eight lanes store 128 contiguous bytes.
  __device__ __forceinline__ void convert_units(std::uint32_t raw, std::uint32_t scales,
                                                std::uint32_t dst, int rows, int u) const {
    const int lane = thread & 31;
    std::uint32_t x[kBatch][2], y[4];
#pragma unroll
    for (int e = 0; e < kBatch; e++) {
      const auto unit = static_cast<std::uint32_t>((u + e) * 32 + lane);
      load_shared_64(x[e], raw + kv_offset(unit / kChunks, unit % kChunks / 2, C::kRawRowBytes) +
                               (unit & 1) * 8);
    }
#pragma unroll
    for (int e = 0; e < kBatch; e++) {
      const auto unit = static_cast<std::uint32_t>((u + e) * 32 + lane), row = unit / kChunks;
      if constexpr (C::kFormat == KvFormat::kInt8) {
        const float scale = load_shared_f16(scales + row * C::kRawScaleBytes);
        int8x4_to_bf16(x[e][0], scale, y[0], y[1]);
        int8x4_to_bf16(x[e][1], scale, y[2], y[3]);
      } else {
        e4m3x4_to_bf16(x[e][0], y[0], y[1]);
        e4m3x4_to_bf16(x[e][1], y[2], y[3]);
      }
      if (static_cast<int>(row) >= rows) y[0] = y[1] = y[2] = y[3] = 0;
      store_shared_128(dst + kv_offset(row, unit % kChunks, C::kRowBytes), y[0], y[1], y[2], y[3]);
    }
  }
  // Groups of 8 rows, a warp each.
  __device__ __forceinline__ void convert(std::uint32_t raw, std::uint32_t dst, int rows) const {
    const std::uint32_t scales = raw + C::kBlock * C::kRawRowBytes;
#pragma unroll 1
    for (int g = thread / 32; g < kGroups; g += C::kConverters / 32) {
#pragma unroll
      for (int u = 0; u < kUnits; u += kBatch) {
        convert_units(raw + g * 8 * C::kRawRowBytes, scales + g * 8 * C::kRawScaleBytes,
                      dst + g * 8 * C::kRowBytes, rows - g * 8, u);
      }
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
