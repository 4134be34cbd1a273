#include "device/gpu_timeline.h"
#include "ops/cuda/device_batch.h"
#include "ops/cuda/launching.h"
#include "ops/cuda/op_costs.h"
#include "ops/cuda/operators.h"
#include "spate/kernels/cuda/embed.cuh"
#include "spate/kernels/cuda/gather.cuh"

namespace spate::ops::cuda {

namespace k = spate::cuda;

void embed(Device& device, Tensor out, Tensor table, const Batch& batch) {
  const GpuOpTimer timer(device, [&] { return moving_cost("embed", {out}); });
  k::EmbedParams p{};
  p.table = table.data();
  p.table_type = row_type(table.dtype());
  p.vocab = table.dim(0);
  p.hidden = static_cast<int>(table.dim(1));
  p.tables = batch.on_device->tables();
  p.out = out.as<float>();
  p.out_stride = out.stride(0);
  p.rows = out.dim(0);
  check(k::launch_embed(p, device.gpu()->stream()), "an embedding");
}

void gather_rows(Device& device, Tensor out, Tensor x, const Batch& batch) {
  const GpuOpTimer timer(device, [&] { return moving_cost("gather", {out, out}); });
  k::GatherParams p{};
  const std::int64_t element = size_of(x.dtype());
  p.x = x.data();
  p.x_stride = x.stride(0) * element;
  p.rows_of_x = batch.on_device->tables().logit_rows;
  p.out = out.data();
  p.out_stride = out.stride(0) * element;
  p.rows = out.dim(0);
  p.n_bytes = out.dim(1) * element;
  p.dependent_launch = device.gpu()->dependent_launch();
  check(k::launch_gather(p, device.gpu()->stream()), "a gather");
}

Rows attention(Device& device, Arena& arena, Tensor queries, const KvLayer& layer,
               const Batch& batch, const AttentionParams& params) {
  const std::int64_t rows = queries.dim(0);
  const Tensor out = arena.allocate(queries.dtype(), {rows, params.query_heads * layer.head_dim});
  DeviceBatch& tables = *batch.on_device;
  const GpuOpTimer timer(device, [&] {
    return attention_cost(tables.sequences(), layer, params.query_heads, params.window);
  });
  const AttentionWork& work = tables.attention({.q_heads = params.query_heads,
                                                .kv_heads = layer.kv_heads,
                                                .head_dim = layer.head_dim,
                                                .cache = layer.dtype,
                                                .window = params.window,
                                                .soft_cap = params.soft_cap,
                                                .alibi_slopes = params.alibi_slopes,
                                                .deterministic = device.gpu()->deterministic()});
  const bool scaled = layer.dtype == DType::kF8E4M3;
  const AttentionCall call{.cache = layer.base,
                           .block_stride = layer.block_stride,
                           .head_bytes = layer.head_bytes,
                           .k_scale = scaled ? params.k_scale : nullptr,
                           .v_scale = scaled ? params.v_scale : nullptr,
                           .queries = queries.data(),
                           .out = out.data(),
                           .rows = rows,
                           .may_have_prefill = tables.has_prefill(),
                           .may_have_decode = tables.has_decode(),
                           .dependent_launch = device.gpu()->dependent_launch()};
  const int error = work.run(call, tables.tables(), device.gpu()->stream());
  check(static_cast<cudaError_t>(error), "attention");
  return {.values = out};
}

}  // namespace spate::ops::cuda
