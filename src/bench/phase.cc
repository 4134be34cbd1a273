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

PhaseLimit limit_of(const Phase& phase, const Ceilings& ceilings) {
  PhaseLimit limit{.memory = phase.n_bytes() / ceilings.read_bytes};
  for (const Profile::Line& l : phase.profile.lines()) {
    limit.compute += l.cost.operations / ceilings.operations(l.cost.arithmetic);
  }
  return limit;
}

std::string title_of(const OpCost& cost) {
  return cost.n == 0 ? std::string(cost.name)
                     : fmt::format("{} {} x {}", cost.name, cost.k, cost.n);
}

}  // namespace spate::bench
