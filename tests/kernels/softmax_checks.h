// Checks of softmax.h that are compiled once per instruction set.
#pragma once

#include <cstdint>

namespace spate::kernels_test {

/// y[i] = 2^x[i] by the fine and the coarse polynomial; n a multiple of 16.
using Exp2Below = void (*)(const float* x, float* fine, float* coarse, std::int64_t n);
void exp2_below_generic(const float* x, float* fine, float* coarse, std::int64_t n);
void exp2_below_avx2(const float* x, float* fine, float* coarse, std::int64_t n);
void exp2_below_avx512(const float* x, float* fine, float* coarse, std::int64_t n);

/// maxima[16] of rows[n][16].
using RowMaxima = void (*)(const float* rows, int n, float* maxima);
void row_maxima_generic(const float* rows, int n, float* maxima);
void row_maxima_avx2(const float* rows, int n, float* maxima);
void row_maxima_avx512(const float* rows, int n, float* maxima);

}  // namespace spate::kernels_test
