// NaN in one request of a batch: it must reach the rows that it belongs to and no other request.
#pragma once
#include "tests/cuda/attention_run.h"

namespace spate::cuda_test {

enum class NanIn { kQuery, kKey, kValue };

// One element of a request: of its last query's head `head`, or of key `key`'s head.
struct NanPlace {
  NanIn in = NanIn::kQuery;
  std::size_t request = 0;
  std::int32_t key = 0;
  int head = 0, dim = 5;  // of the query or of the keys

  void poison(Problem& problem) const {
    const auto& r = problem.requests[request];
    const bool query = in == NanIn::kQuery;
    std::vector<float>& x = query ? problem.q : in == NanIn::kKey ? problem.k : problem.v;
    const std::int64_t token = query ? r.q_begin + r.q_len - 1 : r.kv_begin + key;
    const int heads = query ? problem.spec.q_heads : problem.spec.kv_heads;
    x[static_cast<std::size_t>((token * heads + head) * problem.spec.head_dim + dim)] =
        std::numeric_limits<float>::quiet_NaN();
  }
  // Whether query i and head h of the request must come out as NaN, in all dims but for a value.
  bool reaches(const Problem& problem, std::int32_t i, int h) const {
    const auto& r = problem.requests[request];
    if (in == NanIn::kQuery) return i == r.q_len - 1 && h == head;
    return h / (problem.spec.q_heads / problem.spec.kv_heads) == head && problem.visible(r, i, key);
  }
  // A value is multiplied by the zeros of queries that do not see it.
  bool may_reach(const Problem& problem, std::int32_t i, int h) const {
    const bool same_head = h / (problem.spec.q_heads / problem.spec.kv_heads) == head;
    return in == NanIn::kValue ? same_head : reaches(problem, i, h);
  }
};

// Rows of the poisoned request: NaN where it must be; what may be NaN is replaced by `want`'s.
inline void expect_reached(const NanPlace& place, const Problem& problem,
                           const AttentionResult& want, AttentionResult& got) {
  const auto& r = problem.requests[place.request];
  const std::int64_t heads = problem.spec.q_heads, dim = problem.spec.head_dim;
  for (std::int32_t i = 0; i < r.q_len; ++i) {
    for (int h = 0; h < heads; ++h) {
      const std::int64_t row = (r.q_begin + i) * heads + h;
      const auto at = static_cast<std::size_t>(row);
      if (place.reaches(problem, i, h)) {
        EXPECT_TRUE(std::isnan(got.out[static_cast<std::size_t>(row * dim + place.dim)]))
            << "query " << i << " head " << h << " hides NaN";
        if (!got.lse.empty()) {
          EXPECT_EQ(std::isnan(got.lse[at]), place.in != NanIn::kValue);
        }
      }
      if (!place.may_reach(problem, i, h)) continue;
      std::copy_n(want.out.begin() + row * dim, dim, got.out.begin() + row * dim);
      if (!got.lse.empty()) got.lse[at] = want.lse[at];
    }
  }
}

// run(problem) -> AttentionResult.
template <class Run>
void expect_nan_contained(const Problem& clean, std::size_t request, Tolerance tolerance,
                          const Run& run) {
  const AttentionResult want = run(clean);
  for (const NanIn in : {NanIn::kQuery, NanIn::kKey, NanIn::kValue}) {
    SCOPED_TRACE(static_cast<int>(in));
    const std::int32_t last = clean.requests[request].kv_len - 1;
    for (const std::int32_t key : {last, last / 2}) {
      const NanPlace place{.in = in, .request = request, .key = key};
      Problem dirty = clean;
      place.poison(dirty);
      AttentionResult got = run(dirty);
      for (std::size_t b = 0; b < clean.requests.size(); ++b) {
        if (b == request) continue;
        const auto& r = clean.requests[b];
        EXPECT_TRUE(same_bits(rows_of(want, clean, r), rows_of(got, clean, r))) << "request " << b;
      }
      expect_reached(place, clean, want, got);
      clean.expect_close(got.out, got.lse, tolerance);
    }
  }
}

}  // namespace spate::cuda_test
