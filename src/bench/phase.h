// A phase of inference against the machine's limits: what it had to read and compute, how long the
// hardware would take for that, and where the rest of the time went.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "device/profile.h"

namespace spate::bench {

/// Steps of one kind, measured and profiled together.
struct Phase {
  std::string name{};
  std::int64_t tokens = 0;  // computed in all steps
  std::int64_t steps = 0;
  double seconds = 0.0;
  Profile profile{};

  double operations() const;
  double n_bytes() const;
  /// Between the operators: scheduling, sampling, delivery.
  double other_seconds() const { return seconds - profile.seconds(); }
};

/// Seconds that the hardware needs for a whole phase.
struct PhaseLimit {
  double memory = 0.0;
  double compute = 0.0;
  double seconds() const { return memory > compute ? memory : compute; }
};
PhaseLimit limit_of(const Phase& phase, const Ceilings& ceilings);

/// "gated_matmul 2048 x 11264": an operator and its matrix.
std::string title_of(const OpCost& cost);

}  // namespace spate::bench
