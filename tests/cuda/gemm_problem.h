// Problems for the tests of the streaming product: random matrices, a reference in double
// precision, and the error that the arithmetic may make.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "ops/cuda/stream_gemm.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

using Bf16 = __nv_bfloat16;
using cuda::ProductOutput;
using cuda::RowActivation;
using cuda::StreamGemmParams;

constexpr int kMaxRows = 16;
constexpr int kNanRow = -1;  // in a list of rows: one of NaN

struct GemmShape {
  std::int64_t n = 0, k = 0;
  ProductOutput output = ProductOutput::kF32;
  bool norm = false, bias = false;
  bool f16 = false;  // rows and narrow outputs, else bf16
  RowActivation activation = RowActivation::kSilu;
  int sms = 132;
  std::int64_t columns() const { return output == ProductOutput::kGated ? n / 2 : n; }
};

inline std::vector<float> normal(std::size_t n, unsigned seed, float deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0, deviation);
  std::vector<float> v(n);
  for (float& x : v) x = draw(random);
  return v;
}
template <class T = Bf16>
std::vector<T> rounded(const std::vector<float>& v) {
  std::vector<T> r;
  for (const float x : v) {
    if constexpr (std::is_same_v<T, __half>) {
      r.push_back(__float2half(x));
    } else {
      r.push_back(__float2bfloat16(x));
    }
  }
  return r;
}
template <class T>
std::vector<float> widened(const std::vector<T>& v) {
  std::vector<float> r;
  for (const T x : v) r.push_back(static_cast<float>(x));
  return r;
}

// Sums in double precision of rows as the kernel sees them (with a norm: bf16(x * weight)), and the
// sums of magnitudes that errors are measured by. One warp an output.
static __global__ void reference_kernel(const float* x, const float* w, double* y, double* size,
                                        std::int64_t n, std::int64_t k) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 8 + threadIdx.x / 32, row = blockIdx.y;
  if (column >= n) return;
  double sum = 0, magnitude = 0;
  for (std::int64_t i = threadIdx.x % 32; i < k; i += 32) {
    const double p = static_cast<double>(x[row * k + i]) * static_cast<double>(w[column * k + i]);
    sum += p;
    magnitude += fabs(p);
  }
  for (int o = 16; o > 0; o /= 2) {
    sum += __shfl_xor_sync(~0u, sum, o);
    magnitude += __shfl_xor_sync(~0u, magnitude, o);
  }
  if (threadIdx.x % 32 == 0) {
    y[row * n + column] = sum;
    size[row * n + column] = magnitude;
  }
}

inline double activated(RowActivation kind, double x) {
  switch (kind) {
    case RowActivation::kSilu:
      return x / (1 + std::exp(-x));
    case RowActivation::kGelu:
      return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case RowActivation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case RowActivation::kRelu:
      return x > 0 ? x : 0;
    default:
      return x / (1 + std::exp(-1.702 * x));
  }
}

// The weights of a problem as each format stores them, and as plain floats.
struct StoredWeights {
  const void* data = nullptr;
  const float* scales = nullptr;
};

class GemmProblem {
 public:
  GemmProblem(const GemmShape& s, const std::vector<float>& weights)
      : shape(s),
        weights_(weights),
        norm_weight(static_cast<std::size_t>(s.k)),
        bias(static_cast<std::size_t>(s.n)),
        x_(static_cast<std::size_t>(kMaxRows * s.k)),
        out_(static_cast<std::size_t>((kMaxRows + 1) * s.columns()) * (wide_out() ? 4 : 2)) {
    x_host_ = normal(x_.size(), 7, 1.5F);
    if (!s.norm) x_host_ = s.f16 ? widened(rounded<__half>(x_host_)) : widened(rounded(x_host_));
    norm_host_ = normal(norm_weight.size(), 8, 0.3F);
    for (float& w : norm_host_) w += 1;
    norm_weight.set(norm_host_);
    bias_host_ = normal(bias.size(), 9, 1.F);
    bias.set(bias_host_);
    old_host_ = normal(static_cast<std::size_t>(kMaxRows * s.columns()), 10, 2.F);
    make_reference();
  }

  // Runs with rows_of[i] of the problem's rows as row i. The rest of x is NaN. Returns the bytes of
  // the whole output, in which what must not be written is NaN too (or the old residual).
  std::vector<std::uint8_t> run(cuda::StreamFormat format, const StoredWeights& w,
                                const std::vector<int>& rows_of) {
    set_inputs(rows_of);
    StreamGemmParams p;
    p.weights = w.data;
    p.weight_scales = w.scales;
    p.n = shape.n;
    p.k = shape.k;
    p.rows = static_cast<int>(rows_of.size());
    p.x = x_.data();
    p.x_stride = shape.k;
    p.norm_weight = shape.norm ? norm_weight.data() : nullptr;
    p.norm_eps = kEps;
    p.bias = shape.bias ? bias.data() : nullptr;
    p.out = out_.data();
    p.out_stride = shape.columns();
    p.output = shape.output;
    p.activation = shape.activation;
    require(ops::cuda::stream_gemm(format, p, shape.sms, nullptr));
    require(cudaDeviceSynchronize());
    return out_.get();
  }

  double value(const std::vector<std::uint8_t>& out, std::int64_t row, std::int64_t column) const {
    const auto at = static_cast<std::size_t>(row * shape.columns() + column);
    if (wide_out()) return reinterpret_cast<const float*>(out.data())[at];
    if (shape.f16) return __half2float(reinterpret_cast<const __half*>(out.data())[at]);
    return __bfloat162float(reinterpret_cast<const Bf16*>(out.data())[at]);
  }

  // What row `source` must give in `column`, and how far from it the kernel may be: the matrix
  // instruction and the chains round to f32 k / 128 + 32 times, at most by 2^-23 of the magnitudes;
  // the norm's root and activations are good to 2^-20; bf16 outputs round by 2^-8, f16 by 2^-11
  // and to multiples of 2^-24.
  struct Expected {
    double value = 0, tolerance = 0;
  };
  Expected expected(int source, std::int64_t column) const {
    const Expected y = linear(source, column);
    if (shape.output != ProductOutput::kGated) {
      const double old =
          shape.output == ProductOutput::kAddF32
              ? static_cast<double>(
                    old_host_[static_cast<std::size_t>(source * shape.columns() + column)])
              : 0;
      const double v = y.value + old;
      return {v, y.tolerance + (wide_out() ? std::abs(v) * 0x1p-22 : narrowing(v))};
    }
    const Expected up = linear(source, column + shape.n / 2);
    const double gate = activated(shape.activation, y.value);
    const double v = gate * up.value;
    const double slope = 1.2 * y.tolerance + 1e-6 * std::abs(gate) + 2e-7;
    return {v, slope * (std::abs(up.value) + up.tolerance) + std::abs(gate) * up.tolerance +
                   narrowing(v)};
  }

  void check(const std::vector<std::uint8_t>& out, const std::vector<int>& rows_of) const {
    for (std::size_t r = 0; r < rows_of.size(); ++r) {
      for (std::int64_t c = 0; c < shape.columns(); ++c) {
        const Expected e = expected(rows_of[r], c);
        ASSERT_NEAR(value(out, static_cast<std::int64_t>(r), c), e.value, e.tolerance)
            << "row " << r << " column " << c << " of " << shape.n << " x " << shape.k;
      }
    }
  }

  std::size_t row_bytes() const {
    return static_cast<std::size_t>(shape.columns() * (wide_out() ? 4 : 2));
  }
  GemmShape shape;

 private:
  static constexpr float kEps = 1e-5F;
  double narrowing(double v) const {
    return shape.f16 ? std::abs(v) * 0x1p-11 + 0x1p-25 : std::abs(v) * 0x1p-8;
  }
  bool wide_out() const {
    return shape.output == ProductOutput::kF32 || shape.output == ProductOutput::kAddF32;
  }

  Expected linear(int source, std::int64_t row) const {
    const auto at = static_cast<std::size_t>(source * shape.n + row);
    const double factor = shape.norm ? rms_[static_cast<std::size_t>(source)] : 1;
    double y = sums_[at] * factor;
    double tolerance = (static_cast<double>(shape.k) / 128 + 32) * 0x1p-23 * sizes_[at] * factor +
                       0x1p-20 * std::abs(y);
    if (shape.bias) y += static_cast<double>(bias_host_[static_cast<std::size_t>(row)]);
    return {y, tolerance + 0x1p-23 * std::abs(y)};
  }

  void set_inputs(const std::vector<int>& rows_of) {
    const auto k = static_cast<std::size_t>(shape.k), n = static_cast<std::size_t>(shape.columns());
    std::vector<float> x(static_cast<std::size_t>(kMaxRows) * k, std::nanf(""));
    std::vector<float> old(static_cast<std::size_t>(kMaxRows + 1) * n, std::nanf(""));
    for (std::size_t r = 0; r < rows_of.size(); ++r) {
      if (rows_of[r] == kNanRow) continue;
      const auto source = static_cast<std::size_t>(rows_of[r]);
      std::copy_n(x_host_.data() + source * k, k, x.data() + r * k);
      std::copy_n(old_host_.data() + source * n, n, old.data() + r * n);
    }
    out_.poison();
    if (shape.output == ProductOutput::kAddF32) {
      require(cudaMemcpy(out_.data(), old.data(), old.size() * 4, cudaMemcpyHostToDevice));
    }
    if (shape.norm) return x_.set(x);
    shape.f16 ? set_rows(rounded<__half>(x)) : set_rows(rounded(x));
  }

  template <class T>
  void set_rows(const std::vector<T>& x) {
    require(cudaMemcpy(x_.data(), x.data(), x.size() * 2, cudaMemcpyHostToDevice));
  }

  void make_reference() {
    const auto k = static_cast<std::size_t>(shape.k);
    std::vector<float> seen = x_host_;
    for (std::size_t r = 0; r < kMaxRows && shape.norm; ++r) {
      double squares = 0;
      for (std::size_t i = 0; i < k; ++i) {
        const float x = x_host_[r * k + i];
        squares += static_cast<double>(x) * static_cast<double>(x);
        seen[r * k + i] = __bfloat162float(__float2bfloat16(x * norm_host_[i]));
      }
      rms_.push_back(1 / std::sqrt(squares / static_cast<double>(k) + static_cast<double>(kEps)));
    }
    const DeviceArray<float> x(seen), w(weights_);
    const auto outputs = static_cast<std::size_t>(kMaxRows * shape.n);
    const DeviceArray<double> y(outputs), size(outputs);
    const dim3 grid(static_cast<unsigned>((shape.n + 7) / 8), kMaxRows);
    reference_kernel<<<grid, 256>>>(x.data(), w.data(), y.data(), size.data(), shape.n, shape.k);
    sums_ = y.get();
    sizes_ = size.get();
  }

  std::vector<float> weights_;

 public:
  DeviceArray<float> norm_weight, bias;

 private:
  DeviceArray<float> x_;
  DeviceArray<std::uint8_t> out_;
  std::vector<float> x_host_, norm_host_, bias_host_, old_host_;
  std::vector<double> sums_, sizes_, rms_;
};

inline std::vector<int> iota(int n) {
  std::vector<int> v;
  for (int i = 0; i < n; ++i) v.push_back(i);
  return v;
}

// Values of all rows, then the same bits for every number of rows and every place of a row, and
// nothing written beyond.
inline void expect_right_and_invariant(GemmProblem& problem, cuda::StreamFormat format,
                                       const StoredWeights& w) {
  std::vector<std::vector<std::uint8_t>> alone;
  const int most = cuda::stream_max_rows(format);
  const std::vector<int> all = iota(most);
  problem.check(problem.run(format, w, all), all);
  for (const int r : all) alone.push_back(problem.run(format, w, {r}));
  for (const int rows : {1, 2, 3, 5, 8, 9, 13, 16}) {
    if (rows > most) break;
    std::vector<int> rows_of;
    for (int i = 0; i < rows; ++i) rows_of.push_back((i * 5 + 3) % most);
    const auto out = problem.run(format, w, rows_of);
    const std::size_t n = problem.row_bytes();
    for (std::size_t i = 0; i < rows_of.size(); ++i) {
      const auto& want = alone[static_cast<std::size_t>(rows_of[i])];
      ASSERT_TRUE(std::equal(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(n),
                             out.begin() + static_cast<std::ptrdiff_t>(i * n)))
          << "row " << i << " of " << rows;
    }
    for (std::int64_t c = 0; c < problem.shape.columns(); ++c) {
      ASSERT_TRUE(std::isnan(problem.value(out, rows, c))) << "written beyond row " << rows;
    }
  }
}

// A row of NaN gives NaN, and the others have the bits that they have without it.
inline void expect_nan_contained(GemmProblem& problem, cuda::StreamFormat format,
                                 const StoredWeights& w) {
  std::vector<int> rows_of = iota(cuda::stream_max_rows(format));
  const auto want = problem.run(format, w, rows_of);
  const auto n = static_cast<std::ptrdiff_t>(problem.row_bytes());
  for (const int nan_row : {0, 3, cuda::stream_max_rows(format) - 1}) {
    rows_of = iota(cuda::stream_max_rows(format));
    rows_of[static_cast<std::size_t>(nan_row)] = kNanRow;
    const auto out = problem.run(format, w, rows_of);
    for (const int r : rows_of) {
      if (r == kNanRow) continue;
      ASSERT_TRUE(std::equal(want.begin() + r * n, want.begin() + (r + 1) * n, out.begin() + r * n))
          << "row " << r << " beside row " << nan_row;
    }
    for (std::int64_t c = 0; c < problem.shape.columns(); ++c) {
      ASSERT_TRUE(std::isnan(problem.value(out, nan_row, c))) << "row " << nan_row;
    }
  }
}

}  // namespace spate::cuda_test
