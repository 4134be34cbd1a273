#include "sample/scratch.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/check.h"

namespace spate {

void SamplerScratch::reserve(std::int64_t vocab_size) {
  const auto padded = static_cast<std::size_t>(internal::padded_size(vocab_size));
  if (weights.size() >= padded) return;
  row.resize(padded);
  candidates.resize(padded);
  keys.resize(padded);
  weights.resize(padded);
  maxima.resize(padded / internal::kBlock);
  sums.resize(padded / internal::kPiece);
  ids.resize(padded);
  selection.reserve(vocab_size);
}

Result<float> scan_row(std::span<const float> logits, SamplerScratch* scratch) {
  const auto n = static_cast<std::int64_t>(logits.size());
  SPATE_CHECK_OP(n, >, 0);
  scratch->reserve(n);
  internal::RowScan found;
  scratch->kernels->scan(logits.data(), n, scratch->maxima.data(), &found);
  if (!found.has_nan && found.max < INFINITY) return found.max;
  const auto bad = std::find_if(logits.begin(), logits.end(),
                                [](float x) { return std::isnan(x) || x == INFINITY; });
  return Error{ErrorCode::kInternal,
               fmt::format("the logit of token {} (of {}) is {}: the model's activations "
                           "overflowed or its weights are damaged; check the files with "
                           "`spate inspect` and try --dtype f32",
                           bad - logits.begin(), n, *bad)};
}

}  // namespace spate
