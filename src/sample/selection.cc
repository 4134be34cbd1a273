#include "sample/selection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace spate::internal {
namespace {

constexpr std::int64_t kSortLimit = 256;
constexpr std::int64_t kSamples = 128;
constexpr float kBelowAll = -std::numeric_limits<float>::infinity();

// Integers in the order of the floats; adding zero makes -0 and 0 the same key.
std::int32_t ordered(float key) {
  const auto bits = std::bit_cast<std::int32_t>(key + 0.0F);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
float unordered(std::int32_t order) {
  return std::bit_cast<float>(order ^ ((order >> 31) & 0x7fffffff));
}

// Ascending integers are (key descending, index ascending).
std::uint64_t packed(float key, std::int64_t index) {
  const auto rank = ~(static_cast<std::uint32_t>(ordered(key)) ^ 0x80000000U);
  return (std::uint64_t{rank} << 32) | static_cast<std::uint64_t>(index);
}

// The elements that may still be the last one kept; `ids` is null while it is the whole row.
struct Bracket {
  const float* keys = nullptr;
  const float* weights = nullptr;
  const std::int32_t* ids = nullptr;
  std::int64_t n = 0;
  std::int32_t lo = 0;  // the keys are in (lo, hi], as ordered integers
  std::int32_t hi = 0;
  double above = 0;   // mass or count of the keys > hi; less than the target
  double inside = 0;  // mass or count of the keys in (lo, hi]
};

double measure(const Tail& tail, const CutGoal& goal) {
  return goal.by_count ? static_cast<double>(tail.count) : tail.mass;
}

// Four pivots at equal distances in the integers, whatever the scale of the keys: such rounds
// alone would end after 14.
void spread_pivots(const Bracket& bracket, float* pivots) {
  const std::int64_t lo = bracket.lo;
  const std::int64_t width = bracket.hi - lo;
  for (std::int64_t j = 0; j < kPivots; ++j) {
    pivots[j] = unordered(static_cast<std::int32_t>(lo + width * (j + 1) / (kPivots + 1)));
  }
}

// Pivots about where the goal lies in a sample of 128 elements at equal distances. The rank of a
// quantile in such a sample deviates by up to sqrt(128 / 4) = 5.7, and by more where few elements
// hold the mass: mostly a bracket of 8 to 10 in 128 elements is left.
void sample_pivots(const Bracket& bracket, const CutGoal& goal, float* pivots) {
  std::uint64_t order[kSamples];
  std::int64_t n = 0;
  double sampled = 0;
  const auto worth = [&](std::int64_t i) {
    return goal.by_count ? 1.0 : double{bracket.weights[i]};
  };
  const float lo = unordered(bracket.lo);
  for (std::int64_t j = 0; j < kSamples; ++j) {
    const std::int64_t i = j * bracket.n / kSamples;
    if (!(bracket.keys[i] > lo)) continue;
    order[n++] = packed(bracket.keys[i], i);
    sampled += worth(i);
  }
  if (n == 0) return spread_pivots(bracket, pivots);
  std::sort(order, order + n);
  double left = (goal.target - bracket.above) / bracket.inside * sampled;
  std::int64_t rank = 0;
  while (rank < n && left > 0) left -= worth(order_index(order[rank++]));
  const auto sample = [&](std::int64_t at) {
    return bracket.keys[order_index(order[std::clamp<std::int64_t>(at, 0, n - 1)])];
  };
  pivots[3] = sample(rank - 14);
  pivots[2] = sample(rank - 4);
  pivots[1] = sample(rank + 4);
  pivots[0] = sample(rank + 14);
  // Many equal elements: (next smaller float, key] holds them alone.
  if (pivots[1] == pivots[2]) pivots[1] = unordered(ordered(pivots[2]) - 1);
  pivots[0] = std::min(pivots[0], pivots[1]);
}

// Four pivots between the ends, of which two neighbours become the new ends.
void narrow(const RowKernels& kernels, const CutGoal& goal, bool by_sample, Bracket* bracket) {
  float pivots[kPivots];
  if (by_sample) {
    sample_pivots(*bracket, goal, pivots);
  } else {
    spread_pivots(*bracket, pivots);
  }
  Tail tails[kPivots];
  kernels.tails(bracket->keys, bracket->weights, bracket->n, pivots, tails);
  std::int64_t reached = 0;
  while (reached < kPivots && bracket->above + measure(tails[reached], goal) >= goal.target) {
    ++reached;
  }
  double below = bracket->above + bracket->inside;
  if (reached > 0) {
    bracket->lo = ordered(pivots[reached - 1]);
    below = bracket->above + measure(tails[reached - 1], goal);
  }
  if (reached < kPivots) {
    bracket->hi = ordered(pivots[reached]);
    bracket->above += measure(tails[reached], goal);
  }
  bracket->inside = below - bracket->above;
}

void compact(const RowKernels& kernels, SelectionScratch::Set* into, SelectionScratch* scratch,
             Bracket* bracket) {
  const std::int64_t n = kernels.collect(bracket->keys, bracket->n, unordered(bracket->lo),
                                         unordered(bracket->hi), scratch->found.data());
  for (std::int64_t i = 0; i < n; ++i) {
    const auto to = static_cast<std::size_t>(i);
    const std::int32_t from = scratch->found[to];
    into->keys[to] = bracket->keys[from];
    into->weights[to] = bracket->weights[from];
    into->ids[to] = bracket->ids == nullptr ? from : bracket->ids[from];
  }
  std::fill(into->keys.begin() + n, into->keys.begin() + padded_size(n), kBelowAll);
  std::fill(into->weights.begin() + n, into->weights.begin() + padded_size(n), 0.0F);
  bracket->keys = into->keys.data();
  bracket->weights = into->weights.data();
  bracket->ids = into->ids.data();
  bracket->n = n;
}

// Walks the bracket in order and sets to zero what comes behind the goal.
void finish(const Bracket& bracket, const CutGoal& goal, float* weights,
            SelectionScratch* scratch) {
  for (std::int64_t i = 0; i < bracket.n; ++i) {
    scratch->order[static_cast<std::size_t>(i)] = packed(bracket.keys[i], i);
  }
  // Elements of one key are in their order already, however many they are.
  if (std::int64_t{bracket.hi} - bracket.lo > 1) {
    std::sort(scratch->order.begin(), scratch->order.begin() + bracket.n);
  }
  double reached = bracket.above;
  for (std::int64_t i = 0; i < bracket.n; ++i) {
    const std::int32_t at = order_index(scratch->order[static_cast<std::size_t>(i)]);
    if (reached >= goal.target) weights[bracket.ids[at]] = 0;
    reached += goal.by_count ? 1.0 : double{bracket.weights[at]};
  }
}

}  // namespace

void SelectionScratch::reserve(std::int64_t n) {
  const auto size = static_cast<std::size_t>(padded_size(n)) + 16;
  if (order.size() >= size) return;
  for (Set& set : sets) {
    set.keys.resize(size);
    set.weights.resize(size);
    set.ids.resize(size);
  }
  found.resize(size);
  maxima.resize(size / kBlock);
  order.resize(size);
}

void cut(const RowKernels& kernels, const WeightedRow& row, float lo, float hi, const CutGoal& goal,
         SelectionScratch* scratch) {
  scratch->reserve(row.n);
  Bracket bracket{row.keys, row.weights, nullptr, row.n, ordered(lo), ordered(hi), 0, goal.total};
  std::int64_t round = 0;
  do {
    const bool by_sample = round % 3 < 2;  // the third sees to it that this ends
    if (bracket.n > kSortLimit) narrow(kernels, goal, by_sample, &bracket);
    compact(kernels, &scratch->sets[round++ % 2], scratch, &bracket);
  } while (bracket.n > kSortLimit && std::int64_t{bracket.hi} - bracket.lo > 1);
  finish(bracket, goal, row.weights, scratch);
  kernels.keep(row.keys, unordered(bracket.lo), row.weights, row.n, row.sums);
}

std::int64_t select_top(const RowKernels& kernels, const float* x, std::int64_t n,
                        const float* maxima, std::int64_t k, SelectionScratch* scratch) {
  scratch->reserve(n);
  const std::int64_t blocks = block_count(n);
  float bound = kBelowAll;
  if (k <= blocks) {
    const auto first = scratch->maxima.begin();
    std::copy(maxima, maxima + blocks, first);
    std::nth_element(first, first + (k - 1), first + blocks, std::greater<>());
    bound = std::nextafter(scratch->maxima[static_cast<std::size_t>(k - 1)], kBelowAll);
  }
  std::int64_t count = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    if (!(maxima[block] > bound)) continue;
    const std::int64_t begin = block * kBlock;
    const std::int64_t found =
        kernels.collect(x + begin, std::min(kBlock, n - begin), bound,
                        std::numeric_limits<float>::infinity(), scratch->found.data());
    for (std::int64_t i = 0; i < found; ++i) {
      const std::int64_t index = begin + scratch->found[static_cast<std::size_t>(i)];
      scratch->order[static_cast<std::size_t>(count++)] = packed(x[index], index);
    }
  }
  const auto first = scratch->order.begin();
  const std::int64_t kept = std::min(k, count);
  if (kept < count) std::nth_element(first, first + kept, first + count);
  std::sort(first, first + kept);
  return kept;
}

}  // namespace spate::internal
