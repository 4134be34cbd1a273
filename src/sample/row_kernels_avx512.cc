#include <immintrin.h>

#include "sample/row_kernels_impl.h"

namespace spate::internal {
namespace {

// Compress in a register and store the whole of it: the store that compresses is microcoded on
// Zen 4. `out` has room for the up to 15 elements too many.
std::int64_t collect_compressed(const float* keys, std::int64_t n, float lo, float hi,
                                std::int32_t* out) {
  const __m512 low = _mm512_set1_ps(lo);
  const __m512 high = _mm512_set1_ps(hi);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const auto valid = static_cast<__mmask16>(n - i >= kLanes ? 0xffff : (1 << (n - i)) - 1);
    const __m512 key = _mm512_maskz_loadu_ps(valid, keys + i);
    __mmask16 taken = _mm512_mask_cmp_ps_mask(valid, key, low, _CMP_GT_OQ);
    taken = _mm512_mask_cmp_ps_mask(taken, key, high, _CMP_LE_OQ);
    if (taken != 0) _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi32(taken, index));
    found += __builtin_popcount(taken);
    index = _mm512_add_epi32(index, _mm512_set1_epi32(16));
  }
  return found;
}

constexpr RowKernels make_avx512() {
  RowKernels kernels = make_kernels<16>("avx512");
  kernels.collect = &collect_compressed;
  return kernels;
}

}  // namespace

const RowKernels* avx512_kernels() {
  static constexpr RowKernels kKernels = make_avx512();
  // The compiler may use whatever the flags of this file allow, so all of it is asked for.
  const bool supported =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
      __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512vbmi") != 0 &&
      __builtin_cpu_supports("avx512bf16") != 0;
  return supported ? &kKernels : nullptr;
}

}  // namespace spate::internal
