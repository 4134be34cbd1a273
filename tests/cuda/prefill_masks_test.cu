// Prefill under masks of packed bits: caches, element types, head dims and score changes.
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::KvFormat;
using cuda::KvLayout;
using cuda::Mask;
using cuda::PrefillPacking;
using cuda::PrefillVariant;
using cuda::Score;
template <class T, int kDim, Mask kMask = Mask::kBits, Score kScore = Score::kPlain>
using Paged = PrefillVariant<T, kDim, kMask, KvLayout::kPages, kScore>;
template <Mask kMask>
using Tall = PrefillVariant<__nv_bfloat16, 128, kMask, KvLayout::kPages, Score::kPlain,
                            KvFormat::kElement, true>;
template <Mask kMask>
using Fp8 =
    PrefillVariant<__nv_bfloat16, 128, kMask, KvLayout::kPages, Score::kPlain, KvFormat::kE4M3>;

std::vector<Lengths> tree_lengths() { return {{16, 300}, {33, 33}, {64, 700}, {7, 129}}; }

template <class V>
void check_random_bits(int q_heads, int kv_heads, Rules rules = {},
                       PrefillCheckOptions options = {}) {
  rules.right = -1;
  rules.random_bits = true;
  for (const std::int32_t columns : {33, 500}) {
    SCOPED_TRACE(columns);
    rules.mask_columns = columns;
    check_prefill<V>({tree_lengths(), q_heads, kv_heads, V::kHeadDim, rules.soft_cap > 0 ? 8. : 1.},
                     rules, options);
  }
}

TEST(PrefillMasks, MatchTheReferenceOverPages) {
  for (const int page_tokens : {16, 128}) {
    SCOPED_TRACE(page_tokens);
    check_random_bits<Paged<__nv_bfloat16, 128>>(8, 2, {}, {.page_tokens = page_tokens});
  }
  check_random_bits<Fp8<Mask::kBits>>(8, 2);
}

TEST(PrefillMasks, MatchTheReferenceForEveryGroupSize) {
  for (const int group : {1, 3, 8, 16}) {
    SCOPED_TRACE(group);
    check_random_bits<Paged<__half, 64>>(group * 2, 2);
  }
}

TEST(PrefillMasks, MatchTheReferenceInEveryTile) {
  check_random_bits<Paged<__half, 128>>(4, 4);
  check_random_bits<Paged<__nv_bfloat16, 256>>(4, 1);
  check_random_bits<Tall<Mask::kBits>>(8, 2, {}, {.packing = PrefillPacking::kAlways});
}

TEST(PrefillMasks, MatchTheReferenceWithSoftCapsAndAlibi) {
  check_random_bits<Paged<__nv_bfloat16, 128, Mask::kBits, Score::kSoftCap>>(4, 2,
                                                                             {.soft_cap = 30});
  check_random_bits<Paged<__nv_bfloat16, 128, Mask::kBits, Score::kAlibi>>(8, 2, {.alibi = true});
}

// Bits of all keys, and of the queries' own alone.
template <class Bits, class Causal>
void expect_causals_bits(int q_heads, int kv_heads, PrefillPacking packing, Rules rules = {}) {
  Problem problem = problem_of<Causal>({odd_lengths(), q_heads, kv_heads}, rules);
  const AttentionResult want = run_prefill<Causal>(problem, {.packing = packing});
  for (const std::int32_t columns : {200, 640}) {
    SCOPED_TRACE(columns);
    problem.rules.right = -1;
    problem.set_bits(columns, [](const cuda::AttentionRequest& r, std::int32_t i, std::int32_t j) {
      return j <= r.kv_len - r.q_len + i;
    });
    EXPECT_TRUE(same_bits(want, run_prefill<Bits>(problem, {.packing = packing})));
  }
}

TEST(PrefillMasks, GiveCausalsBitsWhereTheyAreCausal) {
  using T = __nv_bfloat16;
  constexpr auto kNever = PrefillPacking::kNever, kAlways = PrefillPacking::kAlways;
  expect_causals_bits<PrefillVariant<T, 128, Mask::kBits>, PrefillVariant<T, 128>>(4, 2, kNever);
  expect_causals_bits<Paged<T, 128>, Paged<T, 128, Mask::kCausal>>(8, 2, kAlways);
  expect_causals_bits<Paged<__half, 64>, Paged<__half, 64, Mask::kCausal>>(6, 2, kNever);
  expect_causals_bits<Paged<T, 256>, Paged<T, 256, Mask::kCausal>>(4, 2, kAlways);
  expect_causals_bits<Tall<Mask::kBits>, Tall<Mask::kCausal>>(8, 2, kAlways);
  expect_causals_bits<Paged<T, 128, Mask::kBits, Score::kAlibi>,
                      Paged<T, 128, Mask::kCausal, Score::kAlibi>>(8, 2, kAlways, {.alibi = true});
}

// Rows here and there, and all rows of a request.
template <Score kScore>
void expect_zeros_where_nothing_is_seen(Rules rules) {
  using V = Paged<__nv_bfloat16, 128, Mask::kBits, kScore>;
  using cuda::AttentionRequest;
  rules.right = -1;
  Problem problem = problem_of<V>({tree_lengths(), 8, 2}, rules);
  const std::int32_t unseeing = problem.requests[1].q_begin;
  auto blind = [&](const AttentionRequest& r, std::int32_t i) {
    return r.q_begin == unseeing || i % 3 == 1;
  };
  problem.set_bits(700, [&](const AttentionRequest& r, std::int32_t i, std::int32_t j) {
    return !blind(r, i) && (i + j) % 5 != 0;
  });

  const AttentionResult got = run_prefill<V>(problem);

  problem.expect_close(got.out, got.lse, tolerance_of<V>());
  const int heads = problem.spec.q_heads, dim = problem.spec.head_dim;
  for (const AttentionRequest& r : problem.requests) {
    const AttentionResult rows = rows_of(got, problem, r);
    for (std::size_t e = 0; e < rows.lse.size(); ++e) {
      if (!blind(r, static_cast<std::int32_t>(e) / heads)) continue;
      ASSERT_EQ(rows.lse[e], -std::numeric_limits<float>::infinity());
      for (int d = 0; d < dim; ++d) {
        ASSERT_EQ(rows.out[e * static_cast<std::size_t>(dim) + static_cast<std::size_t>(d)], 0);
      }
    }
  }
}

TEST(PrefillMasks, GiveZerosWhereNothingIsSeen) {
  expect_zeros_where_nothing_is_seen<Score::kPlain>({});
  expect_zeros_where_nothing_is_seen<Score::kSoftCap>({.soft_cap = 30});
  expect_zeros_where_nothing_is_seen<Score::kAlibi>({.alibi = true});
}

}  // namespace
}  // namespace spate::cuda_test
