#include "device/profile.h"

#include <algorithm>

namespace spate {

std::string_view name_of(Arithmetic a) {
  switch (a) {
    case Arithmetic::kF32:
      return "f32";
    case Arithmetic::kBF16:
      return "bf16";
    case Arithmetic::kInt8:
      return "int8";
    case Arithmetic::kFp8:
      return "fp8";
    default:
      return "none";
  }
}

void Profile::add(const OpCost& cost, double seconds) {
  const auto same = [&](const Line& l) {
    return l.cost.name == cost.name && l.cost.k == cost.k && l.cost.n == cost.n &&
           l.cost.rows == cost.rows;
  };
  auto line = std::find_if(lines_.begin(), lines_.end(), same);
  if (line == lines_.end()) {
    lines_.push_back({.cost = cost, .calls = 1, .seconds = seconds});
    return;
  }
  line->cost.operations += cost.operations;
  line->cost.n_bytes += cost.n_bytes;
  line->calls += 1;
  line->seconds += seconds;
}

double Profile::seconds() const {
  double sum = 0.0;
  for (const Line& l : lines_) sum += l.seconds;
  return sum;
}

}  // namespace spate
