// The work lists of the GPU's attention for thousands of random batches.
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/ops/attention_plan_walk.h"

namespace spate {
namespace {

using cuda::AttentionRequest;
using cuda::DecodePlan;
using cuda::DecodePlanOptions;
using cuda::DecodeRow;
using cuda::DecodeShare;
using cuda::PrefillPlan;
using cuda::PrefillPlanOptions;

constexpr int kPlans = 3000;

class Fuzz {
 public:
  explicit Fuzz(std::uint32_t seed) : random_(seed) {}
  // 0 to n - 1.
  std::int32_t below(std::int32_t n) {
    return static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(n));
  }
  std::int32_t one_of(std::initializer_list<std::int32_t> x) {
    return x.begin()[below(static_cast<std::int32_t>(x.size()))];
  }
  // Nothing, few, about a block boundary, many.
  std::int32_t keys() {
    switch (below(4)) {
      case 0:
        return below(3);
      case 1:
        return below(300);
      case 2:
        return std::max(0, 64 * below(40) + below(3) - 1);
      default:
        return below(20000);
    }
  }
  std::vector<AttentionRequest> requests(int most_queries) {
    std::vector<std::pair<int, int>> lengths(static_cast<std::size_t>(below(12)));
    for (auto& [q_len, kv_len] : lengths) {
      q_len = below(most_queries + 1);
      kv_len = below(8) == 0 ? below(q_len + 1) : q_len + keys();
    }
    return requests_of(lengths);
  }

 private:
  std::mt19937 random_;
};

// ---- decode

// Page ids that say where they are in the table.
struct Pages {
  std::vector<std::vector<std::int32_t>> of_request;

  Pages(std::vector<AttentionRequest>& requests, int page_tokens) {
    std::int32_t next = 1000;
    for (AttentionRequest& r : requests) {
      of_request.emplace_back(static_cast<std::size_t>((r.kv_len + page_tokens - 1) / page_tokens));
      std::iota(of_request.back().begin(), of_request.back().end(), next);
      r.kv_begin = next - 1000;
      next += static_cast<std::int32_t>(of_request.back().size());
    }
    for (std::size_t i = 0; i < requests.size(); ++i) requests[i].pages = of_request[i].data();
  }
};

DecodePlanOptions decode_options(Fuzz& fuzz) {
  DecodePlanOptions o;
  o.columns = fuzz.one_of({8, 16});
  o.kv_heads = fuzz.one_of({1, 2, 3, 8});
  o.q_heads = o.kv_heads * (1 + fuzz.below(o.columns));
  o.block_tokens = fuzz.one_of({64, 128});
  o.page_tokens = fuzz.one_of({16, 32, 64, 128, 256});
  o.multiprocessors = fuzz.one_of({1, 7, 78, 132});
  o.window_left = fuzz.one_of({-1, -1, 0, 100, 127, 128, 3000});
  o.split_tokens = fuzz.one_of({0, 0, 0, 64, 256, 1024});
  return o;
}

// Every query once, with the blocks that it sees and no others.
void expect_rows(const DecodePlan& plan, std::span<const AttentionRequest> requests,
                 const DecodePlanOptions& o) {
  std::size_t n = 0;
  const int at_once = std::max(1, o.columns / (o.q_heads / o.kv_heads));
  for (const AttentionRequest& r : requests) {
    for (std::int32_t q = 0; q < r.q_len; ++n) {
      ASSERT_LT(n, plan.rows.size());
      const DecodeRow& row = plan.rows[n];
      ASSERT_EQ(row.q_token, r.q_begin + q);
      ASSERT_GT(row.q_len, 0);
      ASSERT_LE(row.q_len, at_once);
      const std::int32_t first = r.kv_len - r.q_len + q;  // position of the row's first query
      q += row.q_len;
      ASSERT_LE(q, r.q_len);
      ASSERT_EQ(row.kv_len, std::max(0, first + row.q_len));
      ASSERT_EQ(row.table, r.kv_begin);
      ASSERT_LT(row.block, row.block_end);
      if (row.kv_len == 0) continue;
      const std::int32_t seen = o.window_left < 0 ? 0 : std::max(0, first - o.window_left);
      ASSERT_EQ(row.block, seen / o.block_tokens);
      ASSERT_EQ(row.block_end, (row.kv_len + o.block_tokens - 1) / o.block_tokens);
    }
  }
  ASSERT_EQ(n, plan.rows.size());
}

// What a share says of its first block, which is copied before anything else is read.
void expect_first_blocks(const DecodePlan& plan, const DecodePlanOptions& o) {
  for (const DecodeShare& share : plan.shares) {
    if (share.blocks == 0) continue;
    const DecodeRow& row = plan.rows[static_cast<std::size_t>(share.row)];
    ASSERT_EQ(share.first_row.q_token, row.q_token);
    ASSERT_EQ(share.first_row.block_end, row.block_end);
    ASSERT_GE(share.block, row.block);
    ASSERT_LT(share.block, row.block_end);
    if (row.kv_len == 0) continue;
    const std::int32_t first = 1000 + row.table, last = (row.kv_len - 1) / o.page_tokens;
    const std::int32_t page = share.block * o.block_tokens / o.page_tokens;
    if (o.page_tokens >= o.block_tokens) {
      ASSERT_EQ(share.first_page, first + page);
      ASSERT_EQ(share.pages[0], -1);
      continue;
    }
    ASSERT_EQ(share.first_page, -1);
    for (std::int32_t i = 0; i < o.block_tokens / o.page_tokens; ++i) {
      ASSERT_EQ(share.pages[i], first + std::min(page + i, last));
    }
  }
}

// What the engine reserves memory for.
void expect_limits(const DecodePlan& plan, const DecodePlanOptions& o) {
  ASSERT_EQ(plan.shares.size(), static_cast<std::size_t>(o.multiprocessors));
  if (o.split_tokens == 0) {
    ASSERT_LE(plan.slots, 2 * o.multiprocessors);
    return;
  }
  std::int32_t longest = 1;
  for (const DecodeRow& row : plan.rows) longest = std::max(longest, row.kv_len);
  const std::int32_t piece = std::max(o.split_tokens, longest / 32);
  for (const DecodeRow& row : plan.rows) ASSERT_LE(row.parts, (longest + piece - 1) / piece + 1);
}

// The pieces of the rows of a request that stands alone in its batch.
void expect_the_same_pieces_alone(const DecodePlan& plan, const AttentionRequest& r,
                                  const DecodePlanOptions& o) {
  const DecodePlan alone = cuda::plan_decode({&r, 1}, o);
  auto pieces_of = [&](const DecodePlan& p) {
    std::vector<std::pair<std::int32_t, std::int32_t>> pieces;
    for (const Piece& piece : walk(p, o.kv_heads)) {
      const std::int32_t q = p.rows[static_cast<std::size_t>(piece.row)].q_token;
      if (q >= r.q_begin && q < r.q_begin + r.q_len) pieces.emplace_back(q, piece.block);
    }
    return pieces;
  };
  ASSERT_EQ(pieces_of(plan), pieces_of(alone));
}

TEST(CudaDecodePlanFuzz, IsSoundForRandomBatches) {
  DecodePlan plan;  // its memory is used again
  for (std::uint32_t seed = 0; seed < kPlans; ++seed) {
    SCOPED_TRACE(seed);
    Fuzz fuzz(seed);
    const DecodePlanOptions o = decode_options(fuzz);
    std::vector<AttentionRequest> requests = fuzz.requests(20);
    const Pages pages(requests, o.page_tokens);

    cuda::plan_decode(requests, o, plan);

    expect_sound(plan, o.kv_heads);
    expect_rows(plan, requests, o);
    expect_first_blocks(plan, o);
    expect_limits(plan, o);
    if (o.split_tokens > 0 && !requests.empty()) {
      expect_the_same_pieces_alone(plan, requests[requests.size() / 2], o);
    }
    if (testing::Test::HasFailure()) return;
  }
}

// ---- prefill

PrefillPlanOptions prefill_options(Fuzz& fuzz) {
  using Packing = cuda::PrefillPacking;
  PrefillPlanOptions o;
  o.kv_heads = fuzz.one_of({1, 2, 3});
  o.q_heads = o.kv_heads * fuzz.one_of({1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 64});
  o.tile_rows = fuzz.one_of({64, 128, 192});
  o.kv_token_bytes = fuzz.one_of({0, 256, 1024});
  o.cache_bytes = fuzz.one_of({1, 1 << 16, 1 << 22, 1 << 30});
  o.packing = std::vector{Packing::kNever, Packing::kAlways, Packing::kWhenLess}.at(
      static_cast<std::size_t>(fuzz.below(3)));
  o.window.left = fuzz.one_of({-1, -1, 0, 100, 3000});
  o.window.right = fuzz.one_of({-1, 0, 0, 50});
  return o;
}

TEST(CudaPrefillPlanFuzz, IsSoundForRandomBatches) {
  PrefillPlan plan;
  for (std::uint32_t seed = 0; seed < kPlans; ++seed) {
    SCOPED_TRACE(seed);
    Fuzz fuzz(seed);
    const PrefillPlanOptions o = prefill_options(fuzz);
    std::vector<AttentionRequest> requests = fuzz.requests(fuzz.one_of({1, 20, 200}));
    for (AttentionRequest& r : requests) r.mask_columns = fuzz.below(r.kv_len + 1);

    cuda::plan_prefill(requests, o, plan);

    expect_sound(plan, requests, o);
    if (o.cache_bytes == 1 << 30) expect_longest_first(plan, o);
    std::int64_t queries = 0;
    for (const AttentionRequest& r : requests) queries += r.q_len;
    const std::int64_t packed = std::int64_t{1} << plan.pack_shift;
    // What the engine reserves memory for.
    ASSERT_LE(static_cast<std::int64_t>(plan.tiles.size()),
              ((queries * packed + o.tile_rows - 1) / o.tile_rows +
               static_cast<std::int64_t>(requests.size())) *
                  (o.q_heads / packed));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace spate
