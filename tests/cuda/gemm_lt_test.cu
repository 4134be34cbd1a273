// Products through cuBLASLt against double precision: every type, odd numbers of rows, bias,
// accumulation, strides, capture into graphs.
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "ops/cuda/gemm_lt.h"
#include "tests/cuda/gemm_problem.h"

namespace spate::cuda_test {
namespace {

using ops::cuda::GemmLt;
using ops::cuda::LtOptions;
using ops::cuda::LtProblem;
using ops::cuda::LtScratch;

struct LtCase {
  DType in, out;
  bool bias = false, accumulate = false;
};

template <class T>
std::vector<T> cast(const std::vector<float>& v) {
  std::vector<T> r;
  for (const float x : v) r.push_back(static_cast<T>(x));
  return r;
}
template <class T>
std::vector<float> uncast(const std::vector<T>& v) {
  std::vector<float> r;
  for (const T x : v) r.push_back(static_cast<float>(x));
  return r;
}

class Fixture {
 public:
  explicit Fixture(const LtOptions& options = {}) : workspace_(ops::cuda::kLtWorkspaceBytes) {
    auto made = GemmLt::create(options);
    EXPECT_TRUE(made) << made.error().message;
    lt = std::move(made).value();
    require(cudaStreamCreate(&stream));
  }
  ~Fixture() { cudaStreamDestroy(stream); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;
  LtScratch scratch() const { return {workspace_.data(), ops::cuda::kLtWorkspaceBytes, stream}; }
  std::unique_ptr<GemmLt> lt;
  cudaStream_t stream = nullptr;

 private:
  DeviceArray<std::uint8_t> workspace_;
};

constexpr std::int64_t kN = 264, kK = 512, kStride = 272;  // of outputs

template <class In, class Out>
void check(const Fixture& f, const LtCase& c, std::int64_t m, bool capture = false) {
  const bool fp8 = c.in == DType::kF8E4M3;
  const auto rows = static_cast<std::size_t>(m);
  const auto a = cast<In>(normal(rows * kK, 1, 1)), w = cast<In>(normal(kN * kK, 2, 0.1F));
  const auto bias = normal(kN, 3, 1), old = normal(rows * kStride, 4, 1);
  const auto a_scales = normal(rows, 5, 1), w_scales = normal(kN, 6, 1);
  const DeviceArray<In> da(a), dw(w);
  const DeviceArray<Out> d(cast<Out>(old));
  const DeviceArray<float> db(bias), das(a_scales), dws(w_scales);
  LtProblem p{.m = m,
              .n = kN,
              .k = kK,
              .in = c.in,
              .out = c.out,
              .a = da.data(),
              .w = dw.data(),
              .d = d.data(),
              .d_stride = kStride};
  if (c.bias) p.bias = db.data();
  if (fp8) p.a_scales = das.data(), p.w_scales = dws.data();
  p.accumulate = c.accumulate;
  if (capture) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    require(cudaStreamBeginCapture(f.stream, cudaStreamCaptureModeThreadLocal));
    ASSERT_TRUE(f.lt->run(p, f.scratch()));
    require(cudaStreamEndCapture(f.stream, &graph));
    require(cudaGraphInstantiate(&exec, graph, 0));
    require(cudaGraphLaunch(exec, f.stream));
    require(cudaStreamSynchronize(f.stream));
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
  } else {
    const auto done = f.lt->run(p, f.scratch());
    ASSERT_TRUE(done) << done.error().message;
    require(cudaStreamSynchronize(f.stream));
  }

  const DeviceArray<float> xa(uncast(a)), xw(uncast(w));
  const DeviceArray<double> y(rows * kN), size(rows * kN);
  reference_kernel<<<dim3((kN + 7) / 8, static_cast<unsigned>(m)), 256>>>(
      xa.data(), xw.data(), y.data(), size.data(), kN, kK);
  const auto want = y.get(), sizes = size.get();
  const auto got = uncast(d.get());
  // Sums of k terms in f32; those of e4m3 are cut to about 14 bits every 32 terms.
  const double sum_error =
      fp8 ? static_cast<double>(kK) / 32 * 0x1p-14 : static_cast<double>(kK) * 0x1p-24;
  const double rounding = c.out == DType::kF32 ? 0x1p-22 : c.out == DType::kF16 ? 0x1p-10 : 0x1p-7;
  for (std::size_t i = 0; i < rows * kStride; ++i) {
    const std::size_t row = i / kStride, column = i % kStride;
    const float before = static_cast<float>(static_cast<Out>(old[i]));
    if (column >= kN) {
      ASSERT_EQ(got[i], before) << "written beyond the row";
      continue;
    }
    const std::size_t at = row * kN + column;
    const double scale = fp8 ? static_cast<double>(a_scales[row] * w_scales[column]) : 1;
    double v = want[at] * scale;
    double magnitude = std::abs(v);
    for (const float x : {c.bias ? bias[column] : 0.F, c.accumulate ? old[i] : 0.F}) {
      v += static_cast<double>(x);
      magnitude += std::abs(static_cast<double>(x));
    }
    ASSERT_NEAR(got[i], v, sum_error * sizes[at] * std::abs(scale) + rounding * magnitude)
        << "row " << row << " column " << column << " of " << m;
  }
}

template <class In, class Out>
void check_rows(const LtCase& c) {
  const Fixture f;
  for (const std::int64_t m : {1, 3, 17, 64, 100, 257}) check<In, Out>(f, c, m);
  EXPECT_EQ(f.lt->n_tuned(), 5);  // not of 257 rows
}

TEST(GemmLt, MultipliesBf16) {
  check_rows<Bf16, float>({.in = DType::kBF16, .out = DType::kF32});
  check_rows<Bf16, Bf16>({.in = DType::kBF16, .out = DType::kBF16});
}
TEST(GemmLt, AddsBias) {
  check_rows<Bf16, float>({.in = DType::kBF16, .out = DType::kF32, .bias = true});
  check_rows<Bf16, Bf16>({.in = DType::kBF16, .out = DType::kBF16, .bias = true});
}
TEST(GemmLt, AddsToTheResidual) {
  check_rows<Bf16, float>({.in = DType::kBF16, .out = DType::kF32, .accumulate = true});
  check_rows<Bf16, float>(
      {.in = DType::kBF16, .out = DType::kF32, .bias = true, .accumulate = true});
}
TEST(GemmLt, MultipliesF32InFullPrecision) {
  check_rows<float, float>({.in = DType::kF32, .out = DType::kF32, .bias = true});
}
TEST(GemmLt, MultipliesF16) {
  check_rows<__half, __half>({.in = DType::kF16, .out = DType::kF16});
  check_rows<__half, float>({.in = DType::kF16, .out = DType::kF32, .accumulate = true});
}
TEST(GemmLt, MultipliesFp8WithAScaleForEachRow) {
  check_rows<__nv_fp8_e4m3, Bf16>({.in = DType::kF8E4M3, .out = DType::kBF16});
}
TEST(GemmLt, MultipliesFp8IntoF32) {
  check_rows<__nv_fp8_e4m3, float>({.in = DType::kF8E4M3, .out = DType::kF32});
}
TEST(GemmLt, AddsFp8ToTheResidual) {
  check_rows<__nv_fp8_e4m3, float>(
      {.in = DType::kF8E4M3, .out = DType::kF32, .bias = true, .accumulate = true});
}
TEST(GemmLt, IsCapturedWithoutTuning) {
  const Fixture f;
  check<Bf16, float>(f, {.in = DType::kBF16, .out = DType::kF32}, 33, true);
  EXPECT_EQ(f.lt->n_tuned(), 0);
}

TEST(GemmLt, GivesARowTheSameBitsInAnyCompanyWhenDeterministic) {
  const Fixture f({.deterministic = true});
  const DeviceArray<Bf16> a(rounded(normal(300 * kK, 1, 1))), w(rounded(normal(kN * kK, 2, 1)));
  std::vector<float> alone;
  for (const std::int64_t m : {1, 2, 17, 64, 129, 300}) {
    const DeviceArray<float> d(static_cast<std::size_t>(m * kN));
    const LtProblem p{.m = m, .n = kN, .k = kK, .a = a.data(), .w = w.data(), .d = d.data()};
    ASSERT_TRUE(f.lt->run(p, f.scratch()));
    require(cudaStreamSynchronize(f.stream));
    auto row = d.get();
    row.resize(kN);
    if (alone.empty()) alone = row;
    EXPECT_EQ(row, alone) << m;
  }
}

}  // namespace
}  // namespace spate::cuda_test
