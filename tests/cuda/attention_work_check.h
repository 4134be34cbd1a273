// Runs AttentionWork as the engine does: a layer among others in strided blocks, step tables with
// padding rows, lists staged on the host and copied, launches captured in a graph.
#pragma once
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/cuda/attention_work.h"
#include "tests/cuda/attention_run.h"

namespace spate::cuda_test {

inline constexpr int kLayers = 3, kLayer = 1, kPaddingRows = 3;

// T: queries and output; Bits: the cache's elements, made by `encode`.
template <class T, class Bits>
class WorkRun {
 public:
  // scaled: the cache's elements are multiplied by kv_scales().
  WorkRun(const Problem& problem, const ops::cuda::AttentionShape& shape, PagedCache cache,
          bool scaled)
      : problem_(problem),
        shape_(shape),
        scaled_(scaled),
        scales_{DeviceArray<float>(kv_scales(problem.spec.kv_heads, 0)),
                DeviceArray<float>(kv_scales(problem.spec.kv_heads, 1))},
        cache_(std::move(cache)),
        rows_(problem.total_q + kPaddingRows),
        q_(static_cast<std::size_t>(rows_ * row_size())),
        out_(static_cast<std::size_t>(rows_ * row_size())),
        table_(cache_.table),
        pages_(spread_layers()),
        positions_(static_cast<std::size_t>(rows_)),
        sequence_(static_cast<std::size_t>(rows_)),
        q_len_(problem.requests.size()),
        begin_(problem.requests.size()),
        staged_(static_cast<std::size_t>(ops::cuda::AttentionWork::staged_bytes(shape, limits()))),
        work_(ops::cuda::AttentionWork::create(
            shape, limits(), reinterpret_cast<const std::byte*>(staged_.data()))) {
    std::vector<T> q(problem.q.size());
    for (std::size_t i = 0; i < q.size(); ++i) q[i] = to_element<T>(problem.q[i]);
    q.resize(q_.size(), to_element<T>(std::numeric_limits<float>::quiet_NaN()));
    q_.set(q);
    fill_tables();
  }

  // The rows of the requests, as floats; padding rows must stay as they were.
  std::vector<float> run() {
    out_.poison();
    stage();
    ops::cuda::AttentionCall call;
    call.cache = reinterpret_cast<const std::byte*>(pages_.data()) + kLayer * layer_bytes();
    call.block_stride = kLayers * layer_bytes();
    call.head_bytes = head_bytes();
    call.queries = q_.data();
    call.out = out_.data();
    call.rows = rows_;
    if (scaled_) {
      call.k_scale = scales_[0].data();
      call.v_scale = scales_[1].data();
    }
    cudaStream_t stream = nullptr;
    require(cudaStreamCreate(&stream));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    require(static_cast<cudaError_t>(work_->run(call, tables_, stream)));
    require(cudaStreamEndCapture(stream, &graph));
    require(cudaGraphInstantiate(&executable, graph, 0));
    require(cudaGraphLaunch(executable, stream));
    require(cudaStreamSynchronize(stream));
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    std::vector<float> out;
    for (const T& x : out_.get()) out.push_back(static_cast<float>(x));
    const auto used = static_cast<std::size_t>(problem_.total_q * row_size());
    for (std::size_t i = used; i < out.size(); ++i) {
      EXPECT_TRUE(std::isnan(out[i])) << "wrote a padding row";
    }
    out.resize(used);
    return out;
  }

 private:
  std::int64_t row_size() const { return std::int64_t{problem_.spec.q_heads} * shape_.head_dim; }
  std::int64_t head_bytes() const {
    return cuda::kv_block_bytes(cuda::kStepBlockTokens, static_cast<int>(shape_.head_dim),
                                sizeof(Bits), shape_.cache == DType::kI8);
  }
  std::int64_t layer_bytes() const { return shape_.kv_heads * head_bytes(); }
  ops::cuda::AttentionLimits limits() const {
    std::int64_t longest = 1;
    for (const auto& r : problem_.requests) longest = std::max<std::int64_t>(longest, r.kv_len);
    return {rows_, static_cast<std::int64_t>(problem_.requests.size()), longest, 132};
  }
  std::vector<std::uint8_t> spread_layers() const {
    const std::int64_t layer = layer_bytes(),
                       pages = static_cast<std::int64_t>(cache_.pages.size()) / layer;
    std::vector<std::uint8_t> all(static_cast<std::size_t>(pages * kLayers * layer), 0xFF);
    for (std::int64_t i = 0; i < pages; ++i) {
      std::memcpy(all.data() + (i * kLayers + kLayer) * layer, cache_.pages.data() + i * layer,
                  static_cast<std::size_t>(layer));
    }
    return all;
  }
  void fill_tables() {
    std::vector<std::int32_t> positions(static_cast<std::size_t>(rows_), -1), sequence(positions),
        q_len, begin;
    for (const auto& r : cache_.requests) {
      for (std::int32_t i = 0; i < r.q_len; ++i) {
        const auto row = static_cast<std::size_t>(r.q_begin + i);
        positions[row] = r.kv_len - r.q_len + i;
        sequence[row] = static_cast<std::int32_t>(q_len.size());
      }
      q_len.push_back(r.q_len);
      begin.push_back(r.kv_begin);
    }
    positions_.set(positions);
    sequence_.set(sequence);
    q_len_.set(q_len);
    begin_.set(begin);
    tables_.positions = positions_.data();
    tables_.sequence = sequence_.data();
    tables_.q_len = q_len_.data();
    tables_.table_begin = begin_.data();
    tables_.block_table = table_.data();
  }
  void stage() {
    std::vector<SequenceRows> sequences;
    for (const auto& r : cache_.requests) {
      const auto blocks = static_cast<std::size_t>((r.kv_len + 127) / 128);
      sequences.push_back(
          {.first_row = r.q_begin,
           .n_rows = r.q_len,
           .first_position = r.kv_len - r.q_len,
           .blocks = std::span(cache_.table).subspan(static_cast<std::size_t>(r.kv_begin), blocks),
           .n_prompt_rows = r.q_len > 16 ? r.q_len : 0});
    }
    std::vector<std::uint8_t> host(staged_.size() + 16);
    const std::int64_t used =
        work_->stage(sequences, {}, reinterpret_cast<std::byte*>(host.data()));
    ASSERT_LE(static_cast<std::size_t>(used), staged_.size());
    staged_.poison();
    require(cudaMemcpy(staged_.data(), host.data(), static_cast<std::size_t>(used),
                       cudaMemcpyHostToDevice));
  }

  const Problem& problem_;
  ops::cuda::AttentionShape shape_;
  bool scaled_;
  DeviceArray<float> scales_[2];
  PagedCache cache_;
  std::int64_t rows_;
  DeviceArray<T> q_, out_;
  DeviceArray<std::int32_t> table_;
  DeviceArray<std::uint8_t> pages_;
  DeviceArray<std::int32_t> positions_, sequence_, q_len_, begin_;
  DeviceArray<std::uint8_t> staged_;
  cuda::StepTables tables_;
  Result<ops::cuda::AttentionWork> work_;
};

struct WorkCheck {
  std::vector<Lengths> lengths;
  ops::cuda::AttentionShape shape;
  bool alibi = false;
  double query_scale = 1;
  bool kv_scales = false;  // e4m3
};

// Queries arrive multiplied by scale * log2(e), which makes ln(2) the remaining scale.
template <class T>
Problem work_problem(const WorkCheck& check) {
  const auto& shape = check.shape;
  const double spread =
      check.query_scale * 1.4426950408889634 / std::sqrt(static_cast<double>(shape.head_dim));
  ProblemSpec spec{check.lengths, static_cast<int>(shape.q_heads), static_cast<int>(shape.kv_heads),
                   static_cast<int>(shape.head_dim), spread};
  auto round_query = [](float x) { return static_cast<float>(to_element<T>(x)); };
  Problem problem(spec, round_query, [](float x) { return x; });
  problem.scale = 0.6931471805599453;
  Rules rules;
  if (shape.window) rules.left = static_cast<std::int32_t>(*shape.window) - 1;
  if (shape.soft_cap) rules.soft_cap = static_cast<double>(*shape.soft_cap);
  rules.alibi = check.alibi;
  problem.set_rules(rules);
  return problem;
}

template <class T>
Tolerance work_tolerance(DType cache) {
  // f32: a thousand additions of half a unit each at worst.
  if (sizeof(T) == 4) return {0x1p-14, 0x1p-22};
  if (cache == DType::kI8) return kInt8Tolerance;
  return {cache == DType::kF8E4M3 ? 0x1p-11 : kRoundoff<T>, kRoundoff<T>};
}

// cache_of(problem) makes the cache, and the problem's keys and values what the cache holds.
template <class T, class Bits, class CacheOf>
void check_work(WorkCheck check, const CacheOf& cache_of) {
  auto& shape = check.shape;
  Problem problem = work_problem<T>(check);
  const DeviceArray<float> slopes(problem.slopes);
  if (check.alibi) shape.alibi_slopes = slopes.data();

  PagedCache cache = cache_of(problem);
  WorkRun<T, Bits> run(problem, shape, std::move(cache), check.kv_scales);
  const std::vector<float> out = run.run();

  problem.expect_close(out, {}, work_tolerance<T>(shape.cache));
  EXPECT_TRUE(same_bits(out, run.run())) << "runs differ";
}

// encode: one element to its bits; decode: back.
template <class Bits, class Encode, class Decode>
PagedCache encoded_cache(Problem& problem, const Encode& encode, const Decode& decode,
                         int segments = 0) {
  for (float& x : problem.k) x = decode(encode(x));
  for (float& x : problem.v) x = decode(encode(x));
  return make_pages<Bits>(
      problem, cuda::kStepBlockTokens, [&](float x, int, int) { return encode(x); }, false,
      segments);
}

// T: bf16 or f16.
template <class T>
void check_work_in(WorkCheck check, int segments = 0) {
  check.shape.cache = std::is_same_v<T, __half> ? DType::kF16 : DType::kBF16;
  check_work<T, T>(check, [segments](Problem& problem) {
    return encoded_cache<T>(
        problem, [](float x) { return to_element<T>(x); }, [](T x) { return to_float(x); },
        segments);
  });
}
inline void check_work_bf16(const WorkCheck& check, int segments = 0) {
  check_work_in<__nv_bfloat16>(check, segments);
}
inline void check_work_narrow(const WorkCheck& check) {
  check_work_in<__nv_bfloat16>(check);
  SCOPED_TRACE("f16");
  check_work_in<__half>(check);
}
// prepare: changes the problem first.
inline void check_work_fp8(
    WorkCheck check, const std::function<void(Problem&)>& prepare = [](Problem&) {}) {
  check.shape.cache = DType::kF8E4M3;
  check_work<__nv_bfloat16, std::uint8_t>(check, [&](Problem& problem) {
    prepare(problem);
    if (check.kv_scales) {
      round_to_scaled_e4m3(problem);
      return make_pages<std::uint8_t>(problem, cuda::kStepBlockTokens, scaled_e4m3);
    }
    return encoded_cache<std::uint8_t>(
        problem, [](float x) { return __nv_fp8_e4m3(x).__x; },
        [](std::uint8_t x) {
          __nv_fp8_e4m3 y;
          y.__x = x;
          return static_cast<float>(y);
        });
  });
}
inline void check_work_f32(WorkCheck check) {
  check.shape.cache = DType::kF32;
  auto same = [](float x) { return x; };
  check_work<float, float>(
      check, [&](Problem& problem) { return encoded_cache<float>(problem, same, same); });
}

}  // namespace spate::cuda_test
