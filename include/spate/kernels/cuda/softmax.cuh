// Online softmax (Milakov and Gimelshein 2018) over the accumulators of one warpgroup's wgmma: a
// thread holds two rows, the four lanes of a quad share them. Everything is in base 2.
#pragma once

#include "spate/kernels/cuda/ptx.cuh"

namespace spate::cuda {

// 2^x on the FMA and integer pipes, maximum relative error 8.8e-5. Takes load off the MUFU, whose
// time equals that of the tensor cores at head dim 64.
__device__ __forceinline__ float exp2_polynomial(float x) {
  x = fmaxf(x, -127.f);
  const float t = __fadd_rd(x, 12582912.f), f = x - (t - 12582912.f);
  const float y = fmaf(fmaf(fmaf(0.0771191f, f, 0.2275644f), f, 0.6951461f), f, 1.f);
  return __int_as_float(__float_as_int(y) + (__float_as_int(t) << 23));
}

// kLazy: how many powers of two the running maximum may lag behind before O is rescaled (an idea of
// FlashAttention-4); P then reaches 2^kLazy, which the final division undoes. kEmulate n: every
// n-th group of four exponentials takes exp2_polynomial; 0: none.
template <int kScores, int kLazy, int kEmulate>
struct OnlineSoftmax {
  float max0 = -kInfinity, max1 = -kInfinity;  // of raw scores; rows r and r + 8
  float sum0 = 0, sum1 = 0;                    // of this thread's columns only
  float rescale0 = 1, rescale1 = 1;            // what O must be multiplied by

  // The factors turn raw scores of the two rows into exponents of 2.
  __device__ __forceinline__ void update_max(const float (&s)[kScores], float factor0,
                                             float factor1) {
    float x0 = max0, x1 = max1;
#pragma unroll
    for (int i = 0; i < kScores; i += 4) {
      x0 = fmaxf(x0, fmaxf(s[i], s[i + 1]));
      x1 = fmaxf(x1, fmaxf(s[i + 2], s[i + 3]));
    }
    x0 = fmaxf(x0, __shfl_xor_sync(~0u, x0, 1));
    x1 = fmaxf(x1, __shfl_xor_sync(~0u, x1, 1));
    x0 = fmaxf(x0, __shfl_xor_sync(~0u, x0, 2));
    x1 = fmaxf(x1, __shfl_xor_sync(~0u, x1, 2));
    if ((x0 - max0) * factor0 <= static_cast<float>(kLazy)) x0 = max0;
    if ((x1 - max1) * factor1 <= static_cast<float>(kLazy)) x1 = max1;
    rescale0 = x0 == max0 ? 1.f : exp2_approx((max0 - x0) * factor0);
    rescale1 = x1 == max1 ? 1.f : exp2_approx((max1 - x1) * factor1);
    max0 = x0;
    max1 = x1;
    sum0 *= rescale0;
    sum1 *= rescale1;
  }

  // Replaces scores by unnormalised probabilities. A row that saw no key yet has maximum -inf.
  __device__ __forceinline__ void exponentiate(float (&s)[kScores], float factor0, float factor1) {
    const float y0 = max0 == -kInfinity ? 0 : max0 * factor0;
    const float y1 = max1 == -kInfinity ? 0 : max1 * factor1;
#pragma unroll
    for (int i = 0; i < kScores; i += 4) {
      const bool emulate = kEmulate != 0 && (i / 4) % (kEmulate == 0 ? 1 : kEmulate) == 0;
      auto exp2 = [&](float x) { return emulate ? exp2_polynomial(x) : exp2_approx(x); };
      s[i] = exp2(fmaf(s[i], factor0, -y0));
      s[i + 1] = exp2(fmaf(s[i + 1], factor0, -y0));
      s[i + 2] = exp2(fmaf(s[i + 2], factor1, -y1));
      s[i + 3] = exp2(fmaf(s[i + 3], factor1, -y1));
      sum0 += s[i] + s[i + 1];
      sum1 += s[i + 2] + s[i + 3];
    }
  }

  // False where no row of the warp needs it: after the first blocks, nearly always.
  __device__ __forceinline__ bool needs_rescale() const {
    return !__all_sync(~0u, rescale0 == 1.f && rescale1 == 1.f);
  }

  __device__ __forceinline__ void reduce_sums() {
    sum0 += __shfl_xor_sync(~0u, sum0, 1);
    sum1 += __shfl_xor_sync(~0u, sum1, 1);
    sum0 += __shfl_xor_sync(~0u, sum0, 2);
    sum1 += __shfl_xor_sync(~0u, sum1, 2);
  }
};

// Natural log-sum-exp of a row from its base-2 maximum and its sum; -inf where it saw no key, NaN
// where it saw NaN.
__device__ __forceinline__ float log_sum_exp(float max_log2, float sum) {
  return sum == 0 ? -kInfinity : (max_log2 + __log2f(sum)) * kLn2;
}

}  // namespace spate::cuda
