// A prefix that requests share (cascade attention): prefill over it and decode over each request's
// own keys, merged, against attention over all keys at once.
#include "spate/kernels/cuda/merge.cuh"
#include "tests/cuda/decode_check.h"
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::KvFormat;
using cuda::Score;
template <class T, int kDim, KvFormat kFormat = KvFormat::kElement, Score kScore = Score::kPlain>
struct Kernels {
  using Prefix =
      cuda::PrefillVariant<T, kDim, cuda::Mask::kFull, cuda::KvLayout::kPages, kScore, kFormat>;
  using Own = cuda::DecodeVariant<T, kDim, kFormat, 8, kScore>;
};

struct Cascade {
  std::int32_t prefix = 0;
  int parts = 1;  // of the prefix, a launch each
  int q_heads = 8, kv_heads = 2;
  double query_scale = 1, soft_cap = 0;
};

// One query a request, whose own keys follow the prefix.
std::vector<std::int32_t> own_lengths() {
  return {0, 1, 7, 16, 100, 127, 128, 129, 255, 300, 513, 2, 3, 64, 65, 1000, 33};
}

template <class V>
Problem flat_problem(const Cascade& c) {
  std::vector<Lengths> lengths;
  for (const std::int32_t own : own_lengths()) lengths.push_back({1, c.prefix + own});
  Problem flat = problem_of<V>({lengths, c.q_heads, c.kv_heads, V::kHeadDim, c.query_scale},
                               {.soft_cap = c.soft_cap});
  const std::int64_t row = std::int64_t{c.kv_heads} * V::kHeadDim;
  for (const cuda::AttentionRequest& r : flat.requests) {
    std::copy_n(flat.k.begin(), c.prefix * row, flat.k.begin() + r.kv_begin * row);
    std::copy_n(flat.v.begin(), c.prefix * row, flat.v.begin() + r.kv_begin * row);
  }
  return flat;
}

template <class T>
AttentionResult merge(const std::vector<AttentionResult>& states, std::int64_t dim) {
  AttentionResult all;
  for (const AttentionResult& s : states) {
    all.out.insert(all.out.end(), s.out.begin(), s.out.end());
    all.lse.insert(all.lse.end(), s.lse.begin(), s.lse.end());
  }
  const std::size_t rows = states[0].lse.size();
  const DeviceArray<T> from(spread_rows<T>(all.out, dim, 0)), out(states[0].out.size());
  const DeviceArray<float> lse(all.lse), out_lse(rows);
  const auto n = static_cast<std::int64_t>(rows);
  require(cuda::launch_merge<T>({from.data(), lse.data(), n, static_cast<int>(dim),
                                 static_cast<int>(states.size()), out.data(), out_lse.data()},
                                nullptr));
  require(cudaDeviceSynchronize());
  return {gather_rows(out.get(), n, dim, 0), out_lse.get()};
}

template <class K>
void check_cascade(const Cascade& c) {
  using T = typename K::Own::T;
  const Problem flat = flat_problem<typename K::Own>(c);
  std::vector<AttentionResult> states;
  Problem part = flat;
  part.rules.right = -1;
  for (int i = 0; i < c.parts; ++i) {
    const std::int32_t from = c.prefix * i / c.parts, end = c.prefix * (i + 1) / c.parts;
    part.requests = {{0, static_cast<std::int32_t>(flat.total_q), from, end - from}};
    states.push_back(run_prefill<typename K::Prefix>(part));
  }
  part = flat;
  for (cuda::AttentionRequest& r : part.requests) {
    r.kv_begin += c.prefix;
    r.kv_len -= c.prefix;
  }
  states.push_back(run_decode<typename K::Own>(part));

  const AttentionResult merged = merge<T>(states, flat.spec.head_dim);
  const AttentionResult whole = run_decode<typename K::Own>(flat);

  Tolerance u = tolerance_of<typename K::Own>();
  flat.expect_close(whole.out, whole.lse, u);
  // A state is rounded once more, and its weight is as far off as its sum.
  u.probability += kRoundoff<T>;
  u.product += 0x1p-20;
  flat.expect_close(merged.out, merged.lse, u);
}

TEST(Cascade, EqualsAttentionOverAllKeys) {
  for (const int parts : {1, 2, 3}) {
    SCOPED_TRACE(parts);
    check_cascade<Kernels<__nv_bfloat16, 128>>({.prefix = 1000, .parts = parts});
  }
  check_cascade<Kernels<__nv_bfloat16, 128>>({.prefix = 129, .q_heads = 6, .kv_heads = 6});
}

TEST(Cascade, EqualsAttentionOverAllKeysWithPeakedRows) {
  check_cascade<Kernels<__half, 64>>(
      {.prefix = 640, .parts = 2, .q_heads = 6, .kv_heads = 2, .query_scale = 20});
}

TEST(Cascade, EqualsAttentionOverAllKeysWithASoftCap) {
  check_cascade<Kernels<__nv_bfloat16, 128, KvFormat::kElement, Score::kSoftCap>>(
      {.prefix = 512, .query_scale = 8, .soft_cap = 20});
}

TEST(Cascade, EqualsAttentionOverAllKeysInE4M3) {
  check_cascade<Kernels<__nv_bfloat16, 128, KvFormat::kE4M3>>({.prefix = 700, .parts = 2});
}

}  // namespace
}  // namespace spate::cuda_test
