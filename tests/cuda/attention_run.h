// What the runs of prefill and of decode share: how a cache holds keys and values, rows with a gap
// behind each, results and their tolerances.
#pragma once
#include "spate/kernels/cuda/variant.cuh"
#include "tests/cuda/attention_problem.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

// ---- caches of e4m3 with a scale a kv head

// What stored keys (half 0) and values (half 1) are multiplied by.
inline float kv_scale(int head, int half) {
  return 0.011f + 0.002f * static_cast<float>(head) + 0.004f * static_cast<float>(half);
}
inline std::vector<float> kv_scales(int heads, int half) {
  std::vector<float> scales;
  for (int h = 0; h < heads; ++h) scales.push_back(kv_scale(h, half));
  return scales;
}
inline std::uint8_t scaled_e4m3(float x, int head, int half) {
  return __nv_fp8_e4m3(x / kv_scale(head, half)).__x;
}
// Keys and values become what such a cache can hold.
inline void round_to_scaled_e4m3(Problem& problem) {
  const int dim = problem.spec.head_dim, heads = problem.spec.kv_heads;
  for (int half = 0; half < 2; ++half) {
    std::vector<float>& x = half == 0 ? problem.k : problem.v;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float scale =
          kv_scale(static_cast<int>(i / static_cast<std::size_t>(dim)) % heads, half);
      x[i] = static_cast<float>(__nv_fp8_e4m3(x[i] / scale)) * scale;
    }
  }
}

// ---- variants of prefill and decode

template <class V>
constexpr bool kE4M3Cache = V::kFormat == cuda::KvFormat::kE4M3;

template <class V>
using CacheBits = std::conditional_t<kE4M3Cache<V>, std::uint8_t, typename V::T>;

// Over e4m3 the products are in f16.
template <class V>
Tolerance tolerance_of() {
  using T = typename V::T;
  return {kE4M3Cache<V> ? kRoundoff<__half> : kRoundoff<T>, kRoundoff<T>};
}

// A problem whose values are what the variant is given.
template <class V>
Problem problem_of(ProblemSpec spec, const Rules& rules) {
  spec.head_dim = V::kHeadDim;
  auto round = [](float x) { return to_float(to_element<typename V::T>(x)); };
  Problem problem(spec, round, round);
  if (kE4M3Cache<V>) round_to_scaled_e4m3(problem);
  problem.set_rules(rules);
  return problem;
}

// Logits of the order of `size`, up to seven times as large; all below zero if `negative`.
template <class V>
Problem large_problem(const std::vector<Lengths>& lengths, double size, bool negative) {
  Problem problem = problem_of<V>({lengths, 4, 2, V::kHeadDim, size}, {});
  if (!negative) return problem;
  for (float& x : problem.q) x = std::abs(x);
  for (float& x : problem.k) x = -std::abs(x);
  return problem;
}

template <class V>
PagedCache pages_of(const Problem& problem, int page_tokens) {
  return make_pages<CacheBits<V>>(problem, page_tokens, [](float x, int head, int half) {
    if constexpr (kE4M3Cache<V>)
      return scaled_e4m3(x, head, half);
    else
      return to_element<typename V::T>(x);
  });
}

// Over caches of int8: prefill rounds integers times their scale to f16.
inline constexpr Tolerance kInt8Tolerance{0x1p-10, 0x1p-8, 0x1p-11};

// ---- rows

inline constexpr std::int64_t kGuardTokens =
    3;  // behind the output, and between the requests' keys

// Rows of `width` elements, `gap` NaN behind each.
template <class T>
std::vector<T> spread_rows(const std::vector<float>& rows, std::int64_t width, std::int64_t gap) {
  std::vector<T> spread;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    spread.push_back(to_element<T>(rows[i]));
    if ((i + 1) % static_cast<std::size_t>(width) != 0) continue;
    spread.insert(spread.end(), static_cast<std::size_t>(gap),
                  to_element<T>(std::numeric_limits<float>::quiet_NaN()));
  }
  return spread;
}
// The first `n` of such rows; everything else must be NaN.
template <class T>
std::vector<float> gather_rows(const std::vector<T>& spread, std::int64_t n, std::int64_t width,
                               std::int64_t gap) {
  std::vector<float> rows;
  for (std::size_t i = 0; i < spread.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const float x = to_float(spread[i]);
    if (at / (width + gap) < n && at % (width + gap) < width) {
      rows.push_back(x);
    } else {
      EXPECT_TRUE(std::isnan(x)) << "wrote between or behind the rows";
    }
  }
  return rows;
}

struct AttentionResult {
  std::vector<float> out, lse;  // [total_q][q_heads][dim], [total_q][q_heads] or none
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
inline bool same_bits(const AttentionResult& a, const AttentionResult& b) {
  return same_bits(a.out, b.out) && same_bits(a.lse, b.lse);
}
// What `run` gives, so many times the same bits.
template <class Run>
AttentionResult equal_results(Run& run, int times) {
  AttentionResult first = run.run();
  for (int i = 1; i < times; ++i) EXPECT_TRUE(same_bits(first, run.run())) << "runs differ";
  return first;
}
// Of one request.
inline AttentionResult rows_of(const AttentionResult& all, const Problem& problem,
                               const cuda::AttentionRequest& r) {
  const std::int64_t heads = problem.spec.q_heads, dim = problem.spec.head_dim;
  auto slice = [&](const std::vector<float>& x, std::int64_t row) {
    if (x.empty()) return x;
    const auto from = x.begin() + r.q_begin * row;
    return std::vector<float>(from, from + r.q_len * row);
  };
  return {slice(all.out, heads * dim), slice(all.lse, heads)};
}

}  // namespace spate::cuda_test
