// Quantized weights: the same numbers as the CPU's, products of few rows against double precision,
// and the way back to bf16.
#include <cstring>

#include <cuda_fp8.h>

#include "quant/device_matrix.h"
#include "quant/pack.h"
#include "spate/kernels/cpu/panel.h"
#include "spate/kernels/cuda/gemm_quant_layout.cuh"
#include "tests/cuda/gemm_problem.h"

namespace spate::cuda_test {
namespace {

// A matrix on the device and the values that it stands for.
struct Stored {
  DeviceFormat format;
  std::int64_t n, k;
  DeviceArray<std::uint8_t> weights;
  DeviceArray<float> scales;
  std::vector<float> original;

  Stored(DeviceFormat f, std::int64_t rows, std::int64_t columns)
      : format(f),
        n(rows),
        k(columns),
        weights(static_cast<std::size_t>(weight_bytes(f, rows, columns))),
        scales(static_cast<std::size_t>(rows)),
        original(widened(rounded(normal(static_cast<std::size_t>(rows * columns), 1,
                                        1 / std::sqrt(static_cast<float>(columns)))))) {
    const DeviceArray<Bf16> rows_bf16(rounded(original));
    // In two parts, as a loader would.
    const std::int64_t half = rows / 3;
    write({.dtype = DType::kBF16, .data = rows_bf16.data(), .first = 0, .count = half});
    write({.dtype = DType::kBF16,
           .data = rows_bf16.data() + half * columns,
           .first = half,
           .count = rows - half});
    require(cudaDeviceSynchronize());
  }
  DeviceMatrix matrix() const {
    return {.format = format,
            .n = n,
            .k = k,
            .weights = reinterpret_cast<std::byte*>(weights.data()),
            .scales = scales.data()};
  }
  void write(const DeviceRows& rows) const {
    const auto done = convert_rows(matrix(), rows, nullptr);
    ASSERT_TRUE(done) << done.error().message;
  }

  template <int kBits>
  std::vector<float> packed_values() const {
    using L = cuda::QuantLayout<kBits>;
    const auto bytes = weights.get();
    std::vector<float> v;
    for (std::int64_t i = 0; i < n * k; ++i) {
      const std::int64_t row = i / k, group = i % k / 32;
      const int r = static_cast<int>(row % 8), g = static_cast<int>(group % 8);
      const int t = static_cast<int>(i % k % 32) / 8, e = static_cast<int>(i % 8);
      const std::uint8_t* block = bytes.data() + L::block_at(row, group, k);
      const std::uint8_t* at = block + L::values_at(r, g, t);
      const int nibble = cuda::q4_nibble(e);
      const int stored = kBits == 8 ? at[e] : at[nibble / 2] >> (nibble % 2 * 4) & 15;
      __half scale;
      std::memcpy(&scale, block + L::scale_at(r, g), 2);
      v.push_back(static_cast<float>(stored - L::kOffset) * __half2float(scale));
    }
    return v;
  }
  std::vector<float> values() const {
    if (format == DeviceFormat::kQ8) return packed_values<8>();
    if (format == DeviceFormat::kQ4) return packed_values<4>();
    const auto bytes = weights.get();
    const auto s = scales.get();
    std::vector<float> v;
    for (std::int64_t i = 0; i < n * k; ++i) {
      __nv_fp8_e4m3 x;
      std::memcpy(&x, &bytes[static_cast<std::size_t>(i)], 1);
      v.push_back(static_cast<float>(x) * s[static_cast<std::size_t>(i / k)]);
    }
    return v;
  }
};

// The CPU's panels of the same rows, as values.
template <int kBits>
std::vector<float> cpu_values(const Stored& m) {
  namespace kc = kernels::cpu;
  const auto format = kBits == 8 ? kc::PanelFormat::kQ8 : kc::PanelFormat::kQ4;
  const std::vector<Bf16> rows = rounded(m.original);
  std::vector<float> v(static_cast<std::size_t>(m.n * m.k));
  alignas(64) static std::uint8_t panel[1 << 20];
  for (std::int64_t first = 0; first < m.n; first += 32) {
    pack_panel_generic({.rows = reinterpret_cast<const std::uint8_t*>(rows.data() + first * m.k),
                        .element = kc::Element::kBF16,
                        .n_rows = std::min<std::int64_t>(32, m.n - first),
                        .k = m.k,
                        .format = format,
                        .panel = panel});
    for (std::int64_t i = 0; i < std::min<std::int64_t>(32, m.n - first) * m.k; ++i) {
      const std::int64_t column = i / m.k, k = i % m.k, e = k % 32;
      const std::uint8_t* step = panel + k / 32 * kc::step_bytes(format);
      const int stored =
          kBits == 8 ? step[e / 4 * 128 + column * 4 + e % 4] - 128
                     : (step[e / 4 * 64 + column % 16 * 4 + e % 4] >> (column / 16 * 4) & 15) - 8;
      __half scale;
      std::memcpy(&scale, step + (kBits == 8 ? 1024 : 512) + column * 2, 2);
      v[static_cast<std::size_t>((first + column) * m.k + k)] =
          static_cast<float>(stored) * __half2float(scale);
    }
  }
  return v;
}

cuda::StreamFormat stream_format(DeviceFormat f) {
  if (f == DeviceFormat::kFp8) return cuda::StreamFormat::kFp8;
  return f == DeviceFormat::kQ8 ? cuda::StreamFormat::kQ8 : cuda::StreamFormat::kQ4;
}

class GemmQuant : public ::testing::TestWithParam<DeviceFormat> {
 protected:
  static void expect_right(const GemmShape& shape) { expect(shape, expect_right_and_invariant); }
  template <class Expectation>
  static void expect(const GemmShape& shape, const Expectation& expectation) {
    const Stored m(GetParam(), shape.n, shape.k);
    GemmProblem problem(shape, m.values());
    expectation(problem, stream_format(GetParam()),
                StoredWeights{m.weights.data(), m.scales.data()});
  }
};

TEST_P(GemmQuant, StoresAddsAndGates) {
  expect_right({.n = 3072, .k = 2048, .output = ProductOutput::kNarrow, .norm = true});
  expect_right({.n = 4096, .k = 4096, .output = ProductOutput::kAddF32, .bias = true});
  expect_right({.n = 1760, .k = 1024, .output = ProductOutput::kGated, .norm = true});
}
TEST_P(GemmQuant, WalksSeveralSlicesOfK) {
  expect_right({.n = 400, .k = 14336, .output = ProductOutput::kAddF32});
  expect_right({.n = 2 * 16 * 40, .k = 4224, .output = ProductOutput::kF32, .sms = 2});
}
TEST_P(GemmQuant, TakesPartsOfBlocks) {
  expect_right({.n = 288, .k = 320, .output = ProductOutput::kNarrow, .norm = true});
  expect_right({.n = 1792, .k = 896, .output = ProductOutput::kF32});
  expect_right({.n = 16, .k = 64, .output = ProductOutput::kF32});
}
TEST_P(GemmQuant, KeepsNanInItsRow) {
  expect({.n = 288, .k = 320, .output = ProductOutput::kNarrow, .norm = true},
         expect_nan_contained);
  expect({.n = 1792, .k = 896, .output = ProductOutput::kF32}, expect_nan_contained);
}
TEST_P(GemmQuant, UnpacksToTheNearestBf16) {
  const Stored m(GetParam(), 48, 576);
  const std::vector<float> values = m.values();
  const std::int64_t first = 5, count = 40;
  const DeviceArray<Bf16> out(static_cast<std::size_t>(count * m.k));

  ASSERT_TRUE(dequantize_rows(m.matrix(), first, count, out.data(), nullptr));

  const auto got = out.get();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float want = values[static_cast<std::size_t>(first * m.k) + i];
    ASSERT_EQ(__bfloat162float(got[i]), __bfloat162float(__float2bfloat16(want))) << i;
  }
}
TEST_P(GemmQuant, KeepsTheMatrixClose) {
  // Mean square errors of Gaussian weights: e4m3 has 3 bits of mantissa, q8 and q4 steps of about
  // 2.2 / 127 and 2.2 / 8 deviations.
  const double bounds[] = {0.03, 0.006, 0.10};
  const Stored m(GetParam(), 64, 1024);
  const std::vector<float> values = m.values();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(values[i] - m.original[i]), 2);
    size += std::pow(static_cast<double>(m.original[i]), 2);
  }
  const int which = GetParam() == DeviceFormat::kFp8 ? 0 : GetParam() == DeviceFormat::kQ8 ? 1 : 2;
  EXPECT_LT(std::sqrt(error / size), bounds[which]);
}

INSTANTIATE_TEST_SUITE_P(Formats, GemmQuant,
                         ::testing::Values(DeviceFormat::kFp8, DeviceFormat::kQ8,
                                           DeviceFormat::kQ4),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(DeviceMatrix, HasTheCpusQuantizedValues) {
  const Stored q8(DeviceFormat::kQ8, 72, 512), q4(DeviceFormat::kQ4, 72, 512);
  EXPECT_EQ(q8.values(), cpu_values<8>(q8));
  EXPECT_EQ(q4.values(), cpu_values<4>(q4));
}

TEST(DeviceMatrix, ConvertsBetweenFloatTypes) {
  const std::vector<float> values = normal(64 * 96, 3, 1.F);
  const DeviceArray<float> from(values);
  const DeviceArray<Bf16> to(values.size());
  const DeviceMatrix m{.format = DeviceFormat::kBF16,
                       .n = 64,
                       .k = 96,
                       .weights = reinterpret_cast<std::byte*>(to.data())};

  ASSERT_TRUE(convert_rows(m, {.dtype = DType::kF32, .data = from.data(), .count = 64}, nullptr));

  EXPECT_EQ(widened(to.get()), widened(rounded(values)));
}

TEST(DeviceMatrix, FillsWithTheSameNormalNoiseEveryTime) {
  std::vector<float> runs[2];
  for (auto& run : runs) {
    const DeviceArray<float> w(512 * 1024);
    const DeviceMatrix m{.format = DeviceFormat::kF32,
                         .n = 512,
                         .k = 1024,
                         .weights = reinterpret_cast<std::byte*>(w.data())};
    ASSERT_TRUE(fill_random(m, {.seed = 5, .deviation = 0.25F}, nullptr));
    run = w.get();
  }
  EXPECT_EQ(runs[0], runs[1]);
  double sum = 0, squares = 0, fourth = 0;
  for (const float x : runs[0]) {
    const double z = static_cast<double>(x) / 0.25;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  const auto n = static_cast<double>(runs[0].size());
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
}

}  // namespace
}  // namespace spate::cuda_test
