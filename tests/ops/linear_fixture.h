// Matrices with random weights and their storage, rows, and a double-precision product of the
// numbers that are really stored.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "device/arena.h"
#include "device/device.h"
#include "ops/linear.h"
#include "quant/matrix.h"
#include "tests/reference/panel.h"

namespace spate::ops_test {

inline std::vector<float> random_floats(std::int64_t n, float deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

inline DType stored_dtype_of(WeightFormat f) {
  if (f == WeightFormat::kF32 || f == WeightFormat::kQ4) return DType::kF32;
  return f == WeightFormat::kF16 ? DType::kF16 : DType::kBF16;
}

/// [n, k] weights in a format, packed unless asked otherwise.
class TestMatrix {
 public:
  TestMatrix(WeightFormat format, std::int64_t n, std::int64_t k, unsigned seed = 7)
      : TestMatrix(format, n, k, random_floats(n * k, 0.05F, seed)) {}
  TestMatrix(WeightFormat format, std::int64_t n, std::int64_t k, const std::vector<float>& values)
      : stored_(stored_dtype_of(format)), bytes_(bytes_of(values)), n_(n), k_(k) {
    matrix_ = std::make_unique<Matrix>(format, stored_, k, panels_of(tensor()));
    storage_ = Buffer::reserve_host(matrix_->packed_bytes()).value();
    matrix_->set_storage(storage_.data());
  }
  Tensor tensor() { return Tensor(bytes_.data(), stored_, {n_, k_}); }
  Matrix& matrix() { return *matrix_; }
  TestMatrix& pack(CpuIsa isa = best_cpu_isa()) {
    matrix_->pack_panels(isa, 0, matrix_->n_panels());
    matrix_->mark_packed();
    return *this;
  }
  double weight(std::int64_t n, std::int64_t k) const {
    const auto* panels = reinterpret_cast<const std::uint8_t*>(matrix_->panels());
    return reference::panel_weight(static_cast<kernels::cpu::PanelFormat>(matrix_->format()),
                                   panels + n / 32 * matrix_->panel_bytes(), k, n % 32);
  }

 private:
  std::vector<std::byte> bytes_of(const std::vector<float>& values) const {
    std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(size_of(stored_)));
    visit_float_dtype(stored_, [&]<class T>() {
      for (std::size_t i = 0; i < values.size(); ++i) {
        T t{};
        if constexpr (std::is_same_v<T, float>) {
          t = values[i];
        } else {
          t = T::from_float(values[i]);
        }
        std::memcpy(bytes.data() + i * sizeof(T), &t, sizeof(T));
      }
    });
    return bytes;
  }

  DType stored_;
  std::vector<std::byte> bytes_;
  std::int64_t n_;
  std::int64_t k_;
  std::unique_ptr<Matrix> matrix_;
  Buffer storage_;
};

/// What a row becomes for a format, in double precision.
inline std::vector<double> stored_row(RowFormat format, const float* x, std::int64_t k) {
  std::vector<double> row(static_cast<std::size_t>(k));
  for (std::int64_t g = 0; g < k; g += 32) {
    const std::int64_t end = std::min(k, g + 32);
    float peak = 0;
    for (std::int64_t i = g; i < end; ++i) peak = std::max(peak, std::fabs(x[i]));
    for (std::int64_t i = g; i < end; ++i) {
      double& v = row[static_cast<std::size_t>(i)];
      if (format == RowFormat::kF32) v = x[i];
      if (format == RowFormat::kBF16) v = BF16::from_float(x[i]).to_float();
      if (format == RowFormat::kInt8) {
        v = peak < 1e-30F ? 0.0 : std::nearbyint(x[i] * (127.0F / peak)) * (peak / 127.0F);
      }
    }
  }
  return row;
}

struct TestDevice {
  explicit TestDevice(int threads = 2, CpuIsa isa = best_cpu_isa(), bool amx = amx_available())
      : device(Device::cpu({.threads = {.threads = threads}, .isa = isa, .amx = amx})) {}
  std::unique_ptr<Device> device;
  Arena arena{Buffer::reserve_host(64 << 20).value()};
};

inline Rows rows_of(std::vector<float>& x, std::int64_t k) {
  return {.values = Tensor(x.data(), DType::kF32, {static_cast<std::int64_t>(x.size()) / k, k})};
}

/// [rows, n] = x W^T on a device.
inline std::vector<float> product(TestDevice& d, std::vector<float>& x, const Matrix& w,
                                  std::int64_t n) {
  const Rows rows = rows_of(x, w.k());
  std::vector<float> out(static_cast<std::size_t>(rows.count() * n), -1.0F);
  ops::matmul(*d.device, d.arena, Tensor(out.data(), DType::kF32, {rows.count(), n}), rows, w);
  return out;
}

}  // namespace spate::ops_test
