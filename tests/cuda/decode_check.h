// Runs one decode variant on a problem and compares with the reference; poison as in
// prefill_check.h.
#pragma once
#include "spate/kernels/cuda/decode_sm90.cuh"
#include "tests/cuda/attention_run.h"

namespace spate::cuda_test {

struct DecodeCheckOptions {
  int page_tokens = 128;
  int split_tokens = 0;
  int repeats = 3;
  bool host_pages = true;          // the planner sees the page table
  int query_gap = 0, out_gap = 0;  // elements behind a token's heads
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

  DecodeRun(const Problem& problem, DecodeCheckOptions options)
      : DecodeRun(problem, pages_of<V>(problem, options.page_tokens), options) {}
  DecodeRun(const Problem& problem, PagedCache cache, DecodeCheckOptions options)
      : options_(options),
        total_q_(problem.total_q),
        row_(std::int64_t{problem.spec.q_heads} * problem.spec.head_dim),
        cache_(std::move(cache)),
        q_(spread_rows<T>(problem.q, row_, options.query_gap)),
        pages_(cache_.pages),
        table_(cache_.table),
        slopes_(problem.slopes),
        scales_{DeviceArray<float>(kv_scales(problem.spec.kv_heads, 0)),
                DeviceArray<float>(kv_scales(problem.spec.kv_heads, 1))},
        out_(static_cast<std::size_t>((total_q_ + kGuardTokens) * (row_ + options.out_gap))),
        lse_(static_cast<std::size_t>((total_q_ + kGuardTokens) * problem.spec.q_heads)),
        plan_(make_plan(problem)),
        shares_(plan_.shares),
        plan_rows_(plan_.rows),
        partial_out_(static_cast<std::size_t>(plan_.slots * C::kColumns * V::kHeadDim)),
        partial_stats_(static_cast<std::size_t>(plan_.slots * C::kColumns)),
        tickets_(plan_.rows.size() * static_cast<std::size_t>(problem.spec.kv_heads)) {
    tickets_.zero();
    set_rows(problem);
    set_cache();
    set_plan();
  }

  AttentionResult run() {
    out_.poison();
    lse_.poison();
    require(Kernel::template launch<V>(p_));
    require(cudaDeviceSynchronize());
    return {gather_rows(out_.get(), total_q_, row_, options_.out_gap),
            gather_rows(lse_.get(), total_q_, p_.q_heads, 0)};
  }

 private:
  cuda::DecodePlan make_plan(const Problem& problem) const {
    cuda::DecodePlanOptions o;
    o.q_heads = problem.spec.q_heads;
    o.kv_heads = problem.spec.kv_heads;
    o.columns = C::kColumns;
    o.block_tokens = C::kBlockTokens;
    o.page_tokens = options_.page_tokens;
    o.window_left = problem.rules.left;
    o.split_tokens = options_.split_tokens;
    std::vector<cuda::AttentionRequest> requests = cache_.requests;
    if (options_.host_pages) {
      for (auto& r : requests) r.pages = cache_.table.data() + r.kv_begin;
    }
    return cuda::plan_decode(requests, o);
  }
  void set_rows(const Problem& problem) {
    p_.q = q_.data();
    p_.q_token_stride = row_ + options_.query_gap;
    p_.out = out_.data();
    p_.out_token_stride = row_ + options_.out_gap;
    p_.lse = lse_.data();
    p_.q_heads = problem.spec.q_heads;
    p_.kv_heads = problem.spec.kv_heads;
    p_.scale = static_cast<float>(problem.scale);
    if (problem.rules.left >= 0) p_.window_left = problem.rules.left;
    p_.soft_cap = static_cast<float>(problem.rules.soft_cap);
    p_.alibi_slopes = slopes_.data();
  }
  void set_cache() {
    p_.pages = pages_.data();
    p_.page_table = table_.data();
    p_.page_tokens = options_.page_tokens;
    p_.k_scale = scales_[0].data();
    p_.v_scale = scales_[1].data();
  }
  void set_plan() {
    p_.shares = shares_.data();
    p_.rows = plan_rows_.data();
    p_.grid = static_cast<int>(plan_.shares.size());
    p_.partial_out = partial_out_.data();
    p_.partial_stats = partial_stats_.data();
    p_.tickets = tickets_.data();
  }

  DecodeCheckOptions options_;
  std::int64_t total_q_, row_;
  PagedCache cache_;
  DeviceArray<T> q_;
  DeviceArray<std::uint8_t> pages_;
  DeviceArray<std::int32_t> table_;
  DeviceArray<float> slopes_, scales_[2];
  DeviceArray<T> out_;
  DeviceArray<float> lse_;
  cuda::DecodePlan plan_;
  DeviceArray<cuda::DecodeShare> shares_;
  DeviceArray<cuda::DecodeRow> plan_rows_;
  DeviceArray<float> partial_out_;
  DeviceArray<float2> partial_stats_;
  DeviceArray<std::uint32_t> tickets_;
  cuda::DecodeParams p_;
};

template <class V, class Kernel = HopperDecode>
AttentionResult run_decode(const Problem& problem, DecodeCheckOptions options = {}) {
  DecodeRun<V, Kernel> run(problem, options);
  return equal_results(run, options.repeats);
}

template <class V, class Kernel = HopperDecode>
void check_decode(const Problem& problem, DecodeCheckOptions options = {}) {
  const AttentionResult got = run_decode<V, Kernel>(problem, options);
  problem.expect_close(got.out, got.lse, tolerance_of<V>());
}
template <class V, class Kernel = HopperDecode>
void check_decode(const ProblemSpec& spec, const Rules& rules = {},
                  DecodeCheckOptions options = {}) {
  check_decode<V, Kernel>(problem_of<V>(spec, rules), options);
}

inline std::vector<Lengths> decode_lengths() {
  std::vector<Lengths> lengths;
  for (const std::int32_t kv :
       {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 700, 699, 513, 2049}) {
    lengths.push_back({1, kv});
  }
  return lengths;
}
// More KV blocks than multiprocessors.
inline std::vector<Lengths> many_requests() {
  std::vector<Lengths> lengths;
  for (std::int32_t i = 0; i < 60; ++i) lengths.push_back({1 + i % 2, 100 + i * 5});
  return lengths;
}
inline std::vector<Lengths> speculative_lengths() {
  return {{1, 1}, {2, 2},   {3, 130},  {16, 700}, {5, 129},
          {4, 3}, {16, 16}, {7, 2000}, {1, 257},  {8, 128}};
}

}  // namespace spate::cuda_test
