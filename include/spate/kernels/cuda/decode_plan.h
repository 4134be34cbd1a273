// The work list of decode: one share of KV blocks for every thread block of a persistent grid. Kept
// small, since it is made and copied to the device between two steps: a record per row (a few
// queries of one request, all kv heads together) and one per share; a thread block walks from its
// share's first block on by itself. Plain C++ without CUDA; reuses the plan's memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "spate/kernels/cuda/attention_plan.h"

namespace spate::cuda {

// Queries of one request, as many as the kernel takes at once, and the KV blocks that they see.
struct alignas(16) DecodeRow {
  std::int32_t q_token = 0;  // first row of the packed queries
  std::int32_t q_len = 0;
  std::int32_t kv_len = 0;  // keys that the last query sees
  std::int32_t table = 0;   // the request's first entry in the page table
  std::int32_t block = 0, block_end = 0;
  std::int32_t first_page = -1;  // id of the page of `block`, -1: look it up
  std::int32_t split = 0;        // the row is cut at multiples of this many blocks; 0: anywhere
  std::int32_t parts = 1;        // with `split`: pieces of each kv head
  std::int32_t first_slot = 0;   // with `split` and parts > 1: of kv head 0
  std::int32_t unused[2] = {};
};
static_assert(sizeof(DecodeRow) == 48);

// Where the partial result of a cut row and kv head goes.
struct DecodePart {
  std::int32_t slot = -1;  // -1: not cut
  std::int32_t first_slot = 0;
  std::int32_t parts = 1;
};

// `blocks` KV blocks from (row, kv_head, block) on, in the order of rows, kv heads, blocks.
struct alignas(16) DecodeShare {
  std::int32_t row = 0, kv_head = 0, block = 0;
  std::int32_t blocks = 0;       // 0: nothing to do
  DecodePart head;               // of the first row and kv head that it touches, without `split`
  DecodePart tail;               // of the last one if there are several, without `split`
  std::int32_t first_page = -1;  // of its first block
  std::int32_t unused = 0;
  DecodeRow first_row;  // a copy: one load less on the way to the first byte
  // Pages of its first block, where those are several; -1: look them up.
  static constexpr int kPages = 8;
  std::int32_t pages[kPages] = {-1, -1, -1, -1, -1, -1, -1, -1};
};
static_assert(sizeof(DecodeShare) == 128);

struct DecodePlan {
  std::vector<DecodeRow> rows;
  std::vector<DecodeShare> shares;  // [multiprocessors]
  std::int64_t slots = 0;           // partial results
  // Tickets, zeroed once: one for each row and kv head.

  // Scratch.
  std::vector<const std::int32_t*> pages;  // of each row
  std::vector<std::int64_t> starts;        // of each share, in blocks from the first row's start
};

struct DecodePlanOptions {
  int q_heads = 1, kv_heads = 1;
  int columns = 8;         // DecodeKernel<Variant>::kColumns: query rows of one kv head at a time
  int block_tokens = 128;  // DecodeKernel<Variant>::kBlockTokens
  int page_tokens = 128;
  int multiprocessors = 132;
  std::int32_t window_left = -1;
  // 0: shares of equal size cut rows anywhere, the fastest. Otherwise rows are cut at multiples of
  // this many tokens alone (of a 32nd of the row if that is more): a row's bits depend on its own
  // length.
  int split_tokens = 0;
};

namespace plan_detail {

struct DecodePlanner {
  const DecodePlanOptions& o;
  DecodePlan& plan;
  std::int64_t total = 0;  // blocks of all rows and kv heads

  // The place of a position counted in blocks; positions must be asked for in ascending order.
  struct Place {
    std::size_t row = 0;
    std::int64_t base = 0;  // of the row
    std::int64_t n = 1;     // blocks of one kv head
    std::int64_t head = 0, offset = 0;
    std::int64_t first() const { return base + head * n; }  // position of the head's first block
  };

  void append_rows(const AttentionRequest& r) {
    const int tokens_at_once = std::max(1, o.columns / (o.q_heads / o.kv_heads));
    for (std::int32_t q = 0; q < r.q_len; q += tokens_at_once) {
      DecodeRow row;
      row.q_token = r.q_begin + q;
      row.q_len = std::min(tokens_at_once, r.q_len - q);
      row.kv_len = std::max(0, r.kv_len - (r.q_len - q - row.q_len));
      row.table = r.kv_begin;
      const std::int32_t seen =
          o.window_left < 0 ? 0 : std::max(0, row.kv_len - row.q_len - o.window_left);
      row.block = std::min(seen, std::max(0, row.kv_len - 1)) / o.block_tokens;
      row.block_end =
          std::max(row.block + 1, static_cast<std::int32_t>(ceil_div(row.kv_len, o.block_tokens)));
      row.first_page = page_of(r.pages, row.kv_len, row.block);
      if (o.split_tokens > 0) split(row);
      plan.rows.push_back(row);
      plan.pages.push_back(r.pages);
      total += std::int64_t{row.block_end - row.block} * o.kv_heads;
    }
  }
  std::int32_t page_of(const std::int32_t* pages, std::int32_t kv_len, std::int64_t block) const {
    if (pages == nullptr || kv_len == 0 || o.page_tokens < o.block_tokens) return -1;
    return pages[block * o.block_tokens / o.page_tokens];
  }
  void find_pages(const std::int32_t* pages, DecodeShare& share) const {
    const std::int32_t kv_len = share.first_row.kv_len;
    if (pages == nullptr || kv_len == 0 || o.page_tokens >= o.block_tokens) return;
    std::int32_t index = share.block * (o.block_tokens / o.page_tokens);
    for (std::int32_t& page : share.pages) {
      page = pages[std::min(index++, (kv_len - 1) / o.page_tokens)];
    }
  }
  void split(DecodeRow& row) {
    row.split = static_cast<std::int32_t>(
        ceil_div(std::max(o.split_tokens, row.kv_len / 32), o.block_tokens));
    row.parts = (row.block_end - 1) / row.split - row.block / row.split + 1;
    if (row.parts == 1) return;
    row.first_slot = static_cast<std::int32_t>(plan.slots);
    plan.slots += std::int64_t{row.parts} * o.kv_heads;
  }

  void move(Place& p, std::int64_t position) const {
    while (true) {
      p.n = plan.rows[p.row].block_end - plan.rows[p.row].block;
      if (position < p.base + p.n * o.kv_heads || p.row + 1 == plan.rows.size()) break;
      p.base += p.n * o.kv_heads;
      ++p.row;
    }
    p.head = (position - p.base) / p.n;
    p.offset = position - p.first();
  }

  // Shares of equal size; small ones take whole multiples of the largest: as fast, and rows whose
  // length is such a multiple are cut into fewer parts.
  void cut_anywhere() {
    const std::int64_t grid = std::min<std::int64_t>(total, o.multiprocessors);
    const std::int64_t size = grid == 0 ? 0 : ceil_div(total, grid);
    for (std::int64_t c = 0; c <= o.multiprocessors; ++c) {
      const std::int64_t equal = c < grid ? total * c / grid : total;
      plan.starts.push_back(size > 8 ? equal : std::min(total, c * size));
    }
  }
  // Every share ends at the end of the piece nearest to where an equal share would.
  void cut_between_pieces() {
    Place p;
    for (std::int64_t c = 0; c <= o.multiprocessors; ++c) {
      const std::int64_t want = total * c / o.multiprocessors;
      if (want == total) {
        plan.starts.push_back(total);
        continue;
      }
      move(p, want);
      const DecodeRow& row = plan.rows[p.row];
      const std::int64_t piece = (row.block + p.offset) / row.split;
      const std::int64_t begin = std::max<std::int64_t>(0, piece * row.split - row.block);
      const std::int64_t end = std::min<std::int64_t>(p.n, (piece + 1) * row.split - row.block);
      const bool left = p.offset - begin <= end - p.offset;
      plan.starts.push_back(p.first() + (left ? begin : end));
    }
  }

  // A cut row's chain of parts, and how many of them have been given out.
  struct Chain {
    DecodePart part;
    void start(std::int32_t parts, std::int64_t& slots) {
      part = {static_cast<std::int32_t>(slots), static_cast<std::int32_t>(slots), parts};
      slots += parts;
    }
  };

  // Parts of the row and head whose first block is in share c and whose end is at `end`.
  std::int32_t parts_from(std::int64_t c, std::int64_t end) const {
    std::int32_t parts = 1;
    while (plan.starts[static_cast<std::size_t>(c + parts)] < end) ++parts;
    return parts;
  }

  void deal() {
    Place p, last;
    Chain chain;
    for (std::int64_t c = 0; c < o.multiprocessors; ++c) {
      const std::int64_t begin = plan.starts[static_cast<std::size_t>(c)];
      const std::int64_t end = plan.starts[static_cast<std::size_t>(c + 1)];
      DecodeShare& share = plan.shares.emplace_back();
      if (begin == end) continue;
      move(p, begin);
      const DecodeRow& row = plan.rows[p.row];
      share.row = static_cast<std::int32_t>(p.row);
      share.kv_head = static_cast<std::int32_t>(p.head);
      share.block = row.block + static_cast<std::int32_t>(p.offset);
      share.blocks = static_cast<std::int32_t>(end - begin);
      share.first_page = page_of(plan.pages[p.row], row.kv_len, share.block);
      share.first_row = row;
      find_pages(plan.pages[p.row], share);
      if (row.split > 0) continue;
      const std::int64_t head_end = p.first() + p.n;
      if (p.offset > 0) {
        ++chain.part.slot;
      } else if (head_end > end) {
        chain.start(parts_from(c, head_end), plan.slots);
      }
      if (p.offset > 0 || head_end > end) share.head = chain.part;
      if (head_end >= end) continue;
      last = p;
      move(last, end - 1);
      if (last.first() + last.n == end) continue;
      chain.start(parts_from(c, last.first() + last.n), plan.slots);
      share.tail = chain.part;
    }
  }
};

}  // namespace plan_detail

// Deals the blocks out in order. With split_tokens == 0 every thread block gets the same number of
// KV blocks (stream-K) and rows are cut wherever a share ends. Costs a few microseconds for 256
// requests.
inline void plan_decode(std::span<const AttentionRequest> requests, const DecodePlanOptions& o,
                        DecodePlan& plan) {
  plan.rows.clear();
  plan.shares.clear();
  plan.pages.clear();
  plan.starts.clear();
  plan.slots = 0;
  plan_detail::DecodePlanner planner{o, plan};
  for (const AttentionRequest& r : requests) planner.append_rows(r);
  if (o.split_tokens == 0) {
    planner.cut_anywhere();
  } else {
    planner.cut_between_pieces();
  }
  planner.deal();
}

inline DecodePlan plan_decode(std::span<const AttentionRequest> requests,
                              const DecodePlanOptions& o) {
  DecodePlan plan;
  plan_decode(requests, o, plan);
  return plan;
}

}  // namespace spate::cuda
