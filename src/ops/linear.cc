#include "ops/linear.h"

#include <cstring>

#include "ops/cpu/linear_cpu.h"
#include "ops/cuda/operators.h"
#include "spate/kernels/cpu/panel.h"

namespace spate::ops {
namespace {

void check_packed_rows(const Rows& x, const Matrix& w) {
  SPATE_CHECK(*x.packed == row_format_of(w.format()));
  SPATE_CHECK(!x.norm);
  const auto kind = static_cast<kernels::cpu::RowKind>(*x.packed);
  SPATE_CHECK_OP(x.values.dim(1), ==, kernels::cpu::row_bytes(kind, w.k()));
}

void check_rows(const Rows& x, const Matrix& w) {
  SPATE_CHECK_OP(x.values.rank(), ==, 2);
  if (x.packed) return check_packed_rows(x, w);
  SPATE_CHECK(x.values.dtype() == DType::kF32);
  SPATE_CHECK_OP(x.values.dim(1), ==, w.k());
}

void check_output(Tensor out, const Rows& x, const Matrix& w) {
  SPATE_CHECK(out.dtype() == DType::kF32);
  SPATE_CHECK_OP(out.rank(), ==, 2);
  SPATE_CHECK_OP(out.dim(0), ==, x.count());
  SPATE_CHECK_OP(out.dim(1), <=, w.n_columns());
}

OpCost cost_of(std::string_view name, const Rows& x, const Matrix& w) {
  const std::int64_t k = w.k();
  const std::int64_t n = w.n_columns();
  const RowFormat rows = row_format_of(w.format());
  return {.name = name,
          .k = k,
          .n = n,
          .arithmetic = rows == RowFormat::kInt8   ? Arithmetic::kInt8
                        : rows == RowFormat::kBF16 ? Arithmetic::kBF16
                                                   : Arithmetic::kF32,
          .operations = 2.0 * static_cast<double>(x.count() * k * n),
          .n_bytes = static_cast<double>(w.packed_bytes())};
}

/// Rows for a matrix with `k` inputs.
Rows packed_rows(Arena& arena, std::int64_t n_rows, std::int64_t k, RowFormat format) {
  const auto kind = static_cast<kernels::cpu::RowKind>(format);
  return {.values = arena.allocate(DType::kU8, {n_rows, kernels::cpu::row_bytes(kind, k)}),
          .packed = format};
}

}  // namespace

void matmul(Device& device, Arena& arena, Tensor out, const Rows& x, const Matrix& w) {
  if (device.is_cuda()) return cuda::matmul(device, arena, out, x, w);
  check_rows(x, w);
  check_output(out, x, w);
  const OpTimer timer(device.profile(), [&] { return cost_of("matmul", x, w); });
  cpu::matmul(device, arena, out, x, w, cpu::StoreMode::kWrite);
}

void matmul_add(Device& device, Arena& arena, Tensor residual, const Rows& x, const Matrix& w) {
  if (device.is_cuda()) return cuda::matmul_add(device, arena, residual, x, w);
  check_rows(x, w);
  check_output(residual, x, w);
  const OpTimer timer(device.profile(), [&] { return cost_of("matmul_add", x, w); });
  cpu::matmul(device, arena, residual, x, w, cpu::StoreMode::kAdd);
}

Rows gated_matmul(Device& device, Arena& arena, const Rows& x, const Matrix& gate_up,
                  Activation activation, RowFormat next) {
  if (device.is_cuda()) {
    return cuda::activated_matmul(device, arena, x, gate_up, activation, true, next);
  }
  check_rows(x, gate_up);
  SPATE_CHECK_OP(gate_up.n_panels() % 2, ==, 0);
  const OpTimer timer(device.profile(), [&] { return cost_of("gated_matmul", x, gate_up); });
  Rows out = packed_rows(arena, x.count(), gate_up.n_columns() / 2, next);
  cpu::activated_matmul(device, arena, out.values, x, gate_up,
                        {.activation = activation, .gated = true, .next = next});
  return out;
}

Rows activated_matmul(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                      Activation activation, RowFormat next) {
  if (device.is_cuda()) {
    return cuda::activated_matmul(device, arena, x, w, activation, false, next);
  }
  check_rows(x, w);
  const OpTimer timer(device.profile(), [&] { return cost_of("activated_matmul", x, w); });
  Rows out = packed_rows(arena, x.count(), w.n_columns(), next);
  cpu::activated_matmul(device, arena, out.values, x, w,
                        {.activation = activation, .gated = false, .next = next});
  return out;
}

Tensor project_qkv(Device& device, Arena& arena, const Rows& x, const Matrix& w,
                   const QkvParams& params, const KvWrite& kv) {
  if (device.is_cuda()) return cuda::project_qkv(device, arena, x, w, params, kv);
  check_rows(x, w);
  const std::int64_t head_panels = (params.head_dim + kPanelColumns - 1) / kPanelColumns;
  SPATE_CHECK_OP(w.n_panels(), ==, (params.query_heads + 2 * params.kv_heads) * head_panels);
  SPATE_CHECK_OP(kv.layer.kv_heads, ==, params.kv_heads);
  SPATE_CHECK_OP(kv.layer.head_dim, ==, params.head_dim);
  SPATE_CHECK_OP(params.rope.rotary_dim, <=, params.head_dim);
  const OpTimer timer(device.profile(), [&] { return cost_of("project_qkv", x, w); });
  return cpu::project_qkv(device, arena, x, w, params, kv);
}

void embed(Device& device, Tensor out, Tensor table, const Batch& batch) {
  SPATE_CHECK(out.dtype() == DType::kF32);
  SPATE_CHECK_OP(out.dim(0), ==, batch.rows());
  SPATE_CHECK_OP(out.dim(1), ==, table.dim(1));
  if (device.is_cuda()) return cuda::embed(device, out, table, batch);
  const OpTimer timer(device.profile(), [&] {
    const std::int64_t n_bytes = out.count() * size_of(table.dtype());
    return OpCost{.name = "embed", .n_bytes = static_cast<double>(n_bytes)};
  });
  cpu::embed(device, out, table, batch.token_ids);
}

void gather_rows(Device& device, Tensor out, Tensor x, const Batch& batch) {
  if (device.is_cuda()) return cuda::gather_rows(device, out, x, batch);
  const std::span<const std::int64_t> rows = batch.logit_rows;
  SPATE_CHECK_OP(out.dim(0), ==, static_cast<std::int64_t>(rows.size()));
  SPATE_CHECK_OP(out.dim(1), ==, x.dim(1));
  SPATE_CHECK(out.dtype() == x.dtype());
  const std::int64_t element = size_of(x.dtype());
  const auto n_bytes = static_cast<std::size_t>(x.dim(1) * element);
  auto* to = static_cast<std::byte*>(out.data());
  const auto* from = static_cast<const std::byte*>(x.data());
  for (std::int64_t i = 0; i < out.dim(0); ++i) {
    const std::int64_t row = rows[static_cast<std::size_t>(i)];
    SPATE_CHECK(row >= 0 && row < x.dim(0));
    std::memcpy(to + i * out.stride(0) * element, from + row * x.stride(0) * element, n_bytes);
  }
}

}  // namespace spate::ops
