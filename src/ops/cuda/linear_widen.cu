#include "ops/cuda/launching.h"
#include "ops/cuda/linear_widen.h"
#include "ops/cuda/product_result.h"
#include "ops/cuda/widen_gemm.h"

namespace spate::ops::cuda {
namespace {

namespace k = spate::cuda;

/// Fewer are streamed, which is faster; of more, a bf16 copy of the weights costs less than the
/// library's kernels win.
constexpr std::int64_t kFewestRows = 9, kMostRows = 256;

}  // namespace

bool widens(const Gpu& gpu, const WidenShape& shape) {
  // Its sums have an order of their own, whatever the number of rows.
  const bool many = shape.rows >= kFewestRows && shape.rows <= kMostRows;
  return gpu.architecture() == 90 && k::supports_widen_gemm(shape.n, shape.k) &&
         (many || gpu.deterministic());
}

void widen_product(Gpu& gpu, Tensor out, Tensor x, const DeviceMatrix& w, bool accumulate) {
  k::WidenGemmParams p{};
  p.weights = w.weights;
  p.n = w.n;
  p.k = w.k;
  p.rows = static_cast<int>(x.dim(0));
  p.x = x.data();
  p.x_stride = x.stride(0);
  p.bias = w.bias;
  p.out = out.data();
  p.out_stride = out.stride(0);
  p.output = output_of(accumulate ? ProductResult::kAdd : ProductResult::kWrite, out.dtype());
  p.dependent_launch = gpu.dependent_launch();
  const auto launch = w.format == DeviceFormat::kQ8 ? widen_gemm_q8 : widen_gemm_q4;
  check(launch(p, gpu.multiprocessors(), gpu.stream()), "a product");
}

}  // namespace spate::ops::cuda
