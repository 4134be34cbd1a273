// Checks that are compiled once per instruction set and compare it with the generic vectors.
#pragma once

#include <cstdint>

namespace spate::kernels_test {

/// What one instruction set computes, as bytes; the same for all of them.
struct SimdResults {
  float arithmetic[12][16];
  float reduced[4];
  std::int32_t integers[10][16];
  std::uint16_t halves[4][16];
  std::int32_t transposed[16][16];
};

/// inputs: 4 x 16 floats; bytes: 2 x 64.
using SimdCheck = void (*)(const float* inputs, const std::uint8_t* bytes, SimdResults* results);

void simd_results_generic(const float* inputs, const std::uint8_t* bytes, SimdResults* results);
void simd_results_avx2(const float* inputs, const std::uint8_t* bytes, SimdResults* results);
void simd_results_avx512(const float* inputs, const std::uint8_t* bytes, SimdResults* results);

using Exp2 = void (*)(const float* x, float* y, std::int64_t n);
void exp2_generic(const float* x, float* y, std::int64_t n);
void exp2_avx2(const float* x, float* y, std::int64_t n);
void exp2_avx512(const float* x, float* y, std::int64_t n);

}  // namespace spate::kernels_test
