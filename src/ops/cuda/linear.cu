#include "core/check.h"
#include "device/gpu_timeline.h"
#include "ops/cuda/device_batch.h"
#include "ops/cuda/launching.h"
#include "ops/cuda/linear_chain.h"
#include "ops/cuda/linear_state.h"
#include "ops/cuda/linear_stream.h"
#include "ops/cuda/linear_widen.h"
#include "ops/cuda/op_costs.h"
#include "ops/cuda/operators.h"
#include "quant/device_matrix.h"
#include "spate/kernels/cuda/activation.cuh"
#include "spate/kernels/cuda/normalize.cuh"
#include "spate/kernels/cuda/qkv.cuh"

namespace spate::ops::cuda {
namespace {

namespace k = spate::cuda;

/// What the matrix's arithmetic takes: f32 and f16 with such weights, else bf16.
DType input_of(const DeviceMatrix& w) {
  if (w.format == DeviceFormat::kF32) return DType::kF32;
  return w.format == DeviceFormat::kF16 ? DType::kF16 : DType::kBF16;
}

OpCost product_cost(const char* name, const Rows& x, const Matrix& matrix) {
  const DeviceMatrix& w = *matrix.on_device();
  return {.name = name,
          .k = w.k,
          .n = w.n,
          .rows = rows_class(x.count()),
          .arithmetic = w.format == DeviceFormat::kF32   ? Arithmetic::kF32
                        : w.format == DeviceFormat::kFp8 ? Arithmetic::kFp8
                                                         : Arithmetic::kBF16,
          .operations = 2.0 * static_cast<double>(x.count() * w.k * w.n),
          .n_bytes =
              static_cast<double>(weight_bytes(w.format, w.n, w.k) + scale_bytes(w.format, w.n))};
}

/// How a matrix takes rows, besides their type.
struct RowOrder {
  float* scales = nullptr;  // kF8E4M3: of each row
  bool dealt = false;       // for the widening product
};

/// The rows as the matrix takes them: normalized, narrowed; e4m3 with a scale a row.
Tensor input_rows(Device& device, Arena& arena, const Rows& x, DType type, RowOrder order = {}) {
  SPATE_CHECK(order.dealt || !x.packed);
  if (x.packed) return x.values;
  if (!x.norm && x.values.dtype() == type && !order.dealt) return x.values;
  const Tensor out = arena.allocate(type, {x.count(), x.values.dim(1)});
  const GpuOpTimer timer(device, [&] { return moving_cost("normalize", {x.values, out}); });
  k::NormalizeParams p{};
  p.x = x.values.data();
  p.x_type = row_type(x.values.dtype());
  p.x_stride = x.values.stride(0);
  if (x.norm) {
    p.norm = x.norm->kind == NormParams::Kind::kRms ? k::RowNorm::kRms : k::RowNorm::kLayer;
    p.weight = x.norm->weight;
    p.bias = x.norm->bias;
    p.eps = x.norm->eps;
  }
  p.out = out.data();
  p.out_type = row_type(type);
  p.out_stride = out.stride(0);
  p.scales = order.scales;
  p.dealt = order.dealt;
  p.rows = x.count();
  p.k = static_cast<int>(out.dim(1));
  p.dependent_launch = device.gpu()->dependent_launch();
  check(k::launch_normalize(p, device.gpu()->stream()), "a normalization");
  return out;
}

bool is_quantized(DeviceFormat f) { return f == DeviceFormat::kQ8 || f == DeviceFormat::kQ4; }

/// Quantized weights are widened a part at a time, for products of many rows.
void multiply_widened(Device& device, Arena& arena, LtProblem problem, const DeviceMatrix& w) {
  constexpr std::int64_t kBytes = std::int64_t{64} << 20;
  const std::int64_t mark = arena.mark();
  const std::int64_t at_once =
      std::min(w.n, std::max<std::int64_t>(16, kBytes / (2 * w.k) / 16 * 16));
  const Tensor part = arena.allocate(DType::kBF16, {at_once, w.k});
  auto* d = static_cast<std::byte*>(problem.d);
  problem.d_stride = problem.d_stride == 0 ? w.n : problem.d_stride;
  for (std::int64_t first = 0; first < w.n; first += at_once) {
    problem.n = std::min(at_once, w.n - first);
    device_done(dequantize_rows(w, first, problem.n, part.data(), device.gpu()->stream()));
    problem.w = part.data();
    problem.d = d + first * size_of(problem.out);
    problem.bias = w.bias == nullptr ? nullptr : w.bias + first;
    LinearState::of(device).run(device, problem);
  }
  arena.reset(mark);
}

/// The rows as the streaming product takes them.
Rows stream_rows(Device& device, Arena& arena, const Rows& x, const DeviceMatrix& w) {
  const bool fused = w.format != DeviceFormat::kF16 && x.norm &&
                     x.norm->kind == NormParams::Kind::kRms && x.norm->weight != nullptr &&
                     x.norm->bias == nullptr && x.values.dtype() == DType::kF32;
  if (fused) return x;
  return {.values = input_rows(device, arena, x, input_of(w))};
}

/// Whether the chain kernel takes a product: where rows must have the library's bits, and of more
/// than 8 rows, for which it is faster than the streaming kernel.
bool chains(Device& device, const DeviceMatrix& w, std::int64_t rows, ProductResult result,
            DType out) {
  constexpr std::int64_t kStreamedRows = 8;
  const bool deterministic = device.gpu()->deterministic();
  if (!can_chain(*device.gpu(), w, rows, result)) return false;
  if (!deterministic) return rows > kStreamedRows;
  return LinearState::of(device).chain_has_its_bits(device,
                                                    {.n = w.n,
                                                     .k = w.k,
                                                     .in = input_of(w),
                                                     .out = out,
                                                     .w = w.weights,
                                                     .bias = w.bias,
                                                     .accumulate = result == ProductResult::kAdd},
                                                    result);
}

/// A product of few rows by the chain kernel.
struct ChainCall {
  ProductResult result = ProductResult::kWrite;
  Activation activation = Activation::kSilu;
};
void multiply_chained(Device& device, Arena& arena, Tensor out, const Rows& x,
                      const DeviceMatrix& w, ChainCall call) {
  const Tensor rows = input_rows(device, arena, x, input_of(w));
  chain_product(*device.gpu(), out, rows, w, call.result, call.activation);
}

/// E4m3 rows and weights, each with its scales.
void multiply_fp8(Device& device, Arena& arena, LtProblem problem, const Rows& x,
                  const DeviceMatrix& w) {
  const bool ready = x.packed == RowFormat::kE4M3;
  const Tensor scales = ready ? x.scales : arena.allocate(DType::kF32, {x.count()});
  const Tensor a =
      ready ? x.values
            : input_rows(device, arena, x, DType::kF8E4M3, {.scales = scales.as<float>()});
  problem.in = DType::kF8E4M3;
  problem.a = a.data();
  problem.a_stride = a.stride(0);
  problem.w = w.weights;
  problem.a_scales = scales.as<float>();
  problem.w_scales = w.scales;
  LinearState::of(device).run(device, problem);
}

/// out (+)= x W^T + bias.
void multiply(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& matrix,
              bool accumulate) {
  const DeviceMatrix& w = *matrix.on_device();
  SPATE_CHECK_OP(out.dim(1), ==, w.n);
  SPATE_CHECK_OP(x.values.dim(1), ==, w.k);
  const std::int64_t mark = arena.mark();
  const ProductResult result = accumulate ? ProductResult::kAdd : ProductResult::kWrite;
  if (chains(device, w, x.count(), result, out.dtype())) {
    multiply_chained(device, arena, out, x, w, {.result = result});
    arena.reset(mark);
    return;
  }
  if (streams(*device.gpu(), w, x.count(), result)) {
    stream_product(*device.gpu(), out, stream_rows(device, arena, x, w), w, result);
    arena.reset(mark);
    return;
  }
  if (is_quantized(w.format) && widens(*device.gpu(), {.rows = x.count(), .n = w.n, .k = w.k})) {
    const Tensor dealt = input_rows(device, arena, x, DType::kBF16, {.dealt = true});
    widen_product(*device.gpu(), out, dealt, w, accumulate);
    arena.reset(mark);
    return;
  }
  const DType type = input_of(w);
  LtProblem problem{.m = x.count(),
                    .n = w.n,
                    .k = w.k,
                    .in = type,
                    .out = out.dtype(),
                    .w = w.weights,
                    .d = out.data(),
                    .d_stride = out.stride(0),
                    .bias = w.bias,
                    .accumulate = accumulate};
  if (w.format == DeviceFormat::kFp8) {
    multiply_fp8(device, arena, problem, x, w);
  } else {
    const Tensor a = input_rows(device, arena, x, type);
    problem.a = a.data();
    problem.a_stride = a.stride(0);
    if (is_quantized(w.format)) {
      multiply_widened(device, arena, problem, w);
    } else {
      LinearState::of(device).run(device, problem);
    }
  }
  arena.reset(mark);
}

struct ActivatedShape {
  std::int64_t rows, n, next_n;  // the next matrix leads back to rows like the first one's
};
/// Memory for activations as the next matrix takes them.
Rows rows_for_next(Device& device, Arena& arena, ActivatedShape s, DType type, RowFormat next) {
  Gpu& gpu = *device.gpu();
  const DeviceMatrix matrix{.format = DeviceFormat::kFp8, .n = s.next_n, .k = s.n};
  const bool e4m3 = next == RowFormat::kE4M3 && s.n <= k::kLongestQuantizedRow &&
                    !streams(gpu, matrix, s.rows, ProductResult::kAdd);
  const bool dealt = next == RowFormat::kInt8 && type == DType::kBF16 &&
                     widens(gpu, {.rows = s.rows, .n = s.next_n, .k = s.n});
  Rows rows{.values = arena.allocate(e4m3 ? DType::kF8E4M3 : type, {s.rows, s.n})};
  if (e4m3) rows.scales = arena.allocate(DType::kF32, {s.rows});
  if (e4m3 || dealt) rows.packed = next;
  return rows;
}

void activate(Device& device, const Rows& out, const Tensor& sums, Activation activation,
              bool gated) {
  const GpuOpTimer timer(device, [&] { return moving_cost("activate", {sums, out.values}); });
  k::ActivationParams p{};
  p.x = sums.data();
  p.x_type = row_type(sums.dtype());
  p.x_stride = sums.stride(0);
  p.gated = gated;
  p.activation = static_cast<k::RowActivation>(activation);
  p.out = out.values.data();
  p.out_type = row_type(out.values.dtype());
  p.dealt = out.packed == RowFormat::kInt8;
  p.out_stride = out.values.stride(0);
  if (out.packed == RowFormat::kE4M3) p.scales = out.scales.as<float>();
  p.rows = out.count();
  p.n = static_cast<int>(out.values.dim(1));
  p.dependent_launch = device.gpu()->dependent_launch();
  check(k::launch_activation(p, device.gpu()->stream()), "an activation");
}

}  // namespace

void matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w) {
  const GpuOpTimer timer(device, [&] { return product_cost("matmul", x, w); });
  multiply(device, arena, out, x, w, false);
}

void matmul_add(Device& device, Arena& arena, Tensor residual, const Rows& x, const Matrix& w) {
  const GpuOpTimer timer(device, [&] { return product_cost("matmul_add", x, w); });
  multiply(device, arena, residual, x, w, true);
}

Rows activated_matmul(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                      Activation activation, bool gated, RowFormat next) {
  const DeviceMatrix& m = *w.on_device();
  const std::int64_t n = gated ? m.n / 2 : m.n;
  const DType type = input_of(m);
  const GpuOpTimer timer(
      device, [&] { return product_cost(gated ? "gated_matmul" : "activated_matmul", x, w); });
  const bool chained = gated && chains(device, m, x.count(), ProductResult::kGated, type);
  if (chained || (gated && streams(*device.gpu(), m, x.count(), ProductResult::kGated))) {
    const Tensor out = arena.allocate(type, {x.count(), n});
    const std::int64_t mark = arena.mark();
    if (chained) {
      multiply_chained(device, arena, out, x, m, {ProductResult::kGated, activation});
    } else {
      stream_product(*device.gpu(), out, stream_rows(device, arena, x, m), m, ProductResult::kGated,
                     activation);
    }
    arena.reset(mark);
    return {.values = out};
  }
  const Rows out = rows_for_next(device, arena, {x.count(), n, m.k}, type, next);
  const std::int64_t mark = arena.mark();
  const Tensor sums = arena.allocate(type, {x.count(), m.n});
  multiply(device, arena, sums, x, w, false);
  activate(device, out, sums, activation, gated);
  arena.reset(mark);
  return out;
}

Tensor project_qkv(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                   const QkvParams& params, const KvWrite& kv) {
  const DeviceMatrix& m = *w.on_device();
  const DType type = input_of(m);
  const GpuOpTimer timer(device, [&] { return product_cost("project_qkv", x, w); });
  const Tensor queries = arena.allocate(type, {x.count(), params.query_heads, params.head_dim});
  const std::int64_t mark = arena.mark();
  const Tensor sums = arena.allocate(type, {x.count(), m.n});
  multiply(device, arena, sums, x, w, false);
  const GpuOpTimer finish_timer(device, [&] {
    return moving_cost("rotate_and_store", {sums, sums});
  });
  k::FinishQkvParams p{};
  p.sums = sums.data();
  p.sums_type = row_type(type);
  p.sums_stride = sums.stride(0);
  p.q_heads = static_cast<int>(params.query_heads);
  p.kv_heads = static_cast<int>(params.kv_heads);
  p.head_dim = static_cast<int>(params.head_dim);
  if (params.query_norm != nullptr) {
    p.query_norm = params.query_norm->weight;
    p.key_norm = params.key_norm->weight;
    p.norm_eps = params.query_norm->eps;
  }
  p.rope = params.rope.cos_sin;
  p.rotary_dim = static_cast<int>(params.rope.rotary_dim);
  p.query_scale = params.query_scale;
  p.queries = queries.data();
  p.queries_type = row_type(type);
  p.queries_stride = queries.stride(0);
  p.cache = kv.layer.base;
  p.block_stride = kv.layer.block_stride;
  p.head_stride = kv.layer.head_bytes;
  p.cache_type = row_type(kv.layer.dtype);
  p.k_scale = params.k_scale;
  p.v_scale = params.v_scale;
  p.tables = kv.batch.on_device->tables();
  p.rows = x.count();
  p.dependent_launch = device.gpu()->dependent_launch();
  check(k::launch_finish_qkv(p, device.gpu()->stream()), "queries and keys");
  arena.reset(mark);
  return queries;
}

}  // namespace spate::ops::cuda
