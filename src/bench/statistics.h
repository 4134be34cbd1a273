// What repeated measurements come down to. Pure functions; nothing here measures.
#pragma once

#include <vector>

namespace spate::bench {

/// The share `p` in [0, 1] of the values is not above it; linear between neighbours. 0 when empty.
double percentile(std::vector<double> values, double p);

/// Of one figure over the repeats of a run.
struct Summary {
  double median = 0.0, min = 0.0, max = 0.0;
};
Summary summarize(const std::vector<double>& values);

}  // namespace spate::bench
