// Rows of logits for the sampling tests, the same on every machine.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "sample/rng.h"

namespace spate {

/// Normal with the given deviation (Box and Muller, 1958).
inline std::vector<float> normal_row(std::int64_t n, double deviation, std::uint64_t seed) {
  std::vector<float> row(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const double u = 1.0 - uniform({seed, 0}, at, RandomStream::kDraw);
    const double v = uniform({seed, 1}, at, RandomStream::kDraw);
    row[i] = static_cast<float>(deviation * std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v));
  }
  return row;
}

/// The same, rounded to multiples of 1/4, so that many logits are equal.
inline std::vector<float> tied_row(std::int64_t n, double deviation, std::uint64_t seed) {
  std::vector<float> row = normal_row(n, deviation, seed);
  for (float& x : row) x = std::round(x * 4) / 4;
  return row;
}

}  // namespace spate
