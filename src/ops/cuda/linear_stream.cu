#include <optional>

#include "ops/cuda/launching.h"
#include "ops/cuda/linear_stream.h"
#include "ops/cuda/stream_gemm.h"

namespace spate::ops::cuda {
namespace {

namespace k = spate::cuda;

/// F32 weights are not streamed.
std::optional<k::StreamFormat> stream_format(DeviceFormat format) {
  switch (format) {
    case DeviceFormat::kBF16:
      return k::StreamFormat::kBF16;
    case DeviceFormat::kF16:
      return k::StreamFormat::kF16;
    case DeviceFormat::kFp8:
      return k::StreamFormat::kFp8;
    case DeviceFormat::kQ8:
      return k::StreamFormat::kQ8;
    case DeviceFormat::kQ4:
      return k::StreamFormat::kQ4;
    default:
      return std::nullopt;
  }
}

}  // namespace

bool streams(const Gpu& gpu, const DeviceMatrix& w, std::int64_t rows, ProductResult result) {
  const std::optional<k::StreamFormat> format = stream_format(w.format);
  // Its sums have another order than those of more rows.
  if (gpu.deterministic()) return false;
  return format && gpu.architecture() == 90 && rows > 0 && rows <= k::stream_max_rows(*format) &&
         k::supports_stream_gemm(*format, w.n, w.k, result == ProductResult::kGated);
}

void stream_product(Gpu& gpu, Tensor out, const Rows& x, const DeviceMatrix& w,
                    ProductResult result, Activation activation) {
  k::StreamGemmParams p{};
  p.weights = w.weights;
  p.weight_scales = w.scales;
  p.n = w.n;
  p.k = w.k;
  p.rows = static_cast<int>(x.count());
  p.x = x.values.data();
  p.x_stride = x.values.stride(0);
  if (x.norm) {
    p.norm_weight = x.norm->weight;
    p.norm_eps = x.norm->eps;
  }
  p.bias = w.bias;
  p.out = out.data();
  p.out_stride = out.stride(0);
  p.output = output_of(result, out.dtype());
  p.activation = static_cast<k::RowActivation>(activation);
  p.dependent_launch = gpu.dependent_launch();
  check(stream_gemm(*stream_format(w.format), p, gpu.multiprocessors(), gpu.stream()), "a product");
}

}  // namespace spate::ops::cuda
