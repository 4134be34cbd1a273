// Runs one prefill variant on a problem and compares with the reference. Everything that the kernel
// must not read is NaN, everything that it must write is NaN before, and rows around the output
// stay.
#pragma once
#include "spate/kernels/cuda/prefill_sm90.cuh"
#include "tests/cuda/attention_run.h"

namespace spate::cuda_test {

struct PrefillCheckOptions {
  int page_tokens = 128;
  cuda::PrefillPacking packing = cuda::PrefillPacking::kWhenLess;
  int query_gap = 0, out_gap = 0;  // elements behind a token's heads
};

// Keys and values with NaN tokens between the requests, as one tensor [token][2][kv_heads][dim].
template <class T>
std::vector<T> strided_cache(const Problem& problem,
                             std::vector<cuda::AttentionRequest>& requests) {
  const std::int64_t row = std::int64_t{problem.spec.kv_heads} * problem.spec.head_dim;
  std::vector<T> kv;
  for (auto& r : requests) {
    const std::int64_t from = r.kv_begin * row;
    r.kv_begin = static_cast<std::int32_t>(static_cast<std::int64_t>(kv.size()) / (2 * row));
    for (std::int64_t j = 0; j < r.kv_len; ++j) {
      for (std::int64_t x = 0; x < row; ++x)
        kv.push_back(to_element<T>(problem.k[static_cast<std::size_t>(from + j * row + x)]));
      for (std::int64_t x = 0; x < row; ++x)
        kv.push_back(to_element<T>(problem.v[static_cast<std::size_t>(from + j * row + x)]));
    }
    kv.insert(kv.end(), static_cast<std::size_t>(kGuardTokens * 2 * row),
              to_element<T>(std::numeric_limits<float>::quiet_NaN()));
  }
  return kv;
}

// Which kernel runs a variant, and how it is configured.
struct HopperPrefill {
  template <class V>
  using Config = cuda::PrefillKernel<V>;
  template <class V>
  static cudaError_t launch(const cuda::PrefillParams& p) {
    return cuda::launch_prefill<V>(p, nullptr);
  }
};

template <class V, class Kernel = HopperPrefill>
class PrefillRun {
 public:
  using T = typename V::T;
  using C = typename Kernel::template Config<V>;

  PrefillRun(const Problem& problem, PrefillCheckOptions options)
      : options_(options),
        total_q_(problem.total_q),
        row_(std::int64_t{problem.spec.q_heads} * problem.spec.head_dim),
        cache_(cache_of(problem, options.page_tokens)),
        q_(spread_rows<T>(problem.q, row_, options.query_gap)),
        kv_(cache_.kv),
        pages_(cache_.paged.pages),
        table_(cache_.paged.table),
        slopes_(problem.slopes),
        scales_{DeviceArray<float>(kv_scales(problem.spec.kv_heads, 0)),
                DeviceArray<float>(kv_scales(problem.spec.kv_heads, 1))},
        bits_(problem.bits),
        out_(static_cast<std::size_t>((total_q_ + kGuardTokens) * (row_ + options.out_gap))),
        lse_(static_cast<std::size_t>((total_q_ + kGuardTokens) * problem.spec.q_heads)),
        counters_(2),
        plan_(make_plan(problem)),
        tiles_(plan_.tiles) {
    counters_.zero();
    set_rows(problem);
    set_cache(problem);
    set_rules(problem);
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
  struct Cache {
    std::vector<T> kv;
    PagedCache paged;
    std::vector<cuda::AttentionRequest> requests;
  };
  static Cache cache_of(const Problem& problem, int page_tokens) {
    Cache cache;
    if constexpr (V::kLayout == cuda::KvLayout::kStrided) {
      cache.requests = problem.requests;
      cache.kv = strided_cache<T>(problem, cache.requests);
    } else {
      cache.paged = pages_of<V>(problem, page_tokens);
      cache.requests = cache.paged.requests;
    }
    return cache;
  }
  cuda::PrefillPlan make_plan(const Problem& problem) const {
    cuda::PrefillPlanOptions o;
    o.q_heads = problem.spec.q_heads;
    o.kv_heads = problem.spec.kv_heads;
    o.tile_rows = C::kTileRows;
    o.kv_token_bytes = std::int64_t{4} * problem.spec.head_dim;
    o.window = {problem.rules.left, problem.rules.right};
    o.packing = options_.packing;
    return cuda::plan_prefill(cache_.requests, o);
  }
  void set_rows(const Problem& problem) {
    p_.q = q_.data();
    p_.out = out_.data();
    p_.q_token_stride = row_ + options_.query_gap;
    p_.out_token_stride = row_ + options_.out_gap;
    p_.q_head_stride = p_.out_head_stride = problem.spec.head_dim;
    p_.lse = lse_.data();
    p_.total_q = total_q_;
    p_.q_heads = problem.spec.q_heads;
    p_.tiles = tiles_.data();
    p_.n_tiles = static_cast<int>(plan_.tiles.size());
    p_.pack_shift = plan_.pack_shift;
    p_.counters = counters_.data();
  }
  void set_cache(const Problem& problem) {
    const std::int64_t kv_row = std::int64_t{problem.spec.kv_heads} * problem.spec.head_dim;
    p_.kv_heads = problem.spec.kv_heads;
    p_.k = kv_.data();
    p_.v = kv_.data() + kv_row;
    p_.kv_token_stride = 2 * kv_row;
    p_.kv_head_stride = problem.spec.head_dim;
    p_.total_kv = static_cast<std::int64_t>(kv_.size()) / (2 * kv_row);
    p_.pages = pages_.data();
    p_.page_table = table_.data();
    p_.page_tokens = options_.page_tokens;
    p_.k_scale = scales_[0].data();
    p_.v_scale = scales_[1].data();
  }
  void set_rules(const Problem& problem) {
    p_.scale = static_cast<float>(problem.scale);
    if (problem.rules.left >= 0) p_.window_left = problem.rules.left;
    if (problem.rules.right >= 0) p_.window_right = problem.rules.right;
    p_.soft_cap = static_cast<float>(problem.rules.soft_cap);
    p_.alibi_slopes = slopes_.data();
    p_.mask_bits = bits_.data();
    p_.mask_words = problem.mask_words;
  }

  PrefillCheckOptions options_;
  std::int64_t total_q_, row_;
  Cache cache_;
  DeviceArray<T> q_, kv_;
  DeviceArray<std::uint8_t> pages_;
  DeviceArray<std::int32_t> table_;
  DeviceArray<float> slopes_, scales_[2];
  DeviceArray<std::uint32_t> bits_;
  DeviceArray<T> out_;
  DeviceArray<float> lse_;
  DeviceArray<std::uint32_t> counters_;
  cuda::PrefillPlan plan_;
  DeviceArray<cuda::PrefillTile> tiles_;
  cuda::PrefillParams p_;
};

// Runs twice: the second run finds the counters as the first left them.
template <class V, class Kernel = HopperPrefill>
AttentionResult run_prefill(const Problem& problem, PrefillCheckOptions options = {}) {
  PrefillRun<V, Kernel> run(problem, options);
  return equal_results(run, 2);
}

template <class V, class Kernel = HopperPrefill>
void check_prefill(const Problem& problem, PrefillCheckOptions options = {}) {
  const AttentionResult got = run_prefill<V, Kernel>(problem, options);
  problem.expect_close(got.out, got.lse, tolerance_of<V>());
}
template <class V, class Kernel = HopperPrefill>
void check_prefill(const ProblemSpec& spec, const Rules& rules, PrefillCheckOptions options = {}) {
  check_prefill<V, Kernel>(problem_of<V>(spec, rules), options);
}

// Lengths around every boundary of tiles and blocks, appends, no keys, fewer keys than queries.
inline std::vector<Lengths> odd_lengths() {
  return {{1, 1},     {129, 129}, {64, 300}, {17, 17}, {5, 0},
          {200, 128}, {127, 640}, {1, 257},  {65, 95}, {193, 449}};
}

}  // namespace spate::cuda_test
