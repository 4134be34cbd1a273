// What the sampling rules mean, in double precision and by sorting everything. No speed, no
// tricks, and none of the code under test.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "spate/sampling.h"

namespace spate::reference {

/// log(sum(exp(x))) over the finite elements.
inline double log_sum_exp(std::span<const float> x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float v : x) sum += std::exp(double{v} - max);
  return max + std::log(sum);
}

/// A distribution [vocab], and how close any filter came to deciding otherwise.
struct Filtered {
  std::vector<double> p{};
  double margin = 1;  // smallest distance of a mass from its bound
};

inline void renormalize(std::vector<double>* p) {
  const double sum = std::accumulate(p->begin(), p->end(), 0.0);
  for (double& v : *p) v /= sum;
}

/// Ids by key, highest first; ties by id.
inline std::vector<std::size_t> ranking(const std::vector<double>& keys) {
  std::vector<std::size_t> ids(keys.size());
  std::iota(ids.begin(), ids.end(), std::size_t{0});
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::size_t a, std::size_t b) { return keys[a] > keys[b]; });
  return ids;
}

/// Keeps the shortest leading part of `ids` whose mass reaches `bound`.
inline void keep_mass(const std::vector<std::size_t>& ids, double bound, Filtered* f) {
  double mass = 0;
  for (const std::size_t id : ids) {
    f->margin = std::min(f->margin, std::abs(mass - bound));
    const double p = f->p[id];
    if (mass >= bound) f->p[id] = 0;
    mass += p;
  }
  renormalize(&f->p);
}

inline void top_k(std::span<const float> logits, std::int64_t k, Filtered* f) {
  const std::vector<double> keys(logits.begin(), logits.end());
  const auto ids = ranking(keys);
  for (std::size_t i = static_cast<std::size_t>(k); i < ids.size(); ++i) f->p[ids[i]] = 0;
  renormalize(&f->p);
}

inline void typical(double bound, Filtered* f) {
  double entropy = 0;
  for (const double p : f->p) entropy -= p > 0 ? p * std::log(p) : 0;
  std::vector<double> keys;
  for (const double p : f->p) {
    keys.push_back(p > 0 ? -std::abs(-std::log(p) - entropy)
                         : -std::numeric_limits<double>::infinity());
  }
  keep_mass(ranking(keys), bound, f);
}

inline void min_p(double bound, Filtered* f) {
  const double least = bound * *std::max_element(f->p.begin(), f->p.end());
  for (double& p : f->p) {
    if (p > 0) f->margin = std::min(f->margin, std::abs(p / least - 1));
    if (p < least) p = 0;
  }
  renormalize(&f->p);
}

/// The distribution that a row of logits, already edited by the rules, is sampled from.
inline Filtered distribution(std::span<const float> logits, const SamplingParams& params) {
  Filtered f;
  const double max = *std::max_element(logits.begin(), logits.end());
  for (const float x : logits)
    f.p.push_back(std::exp((double{x} - max) / double{params.temperature}));
  renormalize(&f.p);
  if (params.top_k > 0 && params.top_k < static_cast<std::int64_t>(logits.size())) {
    top_k(logits, params.top_k, &f);
  }
  if (params.typical_p < 1) typical(double{params.typical_p}, &f);
  if (params.top_p < 1) keep_mass(ranking(f.p), double{params.top_p}, &f);
  if (params.min_p > 0) min_p(double{params.min_p}, &f);
  return f;
}

}  // namespace spate::reference
