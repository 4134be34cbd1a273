// Runs one prefill variant on a problem and compares with the reference. Everything that the kernel
// must not read is NaN, everything that it must write is NaN before, and rows around the output
// stay.
#pragma once
#include "spate/kernels/cuda/prefill_sm90.cuh"
#include "tests/cuda/attention_problem.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

inline constexpr std::int64_t kGuardTokens =
    3;  // behind the output, and between the requests' keys

template <class T>
std::vector<T> elements(const std::vector<float>& x) {
  std::vector<T> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = to_element<T>(x[i]);
  return y;
}

struct PrefillRun {
  std::vector<float> out, lse;
};

struct PrefillCheckOptions {
  int page_tokens = 128;
  cuda::PrefillPacking packing = cuda::PrefillPacking::kWhenLess;
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

template <class V, class Kernel>
PrefillRun run_prefill(const Problem& problem, PrefillCheckOptions options) {
  using T = typename V::T;
  const auto& spec = problem.spec;
  const std::int64_t row = std::int64_t{spec.q_heads} * spec.head_dim,
                     kv_row = std::int64_t{spec.kv_heads} * spec.head_dim;
  cuda::PrefillParams p;
  std::vector<cuda::AttentionRequest> requests = problem.requests;
  std::vector<T> kv;
  PagedCache cache;
  if (V::kLayout == cuda::KvLayout::kStrided) {
    kv = strided_cache<T>(problem, requests);
  } else {
    cache = make_pages<T>(problem, options.page_tokens,
                          [](float x, int, int) { return to_element<T>(x); });
    requests = cache.requests;
  }
  const DeviceArray<T> q(elements<T>(problem.q)), keys(kv);
  const DeviceArray<std::uint8_t> pages(cache.pages);
  const DeviceArray<std::int32_t> table(cache.table);
  const DeviceArray<float> slopes(problem.slopes);
  const DeviceArray<std::uint32_t> bits(problem.bits);
  DeviceArray<T> out(static_cast<std::size_t>((problem.total_q + kGuardTokens) * row));
  DeviceArray<float> lse(static_cast<std::size_t>((problem.total_q + kGuardTokens) * spec.q_heads));
  DeviceArray<std::uint32_t> counters(2);
  counters.zero();

  p.q = q.data();
  p.out = out.data();
  p.q_token_stride = p.out_token_stride = row;
  p.q_head_stride = p.out_head_stride = spec.head_dim;
  p.lse = lse.data();
  p.total_q = problem.total_q;
  p.q_heads = spec.q_heads;
  p.kv_heads = spec.kv_heads;
  p.scale = static_cast<float>(problem.scale);
  p.k = keys.data();
  p.v = keys.data() + kv_row;
  p.kv_token_stride = 2 * kv_row;
  p.kv_head_stride = spec.head_dim;
  p.total_kv = static_cast<std::int64_t>(kv.size()) / (2 * kv_row);
  p.pages = pages.data();
  p.page_table = table.data();
  p.page_tokens = options.page_tokens;
  if (problem.rules.left >= 0) p.window_left = problem.rules.left;
  if (problem.rules.right >= 0) p.window_right = problem.rules.right;
  p.soft_cap = static_cast<float>(problem.rules.soft_cap);
  p.alibi_slopes = slopes.data();
  p.mask_bits = bits.data();
  p.mask_words = problem.mask_words;

  cuda::PrefillPlanOptions o;
  o.q_heads = spec.q_heads;
  o.kv_heads = spec.kv_heads;
  o.tile_rows = Kernel::template Config<V>::kTileRows;
  o.kv_token_bytes = std::int64_t{4} * spec.head_dim;
  o.window = {problem.rules.left, problem.rules.right};
  o.packing = options.packing;
  const cuda::PrefillPlan plan = cuda::plan_prefill(requests, o);
  const DeviceArray<cuda::PrefillTile> tiles(plan.tiles);
  p.tiles = tiles.data();
  p.n_tiles = static_cast<int>(plan.tiles.size());
  p.pack_shift = plan.pack_shift;
  p.counters = counters.data();

  PrefillRun run;
  std::vector<T> first;
  for (int repeat = 0; repeat < 2;
       ++repeat) {  // the second run finds the counters as the first left them
    out.poison();
    lse.poison();
    require(Kernel::template launch<V>(p));
    require(cudaDeviceSynchronize());
    const std::vector<T> host = out.get();
    if (repeat == 1) {
      EXPECT_EQ(std::memcmp(host.data(), first.data(), host.size() * sizeof(T)), 0)
          << "runs differ";
    }
    first = host;
  }
  run.lse = lse.get();
  for (const T& x : first) run.out.push_back(to_float(x));
  for (std::size_t i = static_cast<std::size_t>(problem.total_q * row); i < run.out.size(); ++i) {
    EXPECT_TRUE(std::isnan(run.out[i])) << "wrote behind the last query";
  }
  return run;
}

template <class V, class Kernel = HopperPrefill>
void check_prefill(const ProblemSpec& spec, const Rules& rules, PrefillCheckOptions options = {}) {
  using T = typename V::T;
  auto round = [](float x) { return to_float(to_element<T>(x)); };
  Problem problem(spec, round, round);
  problem.set_rules(rules);

  const PrefillRun run = run_prefill<V, Kernel>(problem, options);

  problem.expect_close(run.out, run.lse, {kRoundoff<T>, kRoundoff<T>});
}

// Lengths around every boundary of tiles and blocks, appends, no keys, fewer keys than queries.
inline std::vector<Lengths> odd_lengths() {
  return {{1, 1},     {129, 129}, {64, 300}, {17, 17}, {5, 0},
          {200, 128}, {127, 640}, {1, 257},  {65, 95}, {193, 449}};
}

}  // namespace spate::cuda_test
