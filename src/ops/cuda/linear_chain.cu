#include "ops/cuda/bit_trial.h"
#include "ops/cuda/chain_gemm.h"
#include "ops/cuda/launching.h"
#include "ops/cuda/linear_chain.h"

namespace spate::ops::cuda {
namespace {

namespace k = spate::cuda;

/// Whether the chain is the faster one (docs/benchmarks-gpu-linear.md).
bool is_faster(const Gpu& gpu, std::int64_t n, std::int64_t rows, bool gated) {
  if (rows <= k::kNarrowChainRows) return true;
  // Tiles of 128 rows, the last one of which should not be mostly empty.
  if (rows > k::kWideChainRows) return gated && rows * 5 >= (rows + 127) / 128 * 128 * 4;
  // A warpgroup makes one chain for 64 rows of W however few of them a multiprocessor has; the
  // library's chains are shorter, up to 32 rows most of all.
  const std::int64_t least_band = rows <= 32 ? 44 : 31;  // rows of W for each multiprocessor
  return n >= least_band * gpu.multiprocessors();
}

cudaError_t launch(DType type, const k::ChainGemmParams& p, const Gpu& gpu) {
  const auto kernel = type == DType::kF16 ? chain_gemm_f16 : chain_gemm_bf16;
  return kernel(p, gpu.multiprocessors(), gpu.stream());
}

/// Whether that many rows have the library's bits in the kernel that takes them.
bool has_bits_for(std::int64_t rows, GemmLt& lt, const LtProblem& problem, Gpu& gpu,
                  const LtScratch& scratch) {
  LtProblem asked = problem;
  asked.m = rows;
  BitTrial trial(asked, scratch.stream);
  if (!trial.ready() || !lt.run_for_all_rows(trial.next(), scratch)) return false;
  trial.keep();
  const LtProblem& again = trial.next();
  k::ChainGemmParams p{};
  p.weights = again.w;
  p.n = again.n;
  p.k = again.k;
  p.rows = static_cast<int>(again.m);
  p.x = again.a;
  p.x_stride = again.k;
  p.bias = again.bias;
  p.out = again.d;
  p.out_stride = again.n;
  p.output = output_of(again.accumulate ? ProductResult::kAdd : ProductResult::kWrite, again.out);
  p.dependent_launch = false;
  return launch(again.in, p, gpu) == cudaSuccess && trial.same();
}

}  // namespace

bool can_chain(const Gpu& gpu, const DeviceMatrix& w, std::int64_t rows, ProductResult result) {
  const bool plain = w.format == DeviceFormat::kBF16 || w.format == DeviceFormat::kF16;
  const bool gated = result == ProductResult::kGated;
  return plain && gpu.architecture() == 90 && rows > 0 && is_faster(gpu, w.n, rows, gated) &&
         k::supports_chain_gemm(w.n, w.k, gated);
}

void chain_product(Gpu& gpu, Tensor out, Tensor x, const DeviceMatrix& w, ProductResult result,
                   Activation activation) {
  k::ChainGemmParams p{};
  p.weights = w.weights;
  p.n = w.n;
  p.k = w.k;
  p.rows = static_cast<int>(x.dim(0));
  p.x = x.data();
  p.x_stride = x.stride(0);
  p.bias = w.bias;
  p.out = out.data();
  p.out_stride = out.stride(0);
  p.output = output_of(result, out.dtype());
  p.activation = static_cast<k::RowActivation>(activation);
  p.dependent_launch = gpu.dependent_launch();
  check(launch(x.dtype(), p, gpu), "a product");
}

bool chain_has_bits_of(GemmLt& lt, const LtProblem& problem, ProductResult result, Gpu& gpu,
                       const LtScratch& scratch) {
  constexpr std::int64_t kTiledRows = 320;  // two tiles and a half
  const bool gated = result == ProductResult::kGated;
  for (const std::int64_t rows :
       {std::int64_t{k::kNarrowChainRows}, std::int64_t{k::kWideChainRows}, kTiledRows}) {
    const bool is_used = is_faster(gpu, problem.n, rows, gated);
    if (is_used && !has_bits_for(rows, lt, problem, gpu, scratch)) return false;
  }
  return true;
}

}  // namespace spate::ops::cuda
