// The consumer warps of decode. Each owns kWarpTokens tokens of every KV block, with a maximum,
// sums and an output of its own, and never waits for the others. S^T = K Q^T and O^T = V^T P^T:
// tokens and head dims fill the 16 rows of the matrix instruction, query rows its 8 columns.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/decode_params.cuh"

namespace spate::cuda {

template <class C>
struct DecodeConsumer {
  using T = typename C::T;
  using M = typename C::M;
  static constexpr int kSteps = C::kHeadDim / 16, kTiles = C::kTiles, kGroups = C::kWarpTokens / 16;
  using Scores = float[kGroups][kTiles][4];

  const DecodeParams& p;
  const DecodeShared<C>& s;
  const int heads;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  const int g = lane >> 2, t = lane & 3;  // tokens or dims g, g + 8; columns 2t, 2t + 1 of a tile
  const StageLayout layout;
  Ring<C::kStages> ring{0};
  std::uint32_t merge_parity = 1;

  std::uint32_t query[kTiles][kSteps][2];  // B fragments
  float out[kTiles][kSteps][4];
  float peak[kTiles][2], sum[kTiles][2];
  float factor;            // turns (transformed) raw scores into exponents of 2
  float raw_scale;         // turns raw scores into logits
  int back[kTiles][2];     // how far the column's query stands before the last key
  float slope[kTiles][2];  // Score::kAlibi, in units of raw scores

  __device__ __forceinline__ DecodeConsumer(const DecodeArguments& args,
                                            const DecodeShared<C>& shared)
      : p(args.p), s(shared), heads(args.heads), layout(StageLayout::of<C>(args.page_shift)) {}

  // ---- queries

  // Returns the factor that undoes the scaling of the FP8 path.
  __device__ __forceinline__ float load_query(int columns) {
    const std::uint8_t* rows = s.base + C::kOffsetQuery + ring.stage * C::kQueryBytes;
    auto word = [&](int tile, int dim) {
      const int column = tile * 8 + g;
      const std::uint8_t* at = rows + (column * C::kHeadDim + dim) * 2;
      return column < columns ? *reinterpret_cast<const std::uint32_t*>(at) : 0u;
    };
    float largest = 0;
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int k = 0; k < kSteps; k++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int dim = C::kBytes ? byte_dim(k) + e * 2 : k * 16 + e * 8 + t * 2;
          const std::uint32_t x = word(n, dim);
          query[n][k][e] = x;
          largest = fmaxf(largest, fmaxf(fabsf(Element<T>::low(x)), fabsf(Element<T>::high(x))));
        }
      }
    }
    if constexpr (!C::kBytes) return 1.f;
    return scale_query(largest);
  }
  // Caches of bytes permute the head dims so that a lane's K data are 16 contiguous bytes, a chunk.
  static constexpr int kLaneChunks = C::kHeadDim == 64 ? 1 : 2;  // of 64 or 128 dims
  __device__ __forceinline__ int byte_dim(int k) const {
    return (k >> 3) * 128 + (kLaneChunks * t + ((k >> 2) & 1)) * 16 + (k & 3) * 4;
  }
  __device__ __forceinline__ float scale_query(float largest) {
#pragma unroll
    for (int i = 1; i < 32; i *= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, i));
    const F16Scale scale = F16Scale::of(largest);
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int k = 0; k < kSteps; k++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          std::uint32_t& x = query[n][k][i];
          x = Element<__half>::pack(Element<T>::low(x) * scale.up, Element<T>::high(x) * scale.up);
        }
      }
    }
    return scale.down;
  }

  __device__ __forceinline__ void start_segment(const DecodeRecord& r) {
    const int columns = r.q_len() * heads;
    raw_scale = p.scale * load_query(columns);
    if (C::kFormat == KvFormat::kE4M3 && p.k_scale != nullptr) raw_scale *= p.k_scale[r.kv_head];
    factor = (C::kScore == Score::kSoftCap ? p.soft_cap : raw_scale) * kLog2E;
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int column = min(n * 8 + 2 * t + e, columns - 1);
        back[n][e] = r.q_len() == 1 ? 0 : r.q_len() - 1 - column / heads;
        if constexpr (C::kScore == Score::kAlibi) {
          slope[n][e] = __ldg(p.alibi_slopes + r.kv_head * heads + column % heads) / raw_scale;
        }
        peak[n][e] = -kInfinity;
        sum[n][e] = 0;
      }
#pragma unroll
      for (int j = 0; j < kSteps; j++)
        out[n][j][0] = out[n][j][1] = out[n][j][2] = out[n][j][3] = 0;
    }
  }

  // ---- matrix products over 16 tokens

  static __device__ __forceinline__ void bytes_to_f16(std::uint32_t x, std::uint32_t& low,
                                                      std::uint32_t& high) {
    if constexpr (C::kInt8)
      int8x4_to_f16(x, low, high);
    else
      e4m3x4_to_f16(x, low, high);
  }

  __device__ __forceinline__ void score(float (&x)[kTiles][4], std::uint32_t keys) const {
    float a[2][kTiles][4] = {};  // two chains halve the latency
    if constexpr (!C::kBytes) {
      const std::uint32_t at = keys + kv_offset(lane & 15, lane >> 4, C::kRowBytes);
#pragma unroll
      for (int k = 0; k < kSteps; k++) {
        std::uint32_t f[4];
        ldmatrix_x4(f, (at ^ ((k & 3) << 5)) + (k >> 2) * 1024);
#pragma unroll
        for (int n = 0; n < kTiles; n++) Element<M>::mma(a[k & 1][n], f, query[n][k]);
      }
    } else {
      const std::uint32_t at = keys + kv_offset(g, kLaneChunks * t, C::kRowBytes);
#pragma unroll
      for (int k = 0; k < kSteps; k += 4) {
        std::uint32_t x0[4], x1[4];
        const std::uint32_t from = (at ^ (((k >> 2) & 1) << 4)) + (k >> 3) * 1024;
        load_shared_128(x0, from);
        load_shared_128(x1, from + 8 * C::kRowBytes);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          std::uint32_t f[4];
          bytes_to_f16(x0[i], f[0], f[2]);
          bytes_to_f16(x1[i], f[1], f[3]);
#pragma unroll
          for (int n = 0; n < kTiles; n++) Element<M>::mma(a[i & 1][n], f, query[n][k + i]);
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) x[n][i] = a[0][n][i] + a[1][n][i];
    }
  }
  // Row r < 8 (>= 8) of output tile j is head dim 16j + r (bytes: 16j + 2(r % 8) + r / 8). Returns
  // bits of everything loaded, for the release of the stage to depend on.
  __device__ __forceinline__ std::uint32_t accumulate(const std::uint32_t (&probs)[kTiles][2],
                                                      std::uint32_t values) {
    std::uint32_t seen = 0;
    if constexpr (!C::kBytes) {
      const std::uint32_t at =
          values + kv_offset((lane & 7) + ((lane >> 4) << 3), (lane >> 3) & 1, C::kRowBytes);
#pragma unroll
      for (int j = 0; j < kSteps; j++) {
        std::uint32_t f[4];
        ldmatrix_x4_trans(f, (at ^ ((j & 3) << 5)) + (j >> 2) * 1024);
        seen |= f[0];
#pragma unroll
        for (int n = 0; n < kTiles; n++) Element<M>::mma(out[n][j], f, probs[n]);
      }
    } else {
      const std::uint32_t at = values + kv_offset(lane & 15, lane >> 4, C::kRowBytes);
#pragma unroll
      for (int j = 0; j < kSteps; j += 2) {
        std::uint32_t r[4], f[4];  // two tokens x two dims of bytes per register
        ldmatrix_x4_trans(r, (at ^ (((j >> 1) & 3) << 5)) + (j >> 3) * 1024);
        seen |= r[0];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          bytes_to_f16(__byte_perm(r[2 * i], 0, 0x3120), f[0], f[1]);
          bytes_to_f16(__byte_perm(r[2 * i + 1], 0, 0x3120), f[2], f[3]);
#pragma unroll
          for (int n = 0; n < kTiles; n++) Element<M>::mma(out[n][j + i], f, probs[n]);
        }
      }
    }
    return seen;
  }

  // ---- scales of int8 tokens; `token` counts from the block's first one

  static __device__ __forceinline__ float token_scale(std::uint32_t stage, int token) {
    return load_shared_f16(stage + 2 * C::kBlockTokens * C::kRowBytes + token * C::kScaleBytes);
  }
  // Behind the row's end may lie anything, and 0 * NaN is NaN.
  static __device__ __forceinline__ float value_scale(std::uint32_t stage, int token, int keys) {
    if constexpr (!C::kInt8) return 1.f;
    return token < keys ? token_scale(stage, C::kBlockTokens + token) * C::kValueShift : 0.f;
  }
  static __device__ __forceinline__ void scale_rows(float (&x)[4], float low, float high) {
    x[0] *= low;
    x[1] *= low;
    x[2] *= high;
    x[3] *= high;
  }

  // ---- scores

  // keys: from this warp's first token to the row's end.
  __device__ __forceinline__ void transform(Scores& x, int keys) const {
#pragma unroll
    for (int u = 0; u < kGroups; u++) {
#pragma unroll
      for (int n = 0; n < kTiles; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          float& y = x[u][n][i];
          if constexpr (C::kScore == Score::kSoftCap) y = cap(y);
          if constexpr (C::kScore == Score::kAlibi) {
            const int behind = keys - 1 - (16 * u + g + (i / 2) * 8);  // keys after this one
            y += slope[n][i & 1] * static_cast<float>(back[n][i & 1] - behind);
          }
        }
      }
    }
  }
  __device__ __forceinline__ float cap(float x) const {
    return 1.f - 2.f * rcp_approx(exp2_approx(x * (2.f * kLog2E * raw_scale / p.soft_cap)) + 1.f);
  }
  __device__ __forceinline__ void mask(Scores& x, int keys) const {
#pragma unroll
    for (int u = 0; u < kGroups; u++) {
#pragma unroll
      for (int n = 0; n < kTiles; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int behind = keys - 1 - (16 * u + g + (i / 2) * 8) - back[n][i & 1];
          if (behind < 0 || behind > p.window_left) x[u][n][i] = -kInfinity;
        }
      }
    }
  }
  // V behind the row's end may hold anything, and 0 * NaN is NaN.
  __device__ __forceinline__ void clear_values(int token, int valid) const {
    constexpr int kVectors = C::kRowBytes / 16;
    for (int i = max(0, valid) * kVectors + lane; i < C::kWarpTokens * kVectors; i += 32) {
      const int at = token + i / kVectors;
      const std::uint32_t group = s.ring + ring.stage * C::kStageBytes +
                                  layout.key_offset(at & ~15, C::kRowBytes) +
                                  layout.tokens() * C::kRowBytes;
      store_shared_zero_128(group + kv_offset(at & 15, i % kVectors, C::kRowBytes));
    }
    if constexpr (C::kAsyncCopies) fence_async_smem();
    __syncwarp();
  }

  // Updates are rare after the first blocks.
  __device__ __forceinline__ void update_max(const Scores& x) {
    float top[kTiles][2];
    bool above = false;
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        top[n][e] = fmaxf(x[0][n][e], x[0][n][e + 2]);
#pragma unroll
        for (int u = 1; u < kGroups; u++)
          top[n][e] = fmaxf(top[n][e], fmaxf(x[u][n][e], x[u][n][e + 2]));
        above = above || (top[n][e] - peak[n][e]) * factor > C::kLazy;
      }
    }
    if (!__any_sync(~0u, above)) return;
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        float& y = top[n][e];
#pragma unroll
        for (int i = 4; i < 32; i *= 2) y = fmaxf(y, __shfl_xor_sync(~0u, y, i));
        y = fmaxf(y, peak[n][e]);
        const float scale = y == peak[n][e] ? 1.f : exp2_approx((peak[n][e] - y) * factor);
        peak[n][e] = y;
        sum[n][e] *= scale;
#pragma unroll
        for (int j = 0; j < kSteps; j++) {
          out[n][j][e] *= scale;
          out[n][j][e + 2] *= scale;
        }
      }
    }
  }

  // ---- control

  // This warp's tokens of the current block.
  __device__ __forceinline__ std::uint32_t block(const DecodeRecord& r) {
    const int token = warp * C::kWarpTokens, keys = r.keys - token;
    if (keys <= 0) return 0;
    const std::uint32_t stage = s.ring + ring.stage * C::kStageBytes;
    Scores x;
#pragma unroll
    for (int u = 0; u < kGroups; u++) {
      score(x[u], stage + layout.key_offset(token + 16 * u, C::kRowBytes));
      const int first = token + 16 * u + g;
#pragma unroll
      for (int n = 0; n < kTiles && C::kInt8; n++)
        scale_rows(x[u][n], token_scale(stage, first), token_scale(stage, first + 8));
    }
    if (C::kScore != Score::kPlain) transform(x, keys);
    const bool tail = keys < C::kWarpTokens;
    if (keys < C::kWarpTokens + r.q_len() - 1 || keys - 1 > p.window_left) mask(x, keys);
    update_max(x);
    if constexpr (C::kAsyncCopies) mbar_wait(s.first_values, 0);
    if (tail) clear_values(token, keys);
    float y[kTiles][2];
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
      y[n][0] = peak[n][0] == -kInfinity ? 0 : peak[n][0] * factor;
      y[n][1] = peak[n][1] == -kInfinity ? 0 : peak[n][1] * factor;
    }
    std::uint32_t seen = 0;
#pragma unroll
    for (int u = 0; u < kGroups; u++) {
      std::uint32_t probs[kTiles][2];
      const int first = token + 16 * u + g;
      const float v0 = value_scale(stage, first, keys + token);
      const float v1 = value_scale(stage, first + 8, keys + token);
      if constexpr (C::kInt8) seen |= __float_as_uint(v0) | __float_as_uint(v1);
#pragma unroll
      for (int n = 0; n < kTiles; n++) {
        float(&z)[4] = x[u][n];
#pragma unroll
        for (int i = 0; i < 4; i++) z[i] = exp2_approx(fmaf(z[i], factor, -y[n][i & 1]));
        sum[n][0] += z[0] + z[2];
        sum[n][1] += z[1] + z[3];
        if constexpr (C::kInt8) scale_rows(z, v0, v1);
        probs[n][0] = movmatrix_trans(Element<M>::pack(z[0], z[1]));
        probs[n][1] = movmatrix_trans(Element<M>::pack(z[2], z[3]));
      }
      seen |= accumulate(probs, stage + layout.key_offset(token + 16 * u, C::kRowBytes) +
                                    layout.tokens() * C::kRowBytes);
    }
    return seen;
  }

  __device__ __forceinline__ void reduce_sums() {
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
#pragma unroll
        for (int i = 4; i < 32; i *= 2) sum[n][e] += __shfl_xor_sync(~0u, sum[n][e], i);
      }
    }
  }
  // This warp's result of the segment.
  __device__ __forceinline__ void write_result(const DecodeRecord& r) const {
    const int columns = r.q_len() * heads;
    float2* stats = s.stats() + warp * C::kColumns;
    float* merge = s.merge() + warp * C::kColumns * C::kMergePitch;
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int column = n * 8 + 2 * t + e;
        if (column >= columns) continue;
        if (g == 0) stats[column] = make_float2(peak[n][e] * factor, sum[n][e]);
        float* row = merge + column * C::kMergePitch;
#pragma unroll
        for (int j = 0; j < kSteps; j++) {
          row[j * 16 + (C::kBytes ? 2 * g : g)] = out[n][j][e];
          row[j * 16 + (C::kBytes ? 2 * g + 1 : g + 8)] = out[n][j][e + 2];
        }
      }
    }
  }
  // Hands the segment's result to the epilogue warps.
  __device__ __forceinline__ void finish_segment(const DecodeRecord& r) {
    reduce_sums();
    mbar_wait(s.merge_empty, merge_parity);
    merge_parity ^= 1;
    write_result(r);
    if (threadIdx.x == 0) s.record(C::kStages) = r;
    mbar_arrive(s.merge_full);
  }

  __device__ __forceinline__ void run() {
    // Zero, which only the run time knows. The arrive that frees a stage depends on the loaded data
    // through it: the assembler may move the arrive ahead of the loads' return otherwise, and the
    // stage be refilled under them.
    const std::uint32_t zero = static_cast<std::uint32_t>(p.page_tokens) >> 30;
    for (bool first = true;; first = false) {
      mbar_wait(first ? s.first_query : s.full + 8 * ring.stage, ring.parity);
      const DecodeRecord r = s.record(ring.stage);
      if ((r.flags & DecodeRecord::kStop) != 0) break;
      if ((r.flags & DecodeRecord::kFirst) != 0) start_segment(r);
      if (first) mbar_wait(s.full, 0);
      const std::uint32_t seen = block(r) | static_cast<std::uint32_t>(r.ticket | r.shape);
      mbar_arrive(s.empty + 8 * ring.stage + (seen & zero));
      ring.next();
      if ((r.flags & DecodeRecord::kLast) != 0) finish_segment(r);
    }
    mbar_wait(s.merge_empty, merge_parity);
    if (threadIdx.x == 0) s.record(C::kStages).flags = DecodeRecord::kStop;
    mbar_arrive(s.merge_full);
  }
};

}  // namespace spate::cuda
