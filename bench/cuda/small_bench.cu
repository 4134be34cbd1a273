// bench_cuda_small: the kernels between the large ones, on the shapes of an 8B model (hidden 4096,
// 32 query and 8 kv heads of 128, 14336 columns of gate and of up, vocabulary 128256). For each the
// time of a launch in a graph, with dependent launches, and the bytes that it must move over that
// time. Few rows come from the L2 cache, as in the engine.
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "bench/cuda/graph_timer.h"
#include "spate/kernels/cuda/activation.cuh"
#include "spate/kernels/cuda/embed.cuh"
#include "spate/kernels/cuda/gather.cuh"
#include "spate/kernels/cuda/normalize.cuh"
#include "spate/kernels/cuda/qkv.cuh"
#include "spate/kernels/cuda/sample.cuh"
#include "spate/kernels/cuda/sample_greedy.cuh"

namespace spate::bench {
namespace {

using cuda::RowType;

constexpr int kHidden = 4096, kQueryHeads = 32, kKvHeads = 8, kDim = 128, kInner = 14336,
              kVocab = 128256, kPositions = 8192;
constexpr int kColumns = (kQueryHeads + 2 * kKvHeads) * kDim;

class Memory {
 public:
  Memory() = default;
  ~Memory() {
    for (void* p : taken_) cudaFree(p);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Normal noise of the type; a period of 2^20 values.
  void* noise(std::int64_t n, RowType type) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    constexpr std::int64_t kPeriod = 1 << 20;
    const std::int64_t width = cuda::row_type_bytes(type);
    std::vector<std::uint8_t> host(static_cast<std::size_t>(kPeriod * width));
    for (std::int64_t i = 0; i < kPeriod; ++i) {
      const float x = normal(random);
      const __nv_bfloat16 y = __float2bfloat16(x);
      std::memcpy(host.data() + i * width, width == 4 ? static_cast<const void*>(&x) : &y,
                  static_cast<std::size_t>(width));
    }
    auto* p = static_cast<std::uint8_t*>(take(n * width));
    for (std::int64_t at = 0; at < n; at += kPeriod) {
      const auto bytes = static_cast<std::size_t>(std::min(kPeriod, n - at) * width);
      require(cudaMemcpy(p + at * width, host.data(), bytes, cudaMemcpyHostToDevice));
    }
    return p;
  }
  template <class T>
  T* copy(const std::vector<T>& host) {
    void* p = take(static_cast<std::int64_t>(host.size() * sizeof(T)));
    require(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return static_cast<T*>(p);
  }
  void* take(std::int64_t bytes) {
    void* p = nullptr;
    require(cudaMalloc(&p, static_cast<std::size_t>(bytes + 16)));
    taken_.push_back(p);
    return p;
  }

 private:
  std::vector<void*> taken_;
};

// Row r is token 37 of sequence r's own block r.
cuda::StepTables make_tables(Memory* memory, int rows) {
  std::vector<std::int32_t> ids, positions, sequence, table;
  for (int r = 0; r < rows; ++r) {
    ids.push_back((r * 7919) % kVocab);
    positions.push_back(r % 128);
    sequence.push_back(r);
    table.push_back(r);
  }
  cuda::StepTables t;
  t.token_ids = memory->copy(ids);
  t.positions = memory->copy(positions);
  t.sequence = memory->copy(sequence);
  t.table_begin = t.block_table = memory->copy(table);
  t.logit_rows = t.sequence;
  return t;
}

class SmallBench {
 public:
  explicit SmallBench(int rows) : rows_(rows), timer_(20), tables_(make_tables(&memory_, rows)) {}

  void run() {
    add_norms();
    add_qkv();
    add_activations();
    add_embed();
    if (rows_ <= 1024) {
      add_greedy();
      add_sampling();
    }
    timer_.run([&](const std::string& name, double us) {
      std::printf("%5d rows | %-30s %8.2f us %8.1f MB %6.2f TB/s\n", rows_, name.c_str(), us,
                  bytes_.at(name) * 1e-6, bytes_.at(name) / us * 1e-6);
    });
  }

 private:
  void add(const std::string& name, double bytes, const GraphTimer::Launch& launch) {
    bytes_[name] = bytes;
    timer_.add(name, launch);
  }
  void add_norms() {
    cuda::NormalizeParams p;
    p.x = memory_.noise(std::int64_t{rows_} * kHidden, RowType::kF32);
    p.x_stride = p.out_stride = p.k = kHidden;
    p.norm = cuda::RowNorm::kRms;
    p.weight = static_cast<const float*>(memory_.noise(kHidden, RowType::kF32));
    p.eps = 1e-5f;
    p.out = memory_.take(std::int64_t{rows_} * kHidden * 2);
    p.scales = static_cast<float*>(memory_.take(rows_ * 4));
    p.rows = rows_;
    p.dependent_launch = true;
    add("rmsnorm f32 -> bf16", 6.0 * rows_ * kHidden,
        [p](int, cudaStream_t stream) { return cuda::launch_normalize(p, stream); });
    p.out_type = RowType::kE4M3;
    add("rmsnorm f32 -> e4m3", 5.0 * rows_ * kHidden,
        [p](int, cudaStream_t stream) { return cuda::launch_normalize(p, stream); });
  }
  void add_qkv() {
    cuda::FinishQkvParams p;
    p.sums = memory_.noise(std::int64_t{rows_} * kColumns, RowType::kF32);
    p.sums_type = RowType::kF32;
    p.sums_stride = kColumns;
    p.q_heads = kQueryHeads;
    p.kv_heads = kKvHeads;
    p.head_dim = p.rotary_dim = kDim;
    p.rope = static_cast<const float*>(memory_.noise(kPositions * kDim, RowType::kF32));
    p.queries = memory_.take(std::int64_t{rows_} * kQueryHeads * kDim * 2);
    p.queries_stride = kQueryHeads * kDim;
    p.head_stride = cuda::kv_block_bytes(128, kDim, 2);
    p.block_stride = p.head_stride * kKvHeads;
    p.cache = memory_.take(p.block_stride * rows_);
    p.tables = tables_;
    p.rows = rows_;
    p.dependent_launch = true;
    add("qkv f32, rope, kv bf16", 6.0 * rows_ * kColumns,
        [p](int, cudaStream_t stream) { return cuda::launch_finish_qkv(p, stream); });
    p.sums_type = RowType::kBF16;
    p.query_norm = p.key_norm = static_cast<const float*>(memory_.noise(kDim, RowType::kF32));
    p.cache_type = RowType::kE4M3;
    p.head_stride /= 2;
    p.block_stride /= 2;
    add("qkv bf16, norm, rope, kv e4m3",
        4.0 * rows_ * kQueryHeads * kDim + 6.0 * rows_ * kKvHeads * kDim,
        [p](int, cudaStream_t stream) { return cuda::launch_finish_qkv(p, stream); });
  }
  void add_activations() {
    cuda::ActivationParams p;
    p.x = memory_.noise(std::int64_t{rows_} * 2 * kInner, RowType::kBF16);
    p.x_stride = 2 * kInner;
    p.out = memory_.take(std::int64_t{rows_} * kInner * 2);
    p.out_stride = p.n = kInner;
    p.scales = static_cast<float*>(memory_.take(rows_ * 4));
    p.rows = rows_;
    p.dependent_launch = true;
    add("silu * up bf16 -> bf16", 6.0 * rows_ * kInner,
        [p](int, cudaStream_t stream) { return cuda::launch_activation(p, stream); });
    p.out_type = RowType::kE4M3;
    add("silu * up bf16 -> e4m3", 5.0 * rows_ * kInner,
        [p](int, cudaStream_t stream) { return cuda::launch_activation(p, stream); });
  }
  void add_embed() {
    cuda::EmbedParams p;
    p.table = memory_.noise(std::int64_t{kVocab} * kHidden, RowType::kBF16);
    p.vocab = kVocab;
    p.hidden = kHidden;
    p.tables = tables_;
    p.out = static_cast<float*>(memory_.take(std::int64_t{rows_} * kHidden * 4));
    p.out_stride = kHidden;
    p.rows = rows_;
    p.dependent_launch = true;
    add("embed bf16", 6.0 * rows_ * kHidden,
        [p](int, cudaStream_t stream) { return cuda::launch_embed(p, stream); });
    cuda::GatherParams g;
    g.x = p.out;
    g.x_stride = g.out_stride = g.n_bytes = 4 * kHidden;
    g.rows_of_x = tables_.logit_rows;
    g.out = memory_.take(std::int64_t{rows_} * kHidden * 4);
    g.rows = rows_;
    g.dependent_launch = true;
    add("gather f32 rows", 8.0 * rows_ * kHidden,
        [g](int, cudaStream_t stream) { return cuda::launch_gather(g, stream); });
  }
  void add_greedy() {
    cuda::GreedyParams p;
    p.logits =
        static_cast<const float*>(memory_.noise(std::int64_t{rows_} * kVocab, RowType::kF32));
    p.stride = p.vocab = kVocab;
    p.tokens = static_cast<std::int32_t*>(memory_.take(rows_ * 4));
    p.errors = static_cast<std::int32_t*>(memory_.take(rows_ * 4));
    p.rows = rows_;
    p.dependent_launch = true;
    add("greedy", 4.0 * rows_ * kVocab,
        [p](int, cudaStream_t stream) { return cuda::launch_greedy(p, stream); });
  }

  // Every row of its own slot. Bytes: the logits once.
  void add_sampling() {
    cuda::SampleParams p;
    p.logits =
        static_cast<const float*>(memory_.noise(std::int64_t{rows_} * kVocab, RowType::kF32));
    p.stride = p.vocab = kVocab;
    p.slots = tables_.sequence;
    p.outputs = memory_.copy(std::vector<std::int64_t>(static_cast<std::size_t>(rows_), 7));
    p.marks =
        memory_.copy(std::vector<cuda::TokenMark>(static_cast<std::size_t>(rows_) * kVocab, 0));
    p.tokens = static_cast<std::int32_t*>(memory_.take(rows_ * 4));
    p.errors = static_cast<std::int32_t*>(memory_.take(rows_ * 4));
    p.logprobs = static_cast<float*>(memory_.take(rows_ * 4));
    p.rows = rows_;
    p.dependent_launch = true;
    cuda::SlotRules rules;
    const auto add_rules = [&](const char* name) {
      p.rules = memory_.copy(std::vector<cuda::SlotRules>(static_cast<std::size_t>(rows_), rules));
      add(name, 4.0 * rows_ * kVocab,
          [p](int, cudaStream_t stream) { return cuda::launch_sample(p, stream); });
    };
    // The noise is of unit spread: at temperature 0.25 it is about as peaked as a model's logits.
    rules.inverse_temperature = 4;
    add_rules("sample t");
    rules.top_k = 50;
    add_rules("sample t, k 50");
    rules.top_k = 0;
    rules.top_p = 0.9F;
    add_rules("sample t, p 0.9");
    rules.top_k = 200;
    rules.min_p = 0.02F;
    add_rules("sample t, k 200, p 0.9, min_p");
    rules.has_marks = 1;
    rules.repetition = 1.1F;
    add_rules("the same, penalties");
    rules = {};
    rules.inverse_temperature = 1;
    rules.top_p = 0.9F;
    add_rules("sample flat, p 0.9");
    rules = {};
    rules.inverse_temperature = 4;
    rules.wants_logprob = 1;
    add_rules("sample t, logprob");
  }

  int rows_;
  Memory memory_;
  GraphTimer timer_;
  cuda::StepTables tables_;
  std::map<std::string, double> bytes_;
};

}  // namespace
}  // namespace spate::bench

int main() {
  for (const int rows : {1, 16, 64, 256, 4096}) spate::bench::SmallBench(rows).run();
  return 0;
}
