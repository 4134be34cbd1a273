// Finding the leading part of a row without sorting it. The order is always (key descending,
// index ascending), so ties go to the lower index and every result is exact and unique.
// Scratch memory is the caller's; nothing is allocated once it has grown to the vocabulary.
#pragma once

#include <cstdint>
#include <vector>

#include "sample/row_kernels.h"

namespace spate::internal {

struct SelectionScratch {
  struct Set {
    std::vector<float> keys{};
    std::vector<float> weights{};
    std::vector<std::int32_t> ids{};
  };
  Set sets[2];
  std::vector<std::int32_t> found{};
  std::vector<std::uint64_t> order{};
  std::vector<float> maxima{};

  void reserve(std::int64_t n);
};

/// Where a cut falls: behind the first element with which the mass (or the count) reaches
/// `target`.
struct CutGoal {
  double target = 0;
  double total = 0;  // of the whole row; only a hint where to look first
  bool by_count = false;
};

/// A row and its weights; all padded (row_kernels.h).
struct WeightedRow {
  const float* keys = nullptr;  // [n]; may be the weights
  float* weights = nullptr;     // [n]
  double* sums = nullptr;       // [pieces]
  std::int64_t n = 0;
};

/// Sets the weights behind the cut to zero and sums the pieces anew. `lo` < cut <= `hi`: the
/// caller knows that no key <= lo is needed and that no key is above hi. If the goal is never
/// reached, all that is above `lo` is kept.
/// Cost: one pass over the row, then brackets that shrink about twentyfold a pass, and a sort of at
/// most 256 elements.
void cut(const RowKernels& kernels, const WeightedRow& row, float lo, float hi, const CutGoal& goal,
         SelectionScratch* scratch);

/// Puts the leading k of `x` [n] that are not -inf into `scratch->order`, best first, and returns
/// how many there are. `maxima` are those of `kernels.scan`: the k-th
/// largest of them is a lower bound of the k-th largest element, and few blocks reach it.
std::int64_t select_top(const RowKernels& kernels, const float* x, std::int64_t n,
                        const float* maxima, std::int64_t k, SelectionScratch* scratch);

/// The index that an element of `order` stands for.
inline std::int32_t order_index(std::uint64_t packed) { return static_cast<std::int32_t>(packed); }

}  // namespace spate::internal
