#include <algorithm>
#include <numeric>

#include "bench/kernels.h"
#include "bench/statistics.h"
#include "core/check.h"
#include "device/arena.h"
#include "device/gpu.h"
#include "device/gpu_timeline.h"
#include "kv/cache.h"
#include "ops/attention.h"
#include "ops/cuda/device_batch.h"
#include "ops/linear.h"

namespace spate::bench {
namespace {

using ops::cuda::DeviceBatch;
using Use = ParamStore::Use;

constexpr std::int64_t kColdBytes = std::int64_t{256} << 20;  // several times what caches hold
constexpr std::int64_t kArenaBytes = std::int64_t{1} << 30;
constexpr std::int64_t kRows[] = {1, 4, 16, 64, 128, 256, 512, 2048};
constexpr std::int64_t kMostRows = 2048;
constexpr std::int64_t kMostHeadRows = 512;  // logits are wanted of few rows
constexpr std::int64_t kMostCalls = 48;      // of a recording

struct AttentionCase {
  std::int64_t sequences, rows, depth;
};
constexpr AttentionCase kAttention[] = {{1, 1, 512},    {1, 1, 4096}, {16, 1, 512},   {64, 1, 1024},
                                        {256, 1, 1024}, {1, 512, 0},  {1, 512, 4096}, {8, 2048, 0}};
constexpr std::int64_t kMostBlocks = 256 * 9;
constexpr std::int64_t kMostAttentionRows = 8 * 2048;

std::string rows_named(std::int64_t n) { return std::to_string(n) + (n == 1 ? " row" : " rows"); }

/// Copies of one matrix on the GPU, random.
struct Copies {
  Buffer source;  // address space that stands for a checkpoint's rows
  Buffer memory;
  std::vector<Matrix> all;

  const Matrix& turn(std::int64_t i) const { return all[static_cast<std::size_t>(i) % all.size()]; }
  std::int64_t calls() const {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(all.size()), 8, kMostCalls);
  }
};

class GpuKernelBench {
 public:
  GpuKernelBench(Device& device, const KernelOptions& options)
      : device_(device), gpu_(*device.gpu()), o_(options), s_(options.shape) {
    const KvGeometry geometry{s_.layers, s_.kv_heads, s_.head_dim};
    const std::int64_t block_bytes = KvCache::block_bytes(DeviceKind::kCuda, geometry, o_.kv_dtype);
    n_blocks_ = std::min(kMostBlocks, gpu_.free_bytes() / 2 / block_bytes);
    kv_ = std::make_unique<KvCache>(
        device_value(KvCache::reserve(device, geometry, o_.kv_dtype, n_blocks_)));
    gpu_.fill_zero(kv_->layer(0).base, n_blocks_ * block_bytes);
    arena_ = std::make_unique<Arena>(device_value(Buffer::reserve_gpu(kArenaBytes)));
    const std::int64_t widest = std::max(s_.hidden, s_.intermediate);
    wide_rows_ = random_rows(DType::kF32, kMostRows, s_.hidden);
    rows_ = random_rows(narrow(), kMostRows, std::max(widest, s_.query_heads * s_.head_dim));
    ones_ = device_value(Buffer::reserve_gpu(s_.hidden * 4));
    const std::vector<float> ones(static_cast<std::size_t>(s_.hidden), 1.0F);
    gpu_.copy(ones_.data(), ones.data(), s_.hidden * 4);
    rope_ = device_value(Buffer::reserve_gpu(kMostRows * s_.head_dim * 4));
    gpu_.fill_zero(rope_.data(), rope_.n_bytes());
    batch_ = device_value(DeviceBatch::create(gpu_, {.rows = kMostAttentionRows,
                                                     .sequences = 256,
                                                     .logit_rows = 1,
                                                     .slots = 1,
                                                     .table_entries = kMostBlocks,
                                                     .context_length = kMostAttentionRows}));
    blocks_.resize(static_cast<std::size_t>(n_blocks_));
    std::iota(blocks_.begin(), blocks_.end(), 0);
    gpu_.wait();
  }

  std::vector<KernelResult> run(const std::function<void()>& between) {
    between();
    project_qkv();
    between();
    matmul_add("attention output", s_.query_heads * s_.head_dim);
    between();
    gated_matmul();
    between();
    matmul_add("MLP down", s_.intermediate);
    between();
    head();
    between();
    for (const AttentionCase& c : kAttention) attention(c);
    between();
    return std::move(results_);
  }

 private:
  /// What matrices take that are not to be normalized first, and what attention takes.
  DType narrow() const { return o_.params.quantize ? DType::kBF16 : dtype_of(*o_.params.compute); }
  Buffer random_rows(DType type, std::int64_t rows, std::int64_t k) {
    Buffer memory = device_value(Buffer::reserve_gpu(rows * k * size_of(type)));
    const DeviceFormat format = type == DType::kF32   ? DeviceFormat::kF32
                                : type == DType::kF16 ? DeviceFormat::kF16
                                                      : DeviceFormat::kBF16;
    device_done(fill_random({.format = format, .n = rows, .k = k, .weights = memory.data()},
                            {.seed = 3, .deviation = 1.0F}, gpu_.stream()));
    return memory;
  }

  /// A matrix with k inputs and n outputs in the format that the model would have.
  Copies matrices(std::int64_t k, std::int64_t n, Use use) {
    Copies copies;
    copies.source = device_value(Buffer::reserve_host(k * n * size_of(o_.stored)));
    ParamStore store(o_.params, device_);
    const Tensor source(copies.source.data(), o_.stored, {n, k});
    const Matrix& like = store.matrix(o_.stored, k, panels_of(source), use);
    const DeviceFormat format = device_format(like.format());
    const auto aligned = [](std::int64_t n_bytes) { return (n_bytes + 255) / 256 * 256; };
    const std::int64_t weights = aligned(weight_bytes(format, n, k));
    const std::int64_t each = weights + aligned(scale_bytes(format, n));
    const std::int64_t count = std::clamp<std::int64_t>(kColdBytes / each, 2, kMostCalls);
    copies.memory = device_value(Buffer::reserve_gpu(count * each));
    for (std::int64_t i = 0; i < count; ++i) {
      DeviceMatrix d{.format = format, .n = n, .k = k, .weights = copies.memory.data() + i * each};
      if (scale_bytes(format, n) > 0) d.scales = reinterpret_cast<float*>(d.weights + weights);
      device_done(fill_random(d, {.seed = static_cast<std::uint64_t>(i)}, gpu_.stream()));
      copies.all.emplace_back(like.format(), o_.stored, k, panels_of(source));
      copies.all.back().set_on_device(d);
    }
    return copies;
  }

  Rows rows(std::int64_t n, std::int64_t k, bool normalized) {
    if (!normalized) return {.values = Tensor(rows_.data(), narrow(), {n, k})};
    return {.values = Tensor(wide_rows_.data(), DType::kF32, {n, k}),
            .norm = NormParams{.weight = reinterpret_cast<const float*>(ones_.data())}};
  }

  /// What the call costs: of its operators, the one that computes.
  template <class Call>
  OpCost cost_of(const Call& call) {
    Profile profile;
    device_.set_profile(&profile);
    gpu_.timeline().pause();
    arena_->reset();
    call(0);
    gpu_.timeline().pause();
    gpu_.wait();
    gpu_.timeline().read(gpu_.timeline().take(), &profile);
    device_.set_profile(nullptr);
    const auto& lines = profile.lines();
    return std::max_element(
               lines.begin(), lines.end(),
               [](const auto& a, const auto& b) { return a.cost.operations < b.cost.operations; })
        ->cost;
  }

  /// Replays a recording of call(0), call(1), ... and keeps the median.
  template <class Call>
  void measure(const std::string& name, const std::string& shape, std::int64_t calls,
               const Call& call) {
    KernelResult result{.name = name, .shape = shape, .cost = cost_of(call)};
    GpuRecording recording(gpu_);
    for (std::int64_t i = 0; i < calls; ++i) {
      arena_->reset();
      call(i);
    }
    GpuGraph graph = recording.finish();
    std::vector<double> times;
    double sum = 0.0;
    while (times.size() < 4 || sum < o_.case_seconds) {
      GpuEvent begin;
      GpuEvent end;
      begin.record(gpu_);
      graph.launch(gpu_);
      end.record(gpu_);
      end.wait();
      const double seconds = end.seconds_since(begin);
      sum += seconds;
      times.push_back(seconds / static_cast<double>(calls));
    }
    times.erase(times.begin());  // the first one warms up
    result.seconds = summarize(times).median;
    results_.push_back(std::move(result));
  }

  void stage(std::int64_t sequences, std::int64_t rows, std::int64_t depth) {
    const std::int64_t tokens = spate::KvCache::block_tokens(DeviceKind::kCuda);
    const std::int64_t own = (depth + rows + tokens - 1) / tokens;
    std::vector<SequenceRows> list;
    for (std::int64_t i = 0; i < sequences; ++i) {
      list.push_back({.first_row = i * rows,
                      .n_rows = rows,
                      .first_position = depth,
                      .blocks = std::span(blocks_).subspan(static_cast<std::size_t>(i * own),
                                                           static_cast<std::size_t>(own))});
    }
    const std::vector<TokenId> ids(static_cast<std::size_t>(sequences * rows), 0);
    batch_->stage({.token_ids = ids, .sequences = list}, {}, {});
  }
  Batch staged() const { return {.on_device = batch_.get()}; }

  void project_qkv() {
    const Copies all =
        matrices(s_.hidden, (s_.query_heads + 2 * s_.kv_heads) * s_.head_dim, Use::kLinear);
    const ops::QkvParams params{
        .query_heads = s_.query_heads,
        .kv_heads = s_.kv_heads,
        .head_dim = s_.head_dim,
        .rope = {reinterpret_cast<const float*>(rope_.data()), s_.head_dim, kMostRows}};
    const Batch batch = staged();
    for (const std::int64_t n : kRows) {
      stage(1, n, 0);
      measure("norm, q k v, rotation", rows_named(n), all.calls(), [&](std::int64_t i) {
        ops::project_qkv(device_, *arena_, rows(n, s_.hidden, true), all.turn(i), params,
                         {.layer = layer(i), .batch = batch});
      });
    }
  }

  void matmul_add(const char* what, std::int64_t k) {
    const Copies all = matrices(k, s_.hidden, Use::kLinear);
    const Buffer residual = random_rows(DType::kF32, kMostRows, s_.hidden);
    for (const std::int64_t n : kRows) {
      const Tensor out(residual.data(), DType::kF32, {n, s_.hidden});
      measure(what, rows_named(n), all.calls(), [&](std::int64_t i) {
        ops::matmul_add(device_, *arena_, out, rows(n, k, false), all.turn(i));
      });
    }
  }

  void gated_matmul() {
    const Copies all = matrices(s_.hidden, 2 * s_.intermediate, Use::kLinear);
    for (const std::int64_t n : kRows) {
      measure("norm, MLP gate and up", rows_named(n), all.calls(), [&](std::int64_t i) {
        ops::gated_matmul(device_, *arena_, rows(n, s_.hidden, true), all.turn(i),
                          ops::Activation::kSilu, all.turn(i).row_format());
      });
    }
  }

  void head() {
    const Copies all = matrices(s_.hidden, s_.vocab, Use::kHead);
    const Buffer logits = device_value(Buffer::reserve_gpu(kMostHeadRows * s_.vocab * 4));
    for (const std::int64_t n : kRows) {
      if (n > kMostHeadRows) continue;
      const Tensor out(logits.data(), DType::kF32, {n, s_.vocab});
      measure("norm, head", rows_named(n), all.calls(), [&](std::int64_t i) {
        ops::matmul(device_, *arena_, out, rows(n, s_.hidden, true), all.turn(i));
      });
    }
  }

  void attention(const AttentionCase& c) {
    const std::int64_t tokens = KvCache::block_tokens(DeviceKind::kCuda);
    if (c.sequences * ((c.depth + c.rows + tokens - 1) / tokens) > n_blocks_) return;
    const std::int64_t n = c.sequences * c.rows;
    const Buffer values = random_rows(narrow(), n, s_.query_heads * s_.head_dim);
    const Tensor queries(values.data(), narrow(), {n, s_.query_heads, s_.head_dim});
    stage(c.sequences, c.rows, c.depth);
    const Batch batch = staged();
    const std::string shape = std::to_string(c.sequences) + " x " + std::to_string(c.rows) +
                              " at depth " + std::to_string(c.depth);
    measure("attention", shape, 16, [&](std::int64_t i) {
      ops::attention(device_, *arena_, queries, layer(i), batch, {.query_heads = s_.query_heads},
                     RowFormat::kBF16);
    });
  }

  KvLayer layer(std::int64_t i) const { return kv_->layer(i % s_.layers); }

  Device& device_;
  Gpu& gpu_;
  const KernelOptions& o_;
  const DecoderShape& s_;
  std::int64_t n_blocks_ = 0;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<DeviceBatch> batch_;
  Buffer wide_rows_;  // f32 [most rows, hidden]
  Buffer rows_;       // [most rows, widest]
  Buffer ones_;       // f32 [hidden]
  Buffer rope_;
  std::vector<std::int32_t> blocks_;
  std::vector<KernelResult> results_;
};

}  // namespace

Result<std::vector<KernelResult>> measure_gpu_kernels(Device& device, const KernelOptions& options,
                                                      const std::function<void()>& between) {
  try {
    return GpuKernelBench(device, options).run(between);
  } catch (const DeviceError& error) {
    return Error{ErrorCode::kInternal, error.what()};
  }
}

}  // namespace spate::bench
