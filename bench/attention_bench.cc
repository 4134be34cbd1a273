// Attention over a paged cache: prompts and single tokens at two depths, 32 query heads on 4 kv
// heads of 64. Counts both products, and the bytes of keys and values read.
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include <benchmark/benchmark.h>

#include "ops/attention.h"
#include "ops/cpu/kv_cache.h"

namespace spate {
namespace {

constexpr std::int64_t kHeadDim = 64;
constexpr std::int64_t kKvHeads = 4;
constexpr std::int64_t kGroup = 8;

/// `layers` caches of one sequence, so that single tokens read from memory as a model does.
struct Layers {
  Layers(DType dtype, std::int64_t length, std::int64_t layers) {
    const std::int64_t n_blocks = (length + kKvBlockTokens - 1) / kKvBlockTokens;
    KvLayer layer{.dtype = dtype, .kv_heads = kKvHeads, .head_dim = kHeadDim};
    layer.head_bytes = ops::cpu::kv_layout(layer).head_bytes();
    layer.block_stride = layer.head_bytes * kKvHeads;
    memory = Buffer::reserve_host(layers * n_blocks * layer.block_stride).value();
    for (std::int64_t l = 0; l < layers; ++l) {
      layer.base = memory.data() + l * n_blocks * layer.block_stride;
      all.push_back(layer);
    }
    std::vector<float> rows(kKvBlockTokens * kHeadDim);
    std::uint32_t state = 1;
    for (float& x : rows) {
      state = state * 1664525U + 1013904223U;
      x = static_cast<float>(state >> 8U) * 0x1p-23F - 1.0F;
    }
    for (const KvLayer& to : all) fill(to, n_blocks, rows);
    blocks.resize(static_cast<std::size_t>(n_blocks));
    std::iota(blocks.begin(), blocks.end(), 0);
  }

  static void fill(const KvLayer& to, std::int64_t n_blocks, const std::vector<float>& rows) {
    const kernels::cpu::KvLayout layout = ops::cpu::kv_layout(to);
    for (std::int64_t b = 0; b < n_blocks; ++b) {
      for (std::int64_t h = 0; h < kKvHeads; ++h) {
        std::byte* block = ops::cpu::kv_block(to, b, h);
        kernels::cpu::append_keys(layout, block, 0, kKvBlockTokens, {rows.data(), kHeadDim});
        kernels::cpu::append_values(layout, block, 0, kKvBlockTokens, {rows.data(), kHeadDim});
      }
    }
  }

  Buffer memory;
  std::vector<KvLayer> all;
  std::vector<std::int32_t> blocks;
};

/// Arguments: dtype, depth, rows, layers, threads.
void attention(benchmark::State& state) {
  const auto dtype = static_cast<DType>(state.range(0));
  const std::int64_t depth = state.range(1);
  const std::int64_t n_rows = state.range(2);
  const Layers layers(dtype, depth + n_rows, state.range(3));
  const auto device = Device::cpu({.threads = {.threads = static_cast<int>(state.range(4))}});
  const DType query_dtype = ops::cpu::query_dtype(dtype);
  std::vector<float> values(static_cast<std::size_t>(n_rows * kKvHeads * kGroup * kHeadDim), 0.1F);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 13) * 0.02F;
  std::vector<BF16> narrow(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) narrow[i] = BF16::from_float(values[i]);
  void* data = query_dtype == DType::kF32 ? static_cast<void*>(values.data()) : narrow.data();
  const Tensor queries(data, query_dtype, {n_rows, kKvHeads * kGroup, kHeadDim});
  const SequenceRows rows{.n_rows = n_rows, .first_position = depth, .blocks = layers.blocks};
  Arena arena(Buffer::reserve_host(std::int64_t{256} << 20).value());

  for (auto _ : state) {
    for (const KvLayer& layer : layers.all) {
      arena.reset();
      ops::attention(*device, arena, queries, layer, {.sequences = {&rows, 1}},
                     {.query_heads = kKvHeads * kGroup}, RowFormat::kInt8);
    }
  }

  const auto n = static_cast<double>(state.iterations() * state.range(3));
  const auto pairs = static_cast<double>(n_rows * depth + n_rows * (n_rows + 1) / 2);
  const auto bytes =
      static_cast<double>((depth + n_rows) / kKvBlockTokens * layers.all[0].block_stride);
  state.counters["flop/s"] = benchmark::Counter(4.0 * kHeadDim * kKvHeads * kGroup * pairs * n,
                                                benchmark::Counter::kIsRate);
  state.counters["bytes/s"] = benchmark::Counter(bytes * n, benchmark::Counter::kIsRate);
}

void cases(benchmark::internal::Benchmark* b) {
  b->ArgNames({"dtype", "depth", "rows", "layers", "threads"});
  for (const DType dtype : {DType::kBF16, DType::kI8, DType::kF32}) {
    for (const int threads : {1, 2}) {
      b->Args({static_cast<std::int64_t>(dtype), 0, 512, 1, threads});
      b->Args({static_cast<std::int64_t>(dtype), 4096, 512, 1, threads});
      b->Args({static_cast<std::int64_t>(dtype), 4096, 1, 22, threads});
      b->Args({static_cast<std::int64_t>(dtype), 100, 1, 22, threads});
    }
  }
}

BENCHMARK(attention)->Apply(cases)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace spate
