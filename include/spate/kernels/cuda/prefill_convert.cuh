// The converters of prefill: warps beside the one that copies, which turn blocks of an e4m3 or int8
// cache into f16 tiles in shared memory, between the copies and the products: 4 (14) instructions
// for 8 elements of e4m3 (int8), beside the softmax of the consumers.
#pragma once
#include "spate/kernels/cuda/prefill_params.cuh"

namespace spate::cuda {

// A warp's 16 rows of queries, from `rows` on in every 64 columns, become f16 in place, each times
// a power of two of its own. Returns what undoes that for rows lane / 4 and lane / 4 + 8.
template <class C>
__device__ __forceinline__ float2 prefill_convert_query(std::uint32_t rows) {
  using T = typename C::T;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  float down[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {  // rows 4 * i + lane / 8, 16 bytes of each chunk
    const std::uint32_t at = rows + i * 512 + lane * 16;
    std::uint32_t x[C::kChunks][4];
    float largest = 0;
#pragma unroll
    for (int c = 0; c < C::kChunks; c++) {
      load_shared_128(x[c], at + c * C::kTileRows * 128);
#pragma unroll
      for (const std::uint32_t y : x[c])
        largest = fmaxf(largest, fmaxf(fabsf(Element<T>::low(y)), fabsf(Element<T>::high(y))));
    }
#pragma unroll
    for (int e = 1; e < 8; e *= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, e));
    const F16Scale scale = F16Scale::of(largest);
#pragma unroll
    for (int c = 0; c < C::kChunks; c++) {
#pragma unroll
      for (std::uint32_t& y : x[c])
        y = Element<__half>::pack(Element<T>::low(y) * scale.up, Element<T>::high(y) * scale.up);
      store_shared_128(at + c * C::kTileRows * 128, x[c][0], x[c][1], x[c][2], x[c][3]);
    }
    down[i] = __shfl_sync(~0u, scale.down, (lane >> 2 & 3) * 8);  // of row 4 * i + lane / 4 % 4
  }
  fence_async_smem();
  return lane < 16 ? make_float2(down[0], down[2]) : make_float2(down[1], down[3]);
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
  int next_group = thread / 32;

  // Units u .. u + kBatch - 1 of this lane in a group of 8 rows, of which `rows` are keys; the
  // others become zeros: 0 * NaN is NaN. Eight lanes store 128 contiguous bytes.
  __device__ __forceinline__ void convert_units(std::uint32_t raw, std::uint32_t scales,
                                                std::uint32_t dst, int rows, int u) const {
    const int lane = thread & 31;
    std::uint32_t x[kBatch][2], y[4];
    unsigned short scale[kBatch];
#pragma unroll
    for (int e = 0; e < kBatch; e++) {
      const auto unit = static_cast<std::uint32_t>((u + e) * 32 + lane);
      if constexpr (C::kFormat == KvFormat::kInt8)
        scale[e] = load_shared_u16(scales + unit / kChunks * C::kRawScaleBytes);
      load_shared_64(x[e], raw + kv_offset(unit / kChunks, unit % kChunks / 2, C::kRawRowBytes) +
                               (unit & 1) * 8);
    }
#pragma unroll
    for (int e = 0; e < kBatch; e++) {
      const auto unit = static_cast<std::uint32_t>((u + e) * 32 + lane), row = unit / kChunks;
      if constexpr (C::kFormat == KvFormat::kInt8) {
        int8x4_to_f16(x[e][0], y[0], y[1]);
        int8x4_to_f16(x[e][1], y[2], y[3]);
        scale_f16(y, scale[e]);
      } else {
        e4m3x4_to_f16(x[e][0], y[0], y[1]);
        e4m3x4_to_f16(x[e][1], y[2], y[3]);
      }
      if (rows < 8 && static_cast<int>(row) >= rows) y[0] = y[1] = y[2] = y[3] = 0;
      store_shared_128(dst + kv_offset(row, unit % kChunks, C::kRowBytes), y[0], y[1], y[2], y[3]);
    }
  }
  // Groups of 8 rows, a warp each; who converts the first one changes from block to block, so that
  // all have the same work.
  __device__ __forceinline__ void convert(std::uint32_t raw, std::uint32_t dst, int rows) {
    const std::uint32_t scales = raw + C::kBlock * C::kRawRowBytes;
    int g = next_group;
#pragma unroll 1
    for (; g < kGroups; g += C::kConverters / 32) {
#pragma unroll
      for (int u = 0; u < kUnits; u += kBatch) {
        convert_units(raw + g * 8 * C::kRawRowBytes, scales + g * 8 * C::kRawScaleBytes,
                      dst + g * 8 * C::kRowBytes, rows - g * 8, u);
      }
    }
    next_group = g - kGroups;
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
