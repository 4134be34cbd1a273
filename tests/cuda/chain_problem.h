// Problems for the tests of the chain product: random rows and weights of one type, a reference in
// double precision, and the error that the arithmetic may make.
#pragma once
#include <type_traits>

#include "ops/cuda/chain_gemm.h"
#include "tests/cuda/gemm_problem.h"

namespace spate::cuda_test {

using cuda::ChainGemmParams;
using cuda::ProductOutput;
using cuda::RowActivation;

constexpr int kChainRows = 300;  // three tiles of 128 that overlap

struct ChainShape {
  std::int64_t n = 0, k = 0;
  ProductOutput output = ProductOutput::kF32;
  bool bias = false;
  RowActivation activation = RowActivation::kSilu;
  int sms = 132;
  int tile_width = 0;
  bool gated() const { return output == ProductOutput::kGated; }
  bool wide() const { return output == ProductOutput::kF32 || output == ProductOutput::kAddF32; }
  std::int64_t columns() const { return gated() ? n / 2 : n; }
};

template <class T>
class ChainProblem {
 public:
  explicit ChainProblem(const ChainShape& s)
      : shape(s),
        x_(values(kChainRows * s.k, 1, 1.5F)),
        weights(values(s.n * s.k, 2, 1.F / std::sqrt(static_cast<float>(s.k)))),
        bias(normal(static_cast<std::size_t>(s.n), 4, 1.F)),
        old_(normal(static_cast<std::size_t>(kChainRows * s.columns()), 6, 2.F)),
        x_host_(x_.get()),
        out_(static_cast<std::size_t>((kChainRows + 1) * s.columns()) * (s.wide() ? 4 : 2)) {
    make_reference();
  }

  // Runs with rows_of[i] of the problem's rows as row i, with nothing but NaN around. Returns the
  // bytes of the whole output, in which what must not be written is NaN too.
  std::vector<std::uint8_t> run(const std::vector<int>& rows_of) {
    set_inputs(rows_of);
    ChainGemmParams p;
    p.weights = weights.data();
    p.n = shape.n;
    p.k = shape.k;
    p.rows = static_cast<int>(rows_of.size());
    p.x = used_.data();
    p.x_stride = shape.k;
    p.bias = shape.bias ? bias.data() : nullptr;
    p.out = out_.data();
    p.out_stride = shape.columns();
    p.output = shape.output;
    p.activation = shape.activation;
    p.tile_width = shape.tile_width;
    require(launch(p));
    require(cudaDeviceSynchronize());
    return out_.get();
  }
  cudaError_t launch(const ChainGemmParams& p) const {
    if constexpr (std::is_same_v<T, __half>)
      return ops::cuda::chain_gemm_f16(p, shape.sms, nullptr);
    return ops::cuda::chain_gemm_bf16(p, shape.sms, nullptr);
  }

  // The same rows for another product.
  struct Inputs {
    const T* x;
    void* out;
  };
  Inputs inputs(const std::vector<int>& rows_of) {
    set_inputs(rows_of);
    return {used_.data(), out_.data()};
  }
  std::vector<std::uint8_t> output() const { return out_.get(); }

  double value(const std::vector<std::uint8_t>& out, std::int64_t row, std::int64_t column) const {
    const auto at = static_cast<std::size_t>(row * shape.columns() + column);
    if (shape.wide()) return reinterpret_cast<const float*>(out.data())[at];
    return static_cast<float>(reinterpret_cast<const T*>(out.data())[at]);
  }
  std::size_t row_bytes() const {
    return static_cast<std::size_t>(shape.columns() * (shape.wide() ? 4 : 2));
  }

  // A chain of k / 16 links, each of which rounds by at most 2^-23 of the magnitudes so far;
  // activations are good to 2^-20, narrow outputs round by 2^-8 (bf16) or 2^-11 (f16, to multiples
  // of 2^-24).
  void check(const std::vector<std::uint8_t>& out, const std::vector<int>& rows_of) const {
    for (std::size_t r = 0; r < rows_of.size(); ++r) {
      for (std::int64_t c = 0; c < shape.columns(); ++c) {
        const auto [want, tolerance] = expected(rows_of[r], c);
        ASSERT_NEAR(value(out, static_cast<std::int64_t>(r), c), want, tolerance)
            << "row " << r << " column " << c << " of " << shape.n << " x " << shape.k;
      }
    }
  }

  ChainShape shape;

 private:
  DeviceArray<T> x_;

 public:
  DeviceArray<T> weights;
  DeviceArray<float> bias;

 private:
  struct Expected {
    double value, tolerance;
  };

  static std::vector<T> values(std::int64_t n, unsigned seed, float deviation) {
    return rounded<T>(normal(static_cast<std::size_t>(n), seed, deviation));
  }
  static double narrowing(double v) {
    return std::is_same_v<T, __half> ? std::abs(v) * 0x1p-11 + 0x1p-25 : std::abs(v) * 0x1p-8;
  }

  Expected linear(int source, std::int64_t row) const {
    const auto at = static_cast<std::size_t>(source * shape.n + row);
    double y = sums_[at];
    double tolerance = (static_cast<double>(shape.k) / 16 + 2) * 0x1p-23 * sizes_[at];
    if (!shape.bias) return {y, tolerance + 0x1p-22 * std::abs(y)};
    if (!shape.wide()) tolerance += narrowing(y);
    y += static_cast<double>(bias_host_[static_cast<std::size_t>(row)]);
    return {y, tolerance + 0x1p-22 * std::abs(y)};
  }
  Expected expected(int source, std::int64_t column) const {
    const Expected y = linear(source, column);
    if (!shape.gated()) {
      double v = y.value;
      if (shape.output == ProductOutput::kAddF32) {
        v += static_cast<double>(
            old_host_[static_cast<std::size_t>(source * shape.columns() + column)]);
      }
      return {v, y.tolerance + (shape.wide() ? std::abs(v) * 0x1p-22 : narrowing(v))};
    }
    const Expected up = linear(source, column + shape.n / 2);
    const double gate_error = y.tolerance + narrowing(y.value);
    const double up_error = up.tolerance + narrowing(up.value);
    const double gate = activated(shape.activation, y.value);
    const double v = gate * up.value;
    const double slope = 1.2 * gate_error + 1e-6 * std::abs(gate) + 2e-7;
    return {v, slope * (std::abs(up.value) + up_error) + std::abs(gate) * up_error + narrowing(v)};
  }

  void set_inputs(const std::vector<int>& rows_of) {
    const auto k = static_cast<std::size_t>(shape.k), n = static_cast<std::size_t>(shape.columns());
    std::vector<T> x(static_cast<std::size_t>(kChainRows) * k, T(std::nanf("")));
    std::vector<float> old(static_cast<std::size_t>(kChainRows + 1) * n, std::nanf(""));
    for (std::size_t r = 0; r < rows_of.size(); ++r) {
      if (rows_of[r] == kNanRow) continue;
      const auto source = static_cast<std::size_t>(rows_of[r]);
      std::copy_n(x_host_.data() + source * k, k, x.data() + r * k);
      std::copy_n(old_host_.data() + source * n, n, old.data() + r * n);
    }
    used_.set(x);
    out_.poison();
    if (shape.output == ProductOutput::kAddF32) {
      require(cudaMemcpy(out_.data(), old.data(), old.size() * 4, cudaMemcpyHostToDevice));
    }
  }

  void make_reference() {
    old_host_ = old_.get();
    bias_host_ = bias.get();
    const DeviceArray<float> x(widened(x_host_)), w(widened(weights.get()));
    const auto outputs = static_cast<std::size_t>(kChainRows * shape.n);
    const DeviceArray<double> y(outputs), size(outputs);
    const dim3 grid(static_cast<unsigned>((shape.n + 7) / 8), kChainRows);
    reference_kernel<<<grid, 256>>>(x.data(), w.data(), y.data(), size.data(), shape.n, shape.k);
    sums_ = y.get();
    sizes_ = size.get();
  }

  DeviceArray<float> old_;
  std::vector<T> x_host_;
  std::vector<float> old_host_, bias_host_;
  DeviceArray<T> used_{static_cast<std::size_t>(kChainRows * shape.k)};
  DeviceArray<std::uint8_t> out_;
  std::vector<double> sums_, sizes_;
};

}  // namespace spate::cuda_test
