// Rows of random values in the types that the row kernels read and write, on both sides.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include "spate/kernels/cuda/row_values.cuh"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

using cuda::RowType;
using Bytes = std::vector<std::uint8_t>;

inline std::vector<float> random_values(std::int64_t n, std::uint32_t seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> v(static_cast<std::size_t>(n));
  for (float& x : v) x = normal(random);
  return v;
}

template <class T>
T read_as(const std::uint8_t* from) {
  T x;
  std::memcpy(&x, from, sizeof(T));
  return x;
}

inline double value_at(const Bytes& data, RowType type, std::int64_t i) {
  const std::uint8_t* at = data.data() + i * cuda::row_type_bytes(type);
  if (type == RowType::kF32) return static_cast<double>(read_as<float>(at));
  if (type == RowType::kBF16) {
    return static_cast<double>(__bfloat162float(read_as<__nv_bfloat16>(at)));
  }
  if (type == RowType::kF16) return static_cast<double>(__half2float(read_as<__half>(at)));
  __nv_fp8_e4m3 x;
  x.__x = *at;
  return static_cast<double>(static_cast<float>(x));
}

inline void set_value(Bytes* data, RowType type, std::int64_t i, float x) {
  std::uint8_t* at = data->data() + i * cuda::row_type_bytes(type);
  const __nv_bfloat16 bf16 = __float2bfloat16(x);
  const __half f16 = __float2half(x);
  const __nv_fp8_e4m3 e4m3(x);
  const void* from = type == RowType::kF32    ? static_cast<const void*>(&x)
                     : type == RowType::kBF16 ? static_cast<const void*>(&bf16)
                     : type == RowType::kF16  ? static_cast<const void*>(&f16)
                                              : static_cast<const void*>(&e4m3);
  std::memcpy(at, from, static_cast<std::size_t>(cuda::row_type_bytes(type)));
}

inline Bytes to_type(const std::vector<float>& v, RowType type) {
  Bytes data(v.size() * static_cast<std::size_t>(cuda::row_type_bytes(type)));
  for (std::size_t i = 0; i < v.size(); ++i) {
    set_value(&data, type, static_cast<std::int64_t>(i), v[i]);
  }
  return data;
}

/// Half a unit in the last place, relative.
inline double roundoff(RowType type) {
  if (type == RowType::kF32) return 0x1p-24;
  if (type == RowType::kBF16) return 0x1p-8;
  return type == RowType::kF16 ? 0x1p-11 : 0x1p-4;
}

/// One row [first, first + want.size()) of an output, with e4m3 its scale. `error`: relative, of
/// the arithmetic before the conversion, in units of what `size` says a value could be.
struct RowCheck {
  const Bytes* data;
  RowType type;
  std::int64_t first;
  float scale = 1;  // kE4M3
};

inline void expect_row(const RowCheck& row, const std::vector<double>& want,
                       const std::vector<double>& error) {
  double peak = 0;
  for (const double x : want) peak = std::max(peak, std::abs(x));
  const bool scaled = row.type == RowType::kE4M3;
  // Subnormals of e4m3 are multiples of 2^-9, those of f16 of 2^-24.
  const double least = scaled                      ? static_cast<double>(row.scale) * 0x1p-10
                       : row.type == RowType::kF16 ? 0x1p-25
                                                   : 0x1p-126;
  double largest_error = 0;
  for (const double e : error) largest_error = std::max(largest_error, e);
  if (scaled) {
    ASSERT_NEAR(static_cast<double>(row.scale), peak / 448, (largest_error + peak * 0x1p-22) / 448);
  }
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double got = value_at(*row.data, row.type, row.first + static_cast<std::int64_t>(i)) *
                       (scaled ? static_cast<double>(row.scale) : 1.0);
    const double bound = std::abs(want[i]) * (roundoff(row.type) * 1.001 + (scaled ? 0x1p-21 : 0)) +
                         error[i] * 1.1 + least;
    ASSERT_LE(std::abs(got - want[i]), bound)
        << "at " << i << " of row at " << row.first << ": " << got << " instead of " << want[i];
  }
}

/// Bytes of the elements [first, first + n), to compare bits.
inline Bytes slice(const Bytes& data, RowType type, std::int64_t first, std::int64_t n) {
  const std::int64_t width = cuda::row_type_bytes(type);
  return {data.begin() + first * width, data.begin() + (first + n) * width};
}

}  // namespace spate::cuda_test
