#include <string>

#include "ops/cuda/linear_stream.h"
#include "spate/kernels/cuda/gemm_stream.cuh"

namespace spate::ops::cuda {
namespace {

namespace k = spate::cuda;

k::StreamOutput output_of(StreamResult result, DType out) {
  if (result == StreamResult::kAdd) return k::StreamOutput::kAddF32;
  if (result == StreamResult::kGated) return k::StreamOutput::kGated;
  return out == DType::kF32 ? k::StreamOutput::kF32 : k::StreamOutput::kBF16;
}

cudaError_t launch(DeviceFormat format, const k::StreamGemmParams& p, const Gpu& gpu) {
  const int sms = gpu.multiprocessors();
  switch (format) {
    case DeviceFormat::kBF16:
      return k::launch_stream_gemm<k::StreamFormat::kBF16>(p, sms, gpu.stream());
    case DeviceFormat::kFp8:
      return k::launch_stream_gemm<k::StreamFormat::kFp8>(p, sms, gpu.stream());
    case DeviceFormat::kQ8:
      return k::launch_stream_gemm<k::StreamFormat::kQ8>(p, sms, gpu.stream());
    case DeviceFormat::kQ4:
      return k::launch_stream_gemm<k::StreamFormat::kQ4>(p, sms, gpu.stream());
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

bool streams(const Gpu& gpu, const DeviceMatrix& w, std::int64_t rows, StreamResult result) {
  const bool known = w.format != DeviceFormat::kF32 && w.format != DeviceFormat::kF16;
  return known && gpu.architecture() == 90 && rows <= k::kStreamMaxRows &&
         k::supports_stream_gemm(w.n, w.k, result == StreamResult::kGated);
}

void stream_product(Gpu& gpu, Tensor out, const Rows& x, const DeviceMatrix& w, StreamResult result,
                    Activation activation) {
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
  p.activation = static_cast<k::StreamActivation>(activation);
  p.dependent_launch = gpu.dependent_launch();
  if (const cudaError_t error = launch(w.format, p, gpu); error != cudaSuccess) {
    throw DeviceError(std::string("the GPU refused a product: ") + cudaGetErrorString(error));
  }
}

}  // namespace spate::ops::cuda
