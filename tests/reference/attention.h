// Attention of one query over a list of keys, in double precision and in the order of the formula.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace spate::reference {

struct AttentionRow {
  std::vector<double> query;                // already times the softmax scale and log2(e)
  std::vector<std::vector<double>> keys;    // [n][head_dim]; the last one is the query's own
  std::vector<std::vector<double>> values;  // [n][head_dim]
  std::size_t window = 0;                   // 0: all keys
  double soft_cap = 0.0;                    // of natural scores; 0: none
  double slope = 0.0;                       // ALiBi
};

struct AttentionResult {
  std::vector<double> out;
  std::vector<double> magnitude;  // sum of weight * |value|: what rounding errors are relative to
  double largest_products = 0.0;  // largest sum of |q k| over the keys
};

inline AttentionResult attention(const AttentionRow& row) {
  constexpr double kLog2e = 1.4426950408889634;
  const std::size_t n = row.keys.size();
  const std::size_t first = row.window > 0 && n > row.window ? n - row.window : 0;
  AttentionResult result;
  std::vector<double> scores(n);
  double top = -std::numeric_limits<double>::infinity();
  for (std::size_t t = first; t < n; ++t) {
    double products = 0.0;
    for (std::size_t d = 0; d < row.query.size(); ++d) {
      scores[t] += row.query[d] * row.keys[t][d];
      products += std::abs(row.query[d] * row.keys[t][d]);
    }
    result.largest_products = std::max(result.largest_products, products);
    if (row.soft_cap > 0.0) {
      const double cap = row.soft_cap * kLog2e;
      scores[t] = cap * std::tanh(scores[t] / cap);
    }
    scores[t] += row.slope * kLog2e * (static_cast<double>(t) - static_cast<double>(n - 1));
    top = std::max(top, scores[t]);
  }
  double sum = 0.0;
  result.out.assign(row.values[0].size(), 0.0);
  result.magnitude.assign(row.values[0].size(), 0.0);
  for (std::size_t t = first; t < n; ++t) {
    const double weight = std::exp2(scores[t] - top);
    sum += weight;
    for (std::size_t d = 0; d < result.out.size(); ++d) {
      result.out[d] += weight * row.values[t][d];
      result.magnitude[d] += weight * std::abs(row.values[t][d]);
    }
  }
  for (double& x : result.out) x /= sum;
  for (double& x : result.magnitude) x /= sum;
  return result;
}

}  // namespace spate::reference
