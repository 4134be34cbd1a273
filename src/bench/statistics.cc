#include "bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace spate::bench {

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const double at = std::clamp(p, 0.0, 1.0) * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], at - static_cast<double>(below));
}

Summary summarize(const std::vector<double>& values) {
  return {.median = percentile(values, 0.5),
          .min = percentile(values, 0.0),
          .max = percentile(values, 1.0)};
}

}  // namespace spate::bench
