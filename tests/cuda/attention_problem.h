// A batch of attention requests with random data: what the tests give to a kernel and what they
// expect back. Values are rounded to what the kernel is given, so that the reference has the same
// inputs.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include "spate/kernels/cuda/attention_plan.h"
#include "spate/kernels/cuda/kv_image.h"
#include "tests/reference/masked_attention.h"

namespace spate::cuda_test {

struct Lengths {
  std::int32_t q, kv;
};

struct ProblemSpec {
  std::vector<Lengths> lengths;
  int q_heads = 4, kv_heads = 2, head_dim = 128;
  double query_scale = 1;  // spread of the queries: large values make peaked rows
  std::uint32_t seed = 1;
};

// What a query sees and how its scores change. Positions as in the kernels.
struct Rules {
  std::int32_t left = -1, right = 0;  // keys before and after the position; -1: all
  double soft_cap = 0;
  bool alibi = false;
  bool random_bits = false;  // of the last mask_columns keys
  std::int32_t mask_columns = 0;
};

template <class T>
T to_element(float x) {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else if constexpr (std::is_same_v<T, __half>)
    return __float2half(x);
  else
    return __float2bfloat16(x);
}
inline float to_float(float x) { return x; }
inline float to_float(__half x) { return __half2float(x); }
inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

// Half a unit in the last place, relative.
template <class T>
constexpr double kRoundoff = std::is_same_v<T, __half> ? 0x1p-11 : 0x1p-8;

struct Tolerance {
  double probability;  // relative rounding of one probability
  double output;       // of one output element
  double product = 0;  // of one product of a query and a key element, beyond f32's
};

class Problem {
 public:
  using Round = std::function<float(float)>;

  Problem(ProblemSpec problem_spec, const Round& round_query, const Round& round_kv)
      : spec(std::move(problem_spec)) {
    std::mt19937 random(spec.seed);
    std::normal_distribution<float> normal;
    for (const Lengths& l : spec.lengths) {
      requests.push_back(
          {static_cast<std::int32_t>(total_q), l.q, static_cast<std::int32_t>(total_kv), l.kv, 0});
      total_q += l.q;
      total_kv += l.kv;
    }
    auto fill = [&](std::vector<float>& x, std::int64_t n, double spread, const Round& round) {
      x.resize(static_cast<std::size_t>(n));
      for (float& y : x) y = round(static_cast<float>(spread) * normal(random));
    };
    fill(q, total_q * spec.q_heads * spec.head_dim, spec.query_scale, round_query);
    fill(k, total_kv * spec.kv_heads * spec.head_dim, 1, round_kv);
    fill(v, total_kv * spec.kv_heads * spec.head_dim, 1, round_kv);
    scale = 1 / std::sqrt(static_cast<double>(spec.head_dim));
    for (int h = 0; h < spec.q_heads; ++h)
      slopes.push_back(
          std::exp2f(-8.f * static_cast<float>(h + 1) / static_cast<float>(spec.q_heads)));
  }

  void set_rules(const Rules& r) {
    rules = r;
    if (!r.random_bits) return;
    std::mt19937 random(spec.seed + 1);
    make_bits(r.mask_columns);
    for (std::uint32_t& word : bits) word = random() & random();
  }
  // Mask bits of the last `columns` keys: seen(request, query, key), both counted in the request.
  template <class Seen>
  void set_bits(std::int32_t columns, const Seen& seen) {
    make_bits(columns);
    for (const auto& r : requests) {
      const std::int32_t first = r.kv_len - r.mask_columns;
      for (std::int32_t i = 0; i < r.q_len; ++i) {
        for (std::int32_t j = first; j < r.kv_len; ++j) {
          if (!seen(r, i, j)) continue;
          const std::int32_t bit = j - first;
          bits[word_of(r, i, bit)] |= 1u << (bit % 32);
        }
      }
    }
  }

  bool visible(const cuda::AttentionRequest& r, std::int32_t i, std::int64_t j) const {
    const std::int64_t position = r.kv_len - r.q_len + i;
    if (rules.right >= 0 && j > position + rules.right) return false;
    if (rules.left >= 0 && j < position - rules.left) return false;
    const std::int64_t bit = j - (r.kv_len - r.mask_columns);
    if (mask_words == 0 || bit < 0) return true;
    return ((bits[word_of(r, i, bit)] >> (bit % 32)) & 1) != 0;
  }

  reference::MaskedAttentionRow row(const cuda::AttentionRequest& r, std::int32_t i,
                                    int head) const {
    const std::int64_t position = r.kv_len - r.q_len + i,
                       kv_head = head / (spec.q_heads / spec.kv_heads);
    auto at = [&](const std::vector<float>& x, std::int64_t token, std::int64_t heads,
                  std::int64_t h) { return x.data() + (token * heads + h) * spec.head_dim; };
    auto score = [&](double x, std::int64_t j) {
      if (rules.soft_cap > 0) x = rules.soft_cap * std::tanh(x / rules.soft_cap);
      if (rules.alibi)
        x += static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
             static_cast<double>(j - position);
      return x;
    };
    return reference::masked_attention(
        at(q, r.q_begin + i, spec.q_heads, head), spec.head_dim, scale, r.kv_len,
        [&](std::int64_t j) { return at(k, r.kv_begin + j, spec.kv_heads, kv_head); },
        [&](std::int64_t j) { return at(v, r.kv_begin + j, spec.kv_heads, kv_head); },
        [&](std::int64_t j) { return visible(r, i, j); }, score);
  }

  // Compares out [total_q][q_heads][head_dim] and lse [total_q][q_heads] (or none) with the
  // reference. The
  // bound of one element, from first principles: every probability is rounded once (relative to the
  // sum of weight * |value|), the output once, and a logit's error d moves every weight by a factor
  // 1 +- d.
  void expect_close(const std::vector<float>& out, const std::vector<float>& lse,
                    Tolerance u) const {
    std::vector<std::thread> threads;
    std::vector<std::string> failures(16);
    for (std::size_t n = 0; n < failures.size(); ++n) {
      threads.emplace_back(
          [&, n] { failures[n] = first_failure(out, lse, u, n, failures.size()); });
    }
    for (std::thread& t : threads) t.join();
    for (const std::string& f : failures) {
      if (!f.empty()) {
        ADD_FAILURE() << f;
        return;
      }
    }
  }

  ProblemSpec spec;
  Rules rules;
  std::vector<cuda::AttentionRequest> requests;  // kv_begin counts keys of all requests
  std::vector<float> q, k, v, slopes;
  std::vector<std::uint32_t> bits;
  std::int32_t mask_words = 0;
  std::int64_t total_q = 0, total_kv = 0;
  double scale;

 private:
  void make_bits(std::int32_t columns) {
    mask_words = (columns + 31) / 32;
    bits.assign(static_cast<std::size_t>(total_q * mask_words), 0);
    for (auto& request : requests) request.mask_columns = std::min(columns, request.kv_len);
  }
  std::size_t word_of(const cuda::AttentionRequest& r, std::int32_t i, std::int64_t bit) const {
    return static_cast<std::size_t>((r.q_begin + i) * mask_words + bit / 32);
  }
  std::string first_failure(const std::vector<float>& out, const std::vector<float>& lse,
                            Tolerance u, std::size_t part, std::size_t parts) const {
    std::size_t n = 0;
    for (std::size_t b = 0; b < requests.size(); ++b) {
      for (std::int32_t i = 0; i < requests[b].q_len; ++i) {
        for (int h = 0; h < spec.q_heads; ++h) {
          if (n++ % parts != part) continue;
          std::string f = row_failure(out, lse, u, requests[b], i, h);
          if (!f.empty())
            return "request " + std::to_string(b) + " query " + std::to_string(i) + " head " +
                   std::to_string(h) + ": " + f;
        }
      }
    }
    return {};
  }
  std::string row_failure(const std::vector<float>& out, const std::vector<float>& lse, Tolerance u,
                          const cuda::AttentionRequest& r, std::int32_t i, int head) const {
    const auto want = row(r, i, head);
    const auto index = static_cast<std::size_t>((r.q_begin + i) * spec.q_heads + head);
    double logit = (0x1p-20 + u.product) * want.largest_products + 0x1p-20 + 4e-7 * rules.soft_cap;
    if (rules.alibi) logit += 0x1p-22 * static_cast<double>(r.kv_len);
    const double got_lse = lse.empty() ? want.lse : static_cast<double>(lse[index]);
    const bool both_empty = std::isinf(want.lse) && got_lse == want.lse;
    if (!both_empty &&
        !(std::abs(got_lse - want.lse) <= logit + 0x1p-18 * (1 + std::abs(want.lse)))) {
      return "lse " + std::to_string(got_lse) + ", expected " + std::to_string(want.lse);
    }
    for (int d = 0; d < spec.head_dim; ++d) {
      const auto e = static_cast<std::size_t>(d);
      const double got =
          static_cast<double>(out[index * static_cast<std::size_t>(spec.head_dim) + e]);
      const double bound = u.probability * want.magnitude[e] + u.output * std::abs(want.out[e]) +
                           2 * logit * want.magnitude[e] + 1e-7;
      if (!(std::abs(got - want.out[e]) <= bound)) {
        return "dim " + std::to_string(d) + " is " + std::to_string(got) + ", expected " +
               std::to_string(want.out[e]) + " within " + std::to_string(bound);
      }
    }
    return {};
  }
};

// ---- the same keys and values as cache blocks in random order

struct PagedCache {
  std::vector<std::uint8_t> pages;               // everything outside valid tokens is 0xFF
  std::vector<std::int32_t> table;               // requests one after the other
  std::vector<cuda::AttentionRequest> requests;  // kv_begin = first entry of the table
};

// Numbers of the requests' pages, from 1 on (page 0 is nobody's). segments 0: all in random order;
// else every request's pages are so many runs of consecutive numbers, the runs in random order.
inline std::vector<std::int32_t> page_numbers(const std::vector<cuda::AttentionRequest>& requests,
                                              int page_tokens, int segments, std::uint32_t seed) {
  struct Run {
    std::int32_t first, pages;
  };
  std::vector<Run> runs;
  std::int32_t n = 0;
  for (const auto& r : requests) {
    const std::int32_t pages = (r.kv_len + page_tokens - 1) / page_tokens;
    const std::int32_t count = segments == 0 ? pages : std::min<std::int32_t>(segments, pages);
    for (std::int32_t i = 0; i < count; ++i) {
      const std::int32_t from = pages * i / count, to = pages * (i + 1) / count;
      runs.push_back({n + from, to - from});
    }
    n += pages;
  }
  std::mt19937 random(seed);
  std::shuffle(runs.begin(), runs.end(), random);
  std::vector<std::int32_t> table(static_cast<std::size_t>(n));
  std::int32_t number = 1;
  for (const Run& run : runs) {
    for (std::int32_t i = 0; i < run.pages; ++i)
      table[static_cast<std::size_t>(run.first + i)] = number++;
  }
  return table;
}

// encode(x, head, half) -> bytes of one element. With `scales` there is room for them, not filled.
template <class Bits, class Encode>
PagedCache make_pages(const Problem& problem, int page_tokens, const Encode& encode,
                      bool scales = false, int segments = 0) {
  PagedCache cache;
  cache.requests = problem.requests;
  std::int32_t n = 0;
  for (auto& r : cache.requests) {
    r.kv_begin = n;
    n += (r.kv_len + page_tokens - 1) / page_tokens;
  }
  cache.table = page_numbers(cache.requests, page_tokens, segments, problem.spec.seed + 2);

  const int dim = problem.spec.head_dim, heads = problem.spec.kv_heads, width = sizeof(Bits);
  const std::uint32_t row_bytes = cuda::kv_row_bytes(dim, width);
  const std::int64_t block = cuda::kv_block_bytes(page_tokens, dim, width, scales);
  cache.pages.assign(static_cast<std::size_t>((n + 1) * heads * block), 0xFF);
  for (std::size_t b = 0; b < cache.requests.size(); ++b) {
    const auto& r = cache.requests[b];
    for (std::int32_t j = 0; j < r.kv_len; ++j) {
      const std::int64_t page = cache.table[static_cast<std::size_t>(r.kv_begin + j / page_tokens)];
      for (int x = 0; x < heads * 2 * dim; ++x) {
        const int h = x / (2 * dim), half = x / dim % 2, d = x % dim;
        const std::int64_t from =
            ((problem.requests[b].kv_begin + std::int64_t{j}) * heads + h) * dim + d;
        const Bits bits =
            encode((half == 0 ? problem.k : problem.v)[static_cast<std::size_t>(from)], h, half);
        const std::int64_t to =
            (page * heads + h) * block + std::int64_t{half} * page_tokens * row_bytes +
            cuda::kv_offset(static_cast<std::uint32_t>(j % page_tokens),
                            static_cast<std::uint32_t>(d * width / 16), row_bytes) +
            d * width % 16;
        std::memcpy(cache.pages.data() + to, &bits, sizeof(Bits));
      }
    }
  }
  return cache;
}

}  // namespace spate::cuda_test
