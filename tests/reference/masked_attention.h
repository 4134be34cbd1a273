// Attention of one query over any visible subset of keys, in double precision and in the order of
// the formula, together with the magnitudes that rounding errors are relative to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace spate::reference {

struct MaskedAttentionRow {
  std::vector<double> out;                                // [head_dim]; 0 without a visible key
  std::vector<double> magnitude;                          // [head_dim], sum of weight * |value|
  double lse = -std::numeric_limits<double>::infinity();  // natural logarithm
  double largest_products = 0.0;  // largest scale * sum of |q k| over the visible keys
};

// key(j), value(j) -> const float* [head_dim]; visible(j) -> bool; score(x, j) -> double gets the
// scaled product and returns the logit.
template <class Key, class Value, class Visible, class Score>
MaskedAttentionRow masked_attention(const float* query, int head_dim, double scale,
                                    std::int64_t keys, const Key& key, const Value& value,
                                    const Visible& visible, const Score& score) {
  MaskedAttentionRow row;
  row.out.assign(static_cast<std::size_t>(head_dim), 0.0);
  row.magnitude = row.out;
  std::vector<double> logits(static_cast<std::size_t>(keys));
  double top = -std::numeric_limits<double>::infinity();
  for (std::int64_t j = 0; j < keys; ++j) {
    if (!visible(j)) continue;
    double sum = 0.0, products = 0.0;
    const float* k = key(j);
    for (int d = 0; d < head_dim; ++d) {
      const double x = static_cast<double>(query[d]) * static_cast<double>(k[d]);
      sum += x;
      products += std::abs(x);
    }
    const double logit = score(sum * scale, j);
    logits[static_cast<std::size_t>(j)] = logit;
    row.largest_products = std::max(row.largest_products, products * scale);
    top = std::max(top, logit);
  }
  if (!std::isfinite(top)) return row;
  double total = 0.0;
  for (std::int64_t j = 0; j < keys; ++j) {
    if (!visible(j)) continue;
    const double weight = std::exp(logits[static_cast<std::size_t>(j)] - top);
    const float* v = value(j);
    total += weight;
    for (int d = 0; d < head_dim; ++d) {
      row.out[static_cast<std::size_t>(d)] += weight * static_cast<double>(v[d]);
      row.magnitude[static_cast<std::size_t>(d)] += weight * std::abs(static_cast<double>(v[d]));
    }
  }
  for (double& x : row.out) x /= total;
  for (double& x : row.magnitude) x /= total;
  row.lse = top + std::log(total);
  return row;
}

}  // namespace spate::reference
