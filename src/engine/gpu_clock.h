// How long a GPU worked for steps and how long it waited between them, by events on its stream.
#pragma once

#include <array>
#include <cstdint>

#include "device/gpu.h"
#include "engine/executor.h"

namespace spate {

/// Engine thread. `begin` and `end` in the order of launches, `collect` once for each.
class GpuClock {
 public:
  /// The next thing on the stream is a step's first operator.
  void begin(Gpu& gpu) {
    Step& step = steps_[n_launched_ % steps_.size()];
    step.begin.record(gpu);
    step.follows = !rested_;
    rested_ = false;
  }
  void end(Gpu& gpu) { steps_[n_launched_++ % steps_.size()].end.record(gpu); }
  /// The oldest step that was not collected is past.
  void collect() {
    const Step& step = steps_[n_collected_ % steps_.size()];
    time_.busy_seconds += step.end.seconds_since(step.begin);
    if (step.follows) {
      const Step& before = steps_[(n_collected_ + steps_.size() - 1) % steps_.size()];
      time_.idle_seconds += step.begin.seconds_since(before.end);
    }
    ++n_collected_;
  }
  /// There is nothing to do: the time until the next step is nobody's loss.
  void rest() { rested_ = true; }
  DeviceTime time() const { return time_; }

 private:
  struct Step {
    GpuEvent begin, end;
    bool follows = false;
  };
  // Two under way, the one before them, and the one that is being launched.
  std::array<Step, 4> steps_{};
  std::size_t n_launched_ = 0, n_collected_ = 0;
  bool rested_ = true;
  DeviceTime time_{};
};

}  // namespace spate
