// The memory that sampling from a row needs, and the first look at a row. One per worker thread;
// it grows to the vocabulary on first use and is never the place of a result.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sample/row_kernels.h"
#include "sample/selection.h"
#include "spate/result.h"

namespace spate {

class SamplerScratch {
 public:
  SamplerScratch() : SamplerScratch(internal::row_kernels()) {}
  /// With chosen kernels, for tests: all give the same results.
  explicit SamplerScratch(const internal::RowKernels& chosen) : kernels(&chosen) {}

  void reserve(std::int64_t vocab_size);

  // What follows is for the files of this folder.
  const internal::RowKernels* kernels;
  std::vector<float> row{};         // [vocab] edited logits
  std::vector<float> candidates{};  // [vocab] logits of the top k
  std::vector<float> keys{};        // [padded vocab]
  std::vector<float> weights{};     // [padded vocab]
  std::vector<float> maxima{};      // [blocks]
  std::vector<double> sums{};       // [pieces]
  std::vector<std::int32_t> ids{};  // [vocab] of the candidates
  internal::SelectionScratch selection{};
};

/// Fills `scratch->maxima` and returns the largest logit, which may be -inf. NaN and +inf are an
/// error that names the token.
Result<float> scan_row(std::span<const float> logits, SamplerScratch* scratch);

}  // namespace spate
