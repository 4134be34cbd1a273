#include "device/gpu_timeline.h"

#include <utility>

#include "core/check.h"

namespace spate {

void add_calls(std::span<const OpCost> calls, std::span<const GpuMark> marks,
               std::span<const double> seconds, Profile& profile) {
  SPATE_CHECK_OP(seconds.size() + 1, ==, marks.size());
  std::vector<double> sums(calls.size());
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const std::int32_t call = marks[i].call;
    if (call == GpuMark::kBetween) {
      profile.add_between(seconds[i]);
    } else {
      sums[static_cast<std::size_t>(call)] += seconds[i];
    }
  }
  for (std::size_t i = 0; i < calls.size(); ++i) profile.add(calls[i], sums[i]);
}

void GpuTimeline::enter(const OpCost& cost) {
  const auto call = static_cast<std::int32_t>(step_.calls.size());
  step_.calls.push_back(cost);
  open_.push_back(call);
  mark(call);
}

void GpuTimeline::leave() {
  SPATE_CHECK(!open_.empty());
  open_.pop_back();
  mark(open_.empty() ? GpuMark::kBetween : open_.back());
}

void GpuTimeline::mark(std::int32_t call) {
  if (spare_.empty()) spare_.emplace_back();
  step_.events.push_back(std::move(spare_.back()));
  spare_.pop_back();
  step_.events.back().record(*gpu_);
  step_.marks.push_back({call});
}

GpuTimeline::Step GpuTimeline::take() { return std::exchange(step_, {}); }

void GpuTimeline::read(Step step, Profile* profile) {
  if (profile != nullptr && !step.empty()) {
    std::vector<double> seconds;
    for (std::size_t i = 1; i < step.events.size(); ++i) {
      seconds.push_back(step.events[i].seconds_since(step.events[i - 1]));
    }
    add_calls(step.calls, step.marks, seconds, *profile);
  }
  for (GpuEvent& event : step.events) spare_.push_back(std::move(event));
}

}  // namespace spate
