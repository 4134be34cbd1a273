#include "bench/kernels.h"

#include <chrono>
#include <cstring>
#include <numeric>

#include <fmt/format.h>

#include "bench/statistics.h"
#include "bench/stopwatch.h"
#include "device/arena.h"
#include "device/buffer.h"
#include "kv/cache.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace spate::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kColdBytes = std::int64_t{320} << 20;  // more than caches hold
constexpr std::int64_t kArenaBytes = std::int64_t{512} << 20;
constexpr std::int64_t kRows[] = {1, 4, 16, 64, 512};
constexpr std::int64_t kMostRows = 512;
constexpr std::int64_t kMostHeadRows = 64;  // logits are wanted of few rows
constexpr std::int64_t kKvBlocks = 160;
// Every byte of weights and cache: a small positive number in all formats, no denormals.
constexpr int kFill = 0x3c;

struct AttentionCase {
  std::int64_t sequences, rows, depth;
};
constexpr AttentionCase kAttention[] = {
    {1, 1, 512}, {1, 1, 4096}, {16, 1, 512}, {1, 512, 0}, {1, 512, 4096}};

/// Copies of one matrix in `memory`, packed.
std::vector<Matrix> copies_of(Device& device, const Matrix& like, const Buffer& memory) {
  std::vector<Matrix> copies;
  const std::int64_t n_bytes = like.packed_bytes();
  for (std::int64_t at = 0; copies.empty() || at + n_bytes <= memory.n_bytes(); at += n_bytes) {
    copies.emplace_back(like.format(), like.stored(), like.k(),
                        std::vector<PanelSource>(like.sources().begin(), like.sources().end()));
    Matrix& m = copies.back();
    m.set_storage(memory.data() + at);
    if (at == 0) {
      m.pack_panels(device.isa(), 0, m.n_panels());
    } else {
      std::memcpy(memory.data() + at, memory.data(), static_cast<std::size_t>(n_bytes));
    }
    m.mark_packed();
  }
  return copies;
}

std::string rows_named(std::int64_t n) { return fmt::format("{} row{}", n, n == 1 ? "" : "s"); }

class KernelBench {
 public:
  static Result<KernelBench> create(Device& device, const KernelOptions& options) {
    const DecoderShape& s = options.shape;
    const std::int64_t widest = std::max(s.vocab, 2 * s.intermediate);
    const std::int64_t source = std::max(widest, s.query_heads * s.head_dim + 2 * s.hidden) *
                                std::max(s.hidden, s.intermediate) * 4;
    KernelBench bench(device, options);
    Result<Buffer> weights = Buffer::reserve_host(source);
    if (!weights) return weights.error();
    Result<Buffer> packed = Buffer::reserve_host(std::max(kColdBytes, source));
    if (!packed) return packed.error();
    Result<Buffer> arena = Buffer::reserve_host(kArenaBytes);
    if (!arena) return arena.error();
    const KvGeometry geometry{s.layers, s.kv_heads, s.head_dim};
    Result<KvCache> kv = KvCache::reserve(device, geometry, options.kv_dtype, kKvBlocks);
    if (!kv) return kv.error();
    const std::int64_t kv_bytes =
        kKvBlocks * KvCache::block_bytes(DeviceKind::kCpu, geometry, options.kv_dtype);
    std::memset(kv->layer(0).base, kFill, static_cast<std::size_t>(kv_bytes));
    bench.weights_ = std::move(*weights);
    bench.packed_ = std::move(*packed);
    bench.arena_ = std::make_unique<Arena>(std::move(*arena));
    bench.kv_ = std::make_unique<KvCache>(std::move(*kv));
    return bench;
  }

  std::vector<KernelResult> run(const std::function<void()>& between) {
    between();
    project_qkv();
    between();
    const DecoderShape& s = options_.shape;
    matmul_add("attention output", s.query_heads * s.head_dim);
    between();
    gated_matmul();
    between();
    matmul_add("MLP down", s.intermediate);
    between();
    head();
    between();
    attention();
    between();
    return std::move(results_);
  }

 private:
  KernelBench(Device& device, const KernelOptions& options)
      : device_(&device),
        options_(options),
        rows_(static_cast<std::size_t>(kMostRows *
                                       std::max(options.shape.hidden, options.shape.intermediate)),
              0.5F),
        ones_(static_cast<std::size_t>(options.shape.hidden), 1.0F),
        rope_(static_cast<std::size_t>(kMostRows * options.shape.head_dim), 0.5F),
        blocks_(kKvBlocks) {
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  /// A matrix with k inputs and n outputs in the format that the model would have.
  std::vector<Matrix> matrices(std::int64_t k, std::int64_t n, ParamStore::Use use) {
    const std::int64_t n_bytes = k * n * size_of(options_.stored);
    std::memset(weights_.data(), kFill, static_cast<std::size_t>(n_bytes));
    ParamStore store(options_.params, *device_);
    const Tensor source(weights_.data(), options_.stored, {n, k});
    return copies_of(*device_, store.matrix(options_.stored, k, panels_of(source), use), packed_);
  }

  Rows rows(std::int64_t n, std::int64_t k, bool normalized) {
    Rows x{.values = Tensor(rows_.data(), DType::kF32, {n, k})};
    if (normalized) x.norm = NormParams{.weight = ones_.data()};
    return x;
  }

  /// Runs call(0), call(1), ... and keeps the median.
  template <class Call>
  void measure(const std::string& name, const std::string& shape, const Call& call) {
    Profile profile;
    device_->set_profile(&profile);
    KernelResult result{.name = name, .shape = shape};
    std::vector<double> times;
    const Clock::time_point begin = Clock::now();
    for (std::int64_t i = 0; times.size() < 3 || seconds_since(begin) < options_.case_seconds;
         ++i) {
      profile.clear();
      arena_->reset();
      call(i);
      result.cost = profile.lines().back().cost;
      times.push_back(profile.seconds());
    }
    device_->set_profile(nullptr);
    result.seconds = summarize(times).median;
    results_.push_back(std::move(result));
  }

  void project_qkv() {
    const DecoderShape& s = options_.shape;
    const std::vector<Matrix> all =
        matrices(s.hidden, (s.query_heads + 2 * s.kv_heads) * padded_head(), Use::kLinear);
    const ops::QkvParams params{.query_heads = s.query_heads,
                                .kv_heads = s.kv_heads,
                                .head_dim = s.head_dim,
                                .rope = {rope_.data(), s.head_dim, kMostRows}};
    for (const std::int64_t n : kRows) {
      const SequenceRows sequence{.n_rows = n, .blocks = blocks_};
      const Batch batch{.sequences = {&sequence, 1}};
      measure("norm, q k v, rotation", rows_named(n), [&](std::int64_t i) {
        ops::project_qkv(*device_, *arena_, rows(n, s.hidden, true), turn(all, i), params,
                         {.layer = layer(i), .batch = batch});
      });
    }
  }

  void matmul_add(const char* what, std::int64_t k) {
    const std::int64_t hidden = options_.shape.hidden;
    const std::vector<Matrix> all = matrices(k, hidden, Use::kLinear);
    std::vector<float> residual(static_cast<std::size_t>(kMostRows * hidden));
    for (const std::int64_t n : kRows) {
      const Tensor out(residual.data(), DType::kF32, {n, hidden});
      measure(what, rows_named(n), [&](std::int64_t i) {
        ops::matmul_add(*device_, *arena_, out, rows(n, k, false), turn(all, i));
      });
    }
  }

  void gated_matmul() {
    const DecoderShape& s = options_.shape;
    const std::vector<Matrix> all = matrices(s.hidden, 2 * s.intermediate, Use::kLinear);
    const RowFormat next = row_format_of(all[0].format());
    for (const std::int64_t n : kRows) {
      measure("norm, MLP gate and up", rows_named(n), [&](std::int64_t i) {
        ops::gated_matmul(*device_, *arena_, rows(n, s.hidden, true), turn(all, i),
                          ops::Activation::kSilu, next);
      });
    }
  }

  void head() {
    const DecoderShape& s = options_.shape;
    const std::vector<Matrix> all = matrices(s.hidden, s.vocab, Use::kHead);
    std::vector<float> logits(static_cast<std::size_t>(kMostHeadRows * s.vocab));
    for (const std::int64_t n : kRows) {
      if (n > kMostHeadRows) continue;
      const Tensor out(logits.data(), DType::kF32, {n, s.vocab});
      measure("norm, head", rows_named(n), [&](std::int64_t i) {
        ops::matmul(*device_, *arena_, out, rows(n, s.hidden, true), turn(all, i));
      });
    }
  }

  void attention() {
    for (const AttentionCase& c : kAttention) attention(c);
  }

  void attention(const AttentionCase& c) {
    const DecoderShape& s = options_.shape;
    const std::int64_t n = c.sequences * c.rows;
    const bool wide = options_.kv_dtype == DType::kF32 || options_.kv_dtype == DType::kF16;
    const DType dtype = wide ? DType::kF32 : DType::kBF16;
    const std::int64_t n_values = n * s.query_heads * s.head_dim;
    std::vector<std::byte> values(static_cast<std::size_t>(n_values * size_of(dtype)),
                                  std::byte{kFill});
    const Tensor queries(values.data(), dtype, {n, s.query_heads, s.head_dim});
    const std::int64_t own = (c.depth + c.rows + kKvBlockTokens - 1) / kKvBlockTokens;
    std::vector<SequenceRows> sequences;
    for (std::int64_t i = 0; i < c.sequences; ++i) {
      sequences.push_back({.first_row = i * c.rows,
                           .n_rows = c.rows,
                           .first_position = c.depth,
                           .blocks = std::span(blocks_).subspan(static_cast<std::size_t>(i * own),
                                                                static_cast<std::size_t>(own))});
    }
    measure("attention", fmt::format("{} x {} at depth {}", c.sequences, c.rows, c.depth),
            [&](std::int64_t i) {
              ops::attention(*device_, *arena_, queries, layer(i), {.sequences = sequences},
                             {.query_heads = s.query_heads}, RowFormat::kBF16);
            });
  }

  std::int64_t padded_head() const {
    return (options_.shape.head_dim + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
  }
  static const Matrix& turn(const std::vector<Matrix>& all, std::int64_t i) {
    return all[static_cast<std::size_t>(i) % all.size()];
  }
  KvLayer layer(std::int64_t i) const { return kv_->layer(i % options_.shape.layers); }

  using Use = ParamStore::Use;
  Device* device_;
  KernelOptions options_;
  Buffer weights_;  // of one matrix as in a checkpoint
  Buffer packed_;   // its copies
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<KvCache> kv_;
  std::vector<float> rows_;  // [most rows, widest]
  std::vector<float> ones_;  // [hidden]
  std::vector<float> rope_;
  std::vector<std::int32_t> blocks_;
  std::vector<KernelResult> results_;
};

}  // namespace

Result<std::vector<KernelResult>> measure_kernels(Device& device, const KernelOptions& options,
                                                  const std::function<void()>& between) {
  if (device.is_cuda()) return measure_gpu_kernels(device, options, between);
  Result<KernelBench> bench = KernelBench::create(device, options);
  if (!bench) return bench.error();
  return bench->run(between);
}

}  // namespace spate::bench
