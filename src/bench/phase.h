// A phase of inference against the machine's limits: what it had to read and compute, how long the
// hardware would take for that, and where the rest of the time went.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "device/profile.h"

namespace spate::bench {

/// A GPU's time in a measurement; zeros on the CPU.
struct DeviceShare {
  double busy_seconds = 0.0, idle_seconds = 0.0;

  bool any() const { return busy_seconds > 0.0; }
  /// Of the time from the first step to the last, what the GPU had nothing to do in.
  double idle_share() const { return any() ? idle_seconds / (busy_seconds + idle_seconds) : 0.0; }
};

/// Steps of one kind. On the CPU they are profiled while they are timed; on a GPU they are run once
/// more for the profile, since marks between operators hold up launches that would overlap.
struct Phase {
  std::string name{};
  std::int64_t tokens = 0;  // computed in all steps
  std::int64_t steps = 0;
  double seconds = 0.0;
  Profile profile{};
  DeviceShare device{};

  double operations() const;
  double n_bytes() const;
  /// What the profile is a part of.
  double profiled_seconds() const;
  /// Between the operators: scheduling, sampling, delivery; on a GPU the launches themselves.
  double other_seconds() const { return profiled_seconds() - profile.seconds(); }
};

/// Seconds that the hardware needs for a whole phase.
struct PhaseLimit {
  double memory = 0.0;
  double compute = 0.0;
  double seconds() const { return memory > compute ? memory : compute; }
};
PhaseLimit limit_of(const Phase& phase, const Ceilings& ceilings);

/// "gated_matmul 2048 x 11264, 16 rows": an operator, its matrix, about how many rows.
std::string title_of(const OpCost& cost);

}  // namespace spate::bench
