#include "quant/matrix.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "device/buffer.h"
#include "tests/reference/panel.h"

namespace spate {
namespace {

using kernels::cpu::PanelFormat;

constexpr WeightFormat kFormats[] = {WeightFormat::kF32,      WeightFormat::kF16,
                                     WeightFormat::kWideBF16, WeightFormat::kBF16,
                                     WeightFormat::kQ8,       WeightFormat::kQ4};
constexpr DType kStored[] = {DType::kF32, DType::kF16, DType::kBF16};

/// [n, k] Gaussian weights, rounded to `stored`.
struct Weights {
  Weights(DType stored, std::int64_t n_rows, std::int64_t n_k, unsigned seed = 1)
      : dtype(stored), n(n_rows), k(n_k), values(static_cast<std::size_t>(n * k)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0F, 0.02F);
    for (float& v : values) v = normal(random);
    store();
  }
  void store() {
    bytes.resize(values.size() * static_cast<std::size_t>(size_of(dtype)));
    visit_float_dtype(dtype, [&]<class T>() {
      for (std::size_t i = 0; i < values.size(); ++i) {
        T t{};
        if constexpr (std::is_same_v<T, float>) {
          t = values[i];
        } else {
          t = T::from_float(values[i]);
        }
        values[i] = to_float(t);
        std::memcpy(bytes.data() + i * sizeof(T), &t, sizeof(T));
      }
    });
  }
  Tensor tensor() { return Tensor(bytes.data(), dtype, {n, k}); }

  DType dtype;
  std::int64_t n;
  std::int64_t k;
  std::vector<float> values;
  std::vector<std::byte> bytes{};
};

/// A matrix and the memory of its panels.
struct Packed {
  Packed(WeightFormat format, Weights& w, CpuIsa isa)
      : matrix(format, w.dtype, w.k, panels_of(w.tensor())),
        storage(Buffer::reserve_host(matrix.packed_bytes()).value()) {
    matrix.set_storage(storage.data());
    matrix.pack_panels(isa, 0, matrix.n_panels());
    matrix.mark_packed();
  }
  Matrix matrix;
  Buffer storage;
};

double weight_at(const Matrix& m, std::int64_t n, std::int64_t k) {
  const auto* panel = reinterpret_cast<const std::uint8_t*>(m.panels()) + n / 32 * m.panel_bytes();
  return reference::panel_weight(static_cast<PanelFormat>(m.format()), panel, k, n % 32);
}

int integer_at(const Matrix& m, std::int64_t n, std::int64_t k) {
  const auto* panel = reinterpret_cast<const std::uint8_t*>(m.panels()) + n / 32 * m.panel_bytes();
  return reference::panel_integer(static_cast<PanelFormat>(m.format()), panel, k, n % 32);
}

bool keeps_exactly(WeightFormat format, DType stored) {
  if (format == WeightFormat::kF32) return true;
  if (format == WeightFormat::kF16) return stored == DType::kF16;
  return (format == WeightFormat::kBF16 || format == WeightFormat::kWideBF16) &&
         stored == DType::kBF16;
}

TEST(Matrix, PacksEveryStoredDtypeWithItsValues) {
  for (const WeightFormat format : kFormats) {
    for (const DType stored : kStored) {
      Weights w(stored, 70, 83);
      const Packed packed_m(format, w, best_cpu_isa());
      const Matrix& m = packed_m.matrix;
      // Half a unit in the last place of bf16, or of the denormals of f16; the quantized formats
      // have tests of their own.
      const double relative = keeps_exactly(format, stored) ? 0 : 0x1p-8;
      if (format == WeightFormat::kQ8 || format == WeightFormat::kQ4) continue;
      for (std::int64_t n = 0; n < m.n_columns(); ++n) {
        for (std::int64_t k = 0; k < 96; ++k) {
          const bool inside = n < w.n && k < w.k;
          const double expected = inside ? w.values[static_cast<std::size_t>(n * w.k + k)] : 0;
          ASSERT_NEAR(weight_at(m, n, k), expected, std::fabs(expected) * relative + 0x1p-25)
              << name_of(format) << " from " << name_of(stored) << " at " << n << ", " << k;
        }
      }
    }
  }
}

TEST(Matrix, PacksTheSameBytesOnEveryIsa) {
  for (const WeightFormat format : kFormats) {
    for (const DType stored : kStored) {
      Weights w(stored, 45, 100);
      w.values[77] = std::numeric_limits<float>::infinity();
      w.values[300] = 1e-42F;
      w.store();
      const Packed packed_expected(format, w, CpuIsa::kGeneric);
      const Matrix& expected = packed_expected.matrix;
      for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512}) {
        if (isa > best_cpu_isa()) continue;
        const Packed packed_found(format, w, isa);
        const Matrix& found = packed_found.matrix;
        EXPECT_EQ(std::memcmp(expected.panels(), found.panels(),
                              static_cast<std::size_t>(found.packed_bytes())),
                  0)
            << name_of(format) << " from " << name_of(stored) << " on " << name_of(isa);
      }
    }
  }
}

/// Largest |weight| of a group.
double peak_of(const Weights& w, std::int64_t n, std::int64_t group) {
  double peak = 0;
  for (std::int64_t k = group * 32; k < group * 32 + 32; ++k) {
    peak = std::max(
        peak, std::fabs(static_cast<double>(w.values[static_cast<std::size_t>(n * w.k + k)])));
  }
  return peak;
}

TEST(Matrix, Q8IsWithinHalfAStep) {
  Weights w(DType::kF32, 32, 256);
  const Packed packed_m(WeightFormat::kQ8, w, best_cpu_isa());
  const Matrix& m = packed_m.matrix;
  for (std::int64_t n = 0; n < w.n; ++n) {
    for (std::int64_t k = 0; k < w.k; ++k) {
      const double step = peak_of(w, n, k / 32) / 127;
      // Half a step, and 127 times the rounding of the scale to f16 for the clamped ones.
      EXPECT_NEAR(weight_at(m, n, k), w.values[static_cast<std::size_t>(n * w.k + k)],
                  step * (0.5 + 127 * 0x1p-11));
    }
  }
}

TEST(Matrix, Q4IsBetterThanTheNaiveGrid) {
  Weights w(DType::kF32, 64, 2048);
  const Packed packed_m(WeightFormat::kQ4, w, best_cpu_isa());
  const Matrix& m = packed_m.matrix;
  double error = 0;
  double naive = 0;
  for (std::int64_t n = 0; n < w.n; ++n) {
    for (std::int64_t k = 0; k < w.k; ++k) {
      const double x = w.values[static_cast<std::size_t>(n * w.k + k)];
      const double step = peak_of(w, n, k / 32) / 7;
      error += std::pow(weight_at(m, n, k) - x, 2);
      naive += std::pow(std::nearbyint(x / step) * step - x, 2);
    }
  }
  EXPECT_LT(error, 0.75 * naive);
}

TEST(Matrix, ZeroGroupsStayZero) {
  Weights w(DType::kBF16, 32, 64);
  for (float& v : w.values) v = 0;
  w.store();
  for (const WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4}) {
    const Packed packed_m(format, w, best_cpu_isa());
    const Matrix& m = packed_m.matrix;
    for (std::int64_t n = 0; n < 32; ++n) EXPECT_EQ(weight_at(m, n, n), 0.0);
  }
}

TEST(Matrix, TinyGroupsAreNotInfinite) {
  Weights w(DType::kF32, 32, 32);
  for (std::size_t i = 0; i < w.values.size(); ++i) w.values[i] = i % 2 == 0 ? 1e-9F : -3e-6F;
  for (const WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4}) {
    w.store();
    const Packed packed_m(format, w, best_cpu_isa());
    const Matrix& m = packed_m.matrix;
    for (std::int64_t k = 0; k < 32; ++k) EXPECT_LE(std::fabs(weight_at(m, 3, k)), 4e-6);
  }
}

TEST(Matrix, NeverProducesMinus128) {
  Weights w(DType::kF32, 32, 320, 5);
  w.values[5] = 1e30F;
  w.values[400] = -1e30F;
  w.values[700] = std::numeric_limits<float>::quiet_NaN();
  w.store();
  const Packed packed_m(WeightFormat::kQ8, w, best_cpu_isa());
  const Matrix& m = packed_m.matrix;
  for (std::int64_t n = 0; n < w.n; ++n) {
    for (std::int64_t k = 0; k < w.k; ++k) EXPECT_GE(integer_at(m, n, k), -127);
  }
}

TEST(Matrix, InfinityStaysInItsColumn) {
  for (const WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4}) {
    Weights w(DType::kF32, 32, 32);
    w.values[7 * 32 + 3] = -std::numeric_limits<float>::infinity();
    w.store();
    const Packed packed_m(format, w, best_cpu_isa());
    const Matrix& m = packed_m.matrix;
    for (std::int64_t n = 0; n < 32; ++n) EXPECT_EQ(std::isnan(weight_at(m, n, 3)), n == 7);
  }
}

TEST(Matrix, InterleavesPanelsAndPadsHeads) {
  Weights w(DType::kF32, 80, 32);

  const auto heads = head_panels_of(w.tensor(), 40);
  const auto both = interleaved(heads, heads);

  ASSERT_EQ(heads.size(), 4U);
  EXPECT_EQ(heads[1].n_rows, 8);
  EXPECT_EQ(heads[2].rows, w.bytes.data() + 40 * 32 * 4);
  EXPECT_EQ(both.size(), 8U);
  EXPECT_EQ(both[5].rows, heads[2].rows);
}

TEST(WeightFormat, CountsScalesAmongTheBits) {
  EXPECT_EQ(bits_per_weight(WeightFormat::kQ8), 8.5);
  EXPECT_EQ(bits_per_weight(WeightFormat::kQ4), 4.5);
  EXPECT_EQ(bits_per_weight(WeightFormat::kBF16), 16);
}

}  // namespace
}  // namespace spate
