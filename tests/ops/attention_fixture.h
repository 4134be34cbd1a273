// A random batch for attention: sequences over a paged cache whose blocks lie in random order, and
// the reference's answer from the numbers that the cache really holds.
#pragma once

#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "device/arena.h"
#include "device/device.h"
#include "ops/attention.h"
#include "ops/cpu/kv_cache.h"
#include "tests/reference/attention.h"

namespace spate::test {

struct AttentionCase {
  DType dtype = DType::kBF16;
  std::int64_t head_dim = 64;
  std::int64_t kv_heads = 2;
  std::int64_t group = 2;
  float query_size = 0.3F;  // standard deviation; keys and values have 1
  std::uint32_t seed = 1;

  std::int64_t query_heads() const { return kv_heads * group; }
};

/// A sequence of `length` positions in the cache; the last `n_rows` are queried.
struct AttentionSequence {
  std::int64_t length = 1;
  std::int64_t n_rows = 1;
};

class AttentionBatch {
 public:
  AttentionBatch(const AttentionCase& c, std::vector<AttentionSequence> sequences,
                 std::uint32_t block_order = 7)
      : case_(c), sequences_(std::move(sequences)) {
    reserve(block_order);
    for (std::size_t i = 0; i < sequences_.size(); ++i) fill(i);
  }

  const KvLayer& layer() const { return layer_; }
  std::int64_t n_rows() const { return n_rows_; }
  Tensor queries() {
    return Tensor(queries_.data(), cpu_query_dtype(),
                  {n_rows_, case_.query_heads(), case_.head_dim});
  }
  const std::vector<SequenceRows>& rows() const { return rows_; }
  std::byte* block_of(std::size_t sequence, std::int64_t position, std::int64_t head) const {
    const auto block = tables_[sequence][static_cast<std::size_t>(position / kKvBlockTokens)];
    return ops::cpu::kv_block(layer_, block, head);
  }
  kernels::cpu::KvLayout layout() const { return ops::cpu::kv_layout(layer_); }

  /// f32 [rows][query_heads * head_dim] of the given pieces of work.
  std::vector<float> attend(Device& device, const std::vector<SequenceRows>& rows,
                            ops::AttentionParams params = {}) {
    Arena arena(Buffer::reserve_host(std::int64_t{64} << 20).value());
    params.query_heads = case_.query_heads();
    const Rows out = ops::attention(device, arena, queries(), layer_, {.sequences = rows}, params,
                                    RowFormat::kF32);
    return unpacked(out);
  }
  std::vector<float> attend(Device& device, const ops::AttentionParams& params = {}) {
    return attend(device, rows_, params);
  }

  /// The bytes of the first row's result, packed for a matrix of `format`.
  std::vector<std::byte> packed_row(Device& device, RowFormat format) {
    Arena arena(Buffer::reserve_host(std::int64_t{64} << 20).value());
    const Rows out = ops::attention(device, arena, queries(), layer_, {.sequences = rows_},
                                    {.query_heads = case_.query_heads()}, format);
    const auto* p = static_cast<const std::byte*>(out.values.data());
    return {p, p + out.values.stride(0) * size_of(out.values.dtype())};
  }

  /// The reference's input for one row (of the batch) and query head.
  reference::AttentionRow reference_row(std::size_t sequence, std::int64_t i,
                                        std::int64_t head) const {
    reference::AttentionRow row;
    const SequenceRows& s = rows_[sequence];
    row.query = stored_query(s.first_row + i, head);
    for (std::int64_t t = 0; t <= s.first_position + i; ++t) {
      const std::byte* block = block_of(sequence, t, head / case_.group);
      std::vector<double> key;
      std::vector<double> value;
      for (std::int64_t d = 0; d < case_.head_dim; ++d) {
        key.push_back(kernels::cpu::key_at(layout(), block, t % kKvBlockTokens, d));
        value.push_back(kernels::cpu::value_at(layout(), block, t % kKvBlockTokens, d));
      }
      row.keys.push_back(std::move(key));
      row.values.push_back(std::move(value));
    }
    return row;
  }

 private:
  /// Rows of f32 are packed by padding them.
  std::vector<float> unpacked(const Rows& rows) const {
    const std::int64_t n = case_.query_heads() * case_.head_dim;
    const auto stride = rows.values.stride(0) * size_of(rows.values.dtype());
    std::vector<float> out(static_cast<std::size_t>(n_rows_ * n));
    for (std::int64_t r = 0; r < n_rows_; ++r) {
      std::memcpy(out.data() + r * n,
                  static_cast<const std::byte*>(rows.values.data()) + r * stride,
                  static_cast<std::size_t>(n) * sizeof(float));
    }
    return out;
  }
  DType cpu_query_dtype() const { return ops::cpu::query_dtype(case_.dtype); }

  void reserve(std::uint32_t block_order) {
    std::int64_t n_blocks = 0;
    for (const AttentionSequence& s : sequences_) n_blocks += s.length / kKvBlockTokens + 1;
    layer_ = {.dtype = case_.dtype, .kv_heads = case_.kv_heads, .head_dim = case_.head_dim};
    layer_.head_bytes = ops::cpu::kv_layout(layer_).head_bytes();
    layer_.block_stride = layer_.head_bytes * case_.kv_heads + 64;
    cache_ = Buffer::reserve_host(n_blocks * layer_.block_stride).value();
    layer_.base = cache_.data();
    // What nobody has written is NaN in every format but int8, whose scales are.
    std::memset(cache_.data(), 0xff, static_cast<std::size_t>(cache_.n_bytes()));
    std::vector<std::int32_t> order(static_cast<std::size_t>(n_blocks));
    std::iota(order.begin(), order.end(), 0);
    std::mt19937 random(block_order);
    std::shuffle(order.begin(), order.end(), random);
    auto next = order.begin();
    for (const AttentionSequence& s : sequences_) {
      const auto n = s.length / kKvBlockTokens + 1;
      tables_.emplace_back(next, next + n);
      next += n;
      n_rows_ += s.n_rows;
    }
    queries_.resize(static_cast<std::size_t>(n_rows_ * case_.query_heads() * case_.head_dim * 4));
  }

  /// Depends on the sequence's number, not on its neighbours or the order of the blocks.
  void fill(std::size_t number) {
    const AttentionSequence& s = sequences_[number];
    std::mt19937 random(case_.seed * 1000 + static_cast<std::uint32_t>(number));
    std::normal_distribution<float> normal;
    std::vector<float> rows(static_cast<std::size_t>(case_.head_dim * 2));
    for (std::int64_t t = 0; t < s.length; ++t) {
      for (std::int64_t h = 0; h < case_.kv_heads; ++h) {
        for (float& x : rows) x = normal(random);
        std::byte* block = block_of(number, t, h);
        kernels::cpu::append_keys(layout(), block, t % kKvBlockTokens, 1, {rows.data(), 0});
        kernels::cpu::append_values(layout(), block, t % kKvBlockTokens, 1,
                                    {rows.data() + case_.head_dim, 0});
      }
    }
    const std::int64_t first_row = rows_.empty() ? 0 : rows_.back().first_row + rows_.back().n_rows;
    rows_.push_back({.first_row = first_row,
                     .n_rows = s.n_rows,
                     .first_position = s.length - s.n_rows,
                     .blocks = tables_[number]});
    const std::int64_t n = case_.query_heads() * case_.head_dim;
    for (std::int64_t i = first_row * n; i < (first_row + s.n_rows) * n; ++i) {
      store_query(i, normal(random) * case_.query_size);
    }
  }

  void store_query(std::int64_t i, float x) {
    if (cpu_query_dtype() == DType::kF32) {
      reinterpret_cast<float*>(queries_.data())[i] = x;
    } else {
      reinterpret_cast<BF16*>(queries_.data())[i] = BF16::from_float(x);
    }
  }

  /// As the kernel uses it: for an int8 cache the query is int8 with one scale, too.
  std::vector<double> stored_query(std::int64_t row, std::int64_t head) const {
    std::vector<double> q;
    const std::int64_t first = (row * case_.query_heads() + head) * case_.head_dim;
    double peak = 0.0;
    for (std::int64_t i = first; i < first + case_.head_dim; ++i) {
      q.push_back(cpu_query_dtype() == DType::kF32
                      ? reinterpret_cast<const float*>(queries_.data())[i]
                      : reinterpret_cast<const BF16*>(queries_.data())[i].to_float());
      peak = std::max(peak, std::abs(q.back()));
    }
    if (case_.dtype == DType::kI8 && peak > 0.0) {
      for (double& x : q) x = std::nearbyint(x * 127.0 / peak) * peak / 127.0;
    }
    return q;
  }

  AttentionCase case_;
  std::vector<AttentionSequence> sequences_;
  KvLayer layer_{};
  Buffer cache_;
  std::vector<std::vector<std::int32_t>> tables_;
  std::vector<std::byte> queries_;
  std::vector<SequenceRows> rows_;
  std::int64_t n_rows_ = 0;
};

inline std::unique_ptr<Device> device_of(CpuIsa isa, int threads, bool amx = amx_available()) {
  return Device::cpu({.threads = {.threads = threads, .pin = false}, .isa = isa, .amx = amx});
}

}  // namespace spate::test
