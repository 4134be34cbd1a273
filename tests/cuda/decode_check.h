// Runs one decode variant on a problem and compares with the reference; poison as in
// prefill_check.h.
#pragma once
#include <memory>

#include "spate/kernels/cuda/decode_sm90.cuh"
#include "tests/cuda/attention_problem.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

struct DecodeCheckOptions {
  int page_tokens = 128;
  int split_tokens = 0;
  int repeats = 3;
  bool host_pages = true;  // the planner sees the page table
};

// Which kernel runs a variant, and how it is configured.
struct HopperDecode {
  template <class V>
  using Config = cuda::DecodeKernel<V>;
  template <class V>
  static cudaError_t launch(const cuda::DecodeParams& p) {
    return cuda::launch_decode<V>(p, nullptr);
  }
};

template <class V, class Kernel = HopperDecode>
class DecodeRun {
 public:
  using T = typename V::T;
  using C = typename Kernel::template Config<V>;
  static constexpr bool kFp8 = V::kFormat == cuda::KvFormat::kE4M3;
  using Bits = std::conditional_t<V::kBytes, std::uint8_t, T>;

  // Scales of FP8 caches: what stored values are multiplied by.
  static float kv_scale(int head, int half) {
    return kFp8 ? 0.011f + 0.002f * static_cast<float>(head) + 0.004f * static_cast<float>(half)
                : 1.f;
  }

  DecodeRun(const Problem& problem, DecodeCheckOptions options)
      : rows_(problem.total_q * problem.spec.q_heads),
        dim_(problem.spec.head_dim),
        cache_(make_pages<Bits>(problem, options.page_tokens, encode)),
        q_(problem.q.size()),
        pages_(cache_.pages),
        table_(cache_.table),
        slopes_(problem.slopes),
        out_(static_cast<std::size_t>(rows_ * dim_)),
        lse_(static_cast<std::size_t>(rows_)),
        scales_{DeviceArray<float>(64), DeviceArray<float>(64)} {
    std::vector<T> q(problem.q.size());
    for (std::size_t i = 0; i < q.size(); ++i) q[i] = to_element<T>(problem.q[i]);
    q_.set(q);
    for (int half = 0; half < 2; ++half) {
      std::vector<float> scale;
      for (int h = 0; h < problem.spec.kv_heads; ++h) scale.push_back(kv_scale(h, half));
      scales_[half].set(scale);
    }
    set_params(problem, options);
  }

  // out [rows][dim]; the lse comes with it.
  std::vector<T> run(std::vector<float>& lse) {
    out_.poison();
    lse_.poison();
    require(Kernel::template launch<V>(p_));
    require(cudaDeviceSynchronize());
    lse = lse_.get();
    return out_.get();
  }

 private:
  static Bits encode(float x, int head, int half) {
    if constexpr (kFp8)
      return __nv_fp8_e4m3(x / kv_scale(head, half)).__x;
    else
      return to_element<T>(x);
  }
  void set_params(const Problem& problem, DecodeCheckOptions options) {
    const auto& spec = problem.spec;
    cuda::DecodePlanOptions o;
    o.q_heads = spec.q_heads;
    o.kv_heads = spec.kv_heads;
    o.columns = C::kColumns;
    o.block_tokens = C::kBlockTokens;
    o.page_tokens = options.page_tokens;
    o.window_left = problem.rules.left;
    o.split_tokens = options.split_tokens;
    std::vector<cuda::AttentionRequest> requests = cache_.requests;
    if (options.host_pages) {
      for (auto& r : requests) r.pages = cache_.table.data() + r.kv_begin;
    }
    const cuda::DecodePlan plan = cuda::plan_decode(requests, o);
    shares_ = std::make_unique<DeviceArray<cuda::DecodeShare>>(plan.shares);
    plan_rows_ = std::make_unique<DeviceArray<cuda::DecodeRow>>(plan.rows);
    partial_out_ = std::make_unique<DeviceArray<float>>(
        static_cast<std::size_t>(plan.slots * C::kColumns * dim_));
    partial_stats_ =
        std::make_unique<DeviceArray<float2>>(static_cast<std::size_t>(plan.slots * C::kColumns));
    tickets_ = std::make_unique<DeviceArray<std::uint32_t>>(
        plan.rows.size() * static_cast<std::size_t>(spec.kv_heads));
    tickets_->zero();
    p_.q = q_.data();
    p_.q_token_stride = p_.out_token_stride = std::int64_t{spec.q_heads} * dim_;
    p_.out = out_.data();
    p_.lse = lse_.data();
    p_.q_heads = spec.q_heads;
    p_.kv_heads = spec.kv_heads;
    p_.scale = static_cast<float>(problem.scale);
    p_.pages = pages_.data();
    p_.page_table = table_.data();
    p_.page_tokens = options.page_tokens;
    p_.k_scale = scales_[0].data();
    p_.v_scale = scales_[1].data();
    if (problem.rules.left >= 0) p_.window_left = problem.rules.left;
    p_.soft_cap = static_cast<float>(problem.rules.soft_cap);
    p_.alibi_slopes = slopes_.data();
    p_.shares = shares_->data();
    p_.rows = plan_rows_->data();
    p_.grid = static_cast<int>(plan.shares.size());
    p_.partial_out = partial_out_->data();
    p_.partial_stats = partial_stats_->data();
    p_.tickets = tickets_->data();
  }

  std::int64_t rows_, dim_;
  PagedCache cache_;
  DeviceArray<T> q_;
  DeviceArray<std::uint8_t> pages_;
  DeviceArray<std::int32_t> table_;
  DeviceArray<float> slopes_;
  DeviceArray<T> out_;
  DeviceArray<float> lse_;
  DeviceArray<float> scales_[2];
  std::unique_ptr<DeviceArray<cuda::DecodeShare>> shares_;
  std::unique_ptr<DeviceArray<cuda::DecodeRow>> plan_rows_;
  std::unique_ptr<DeviceArray<float>> partial_out_;
  std::unique_ptr<DeviceArray<float2>> partial_stats_;
  std::unique_ptr<DeviceArray<std::uint32_t>> tickets_;
  cuda::DecodeParams p_;
};

// The problem of a variant, its keys and values rounded to what the cache can hold.
template <class V>
Problem decode_problem(ProblemSpec spec, const Rules& rules) {
  using T = typename V::T;
  spec.head_dim = V::kHeadDim;
  auto round = [](float x) { return to_float(to_element<T>(x)); };
  Problem problem(spec, round, round);
  if (DecodeRun<V>::kFp8) {
    for (int half = 0; half < 2; ++half) {
      std::vector<float>& x = half == 0 ? problem.k : problem.v;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const int head =
            static_cast<int>(i / static_cast<std::size_t>(spec.head_dim)) % spec.kv_heads;
        const float scale = DecodeRun<V>::kv_scale(head, half);
        x[i] = static_cast<float>(__nv_fp8_e4m3(x[i] / scale)) * scale;
      }
    }
  }
  problem.set_rules(rules);
  return problem;
}

template <class V, class Kernel = HopperDecode>
void check_decode(const ProblemSpec& spec, const Rules& rules = {},
                  DecodeCheckOptions options = {}) {
  using T = typename V::T;
  const Problem problem = decode_problem<V>(spec, rules);
  DecodeRun<V, Kernel> run(problem, options);

  std::vector<float> lse;
  const std::vector<T> first = run.run(lse);
  std::vector<float> out(first.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_float(first[i]);

  problem.expect_close(out, lse, {V::kBytes ? kRoundoff<__half> : kRoundoff<T>, kRoundoff<T>});
  for (int i = 1; i < options.repeats; ++i) {
    const std::vector<T> again = run.run(lse);
    EXPECT_EQ(std::memcmp(first.data(), again.data(), first.size() * sizeof(T)), 0)
        << "runs differ";
  }
}

inline std::vector<Lengths> decode_lengths() {
  std::vector<Lengths> lengths;
  for (const std::int32_t kv :
       {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 700, 699, 513, 2049}) {
    lengths.push_back({1, kv});
  }
  return lengths;
}
inline std::vector<Lengths> speculative_lengths() {
  return {{1, 1}, {2, 2},   {3, 130},  {16, 700}, {5, 129},
          {4, 3}, {16, 16}, {7, 2000}, {1, 257},  {8, 128}};
}

}  // namespace spate::cuda_test
