#include "bench/phase.h"

#include <fmt/format.h>

namespace spate::bench {

double Phase::operations() const {
  double sum = 0.0;
  for (const Profile::Line& l : profile.lines()) sum += l.cost.operations;
  return sum;
}

double Phase::n_bytes() const {
  double sum = 0.0;
  for (const Profile::Line& l : profile.lines()) sum += l.cost.n_bytes;
  return sum;
}

double Phase::profiled_seconds() const {
  return device.any() ? profile.seconds() + profile.between_seconds() : seconds;
}

PhaseLimit limit_of(const Phase& phase, const Ceilings& ceilings) {
  PhaseLimit limit{.memory = phase.n_bytes() / ceilings.read_bytes};
  for (const Profile::Line& l : phase.profile.lines()) {
    limit.compute += l.cost.operations / ceilings.operations(l.cost.arithmetic);
  }
  return limit;
}

std::string title_of(const OpCost& cost) {
  std::string title(cost.name);
  if (cost.n > 0) title += fmt::format(" {} x {}", cost.k, cost.n);
  if (cost.rows > 0) title += fmt::format(", {} row{}", cost.rows, cost.rows == 1 ? "" : "s");
  return title;
}

}  // namespace spate::bench
