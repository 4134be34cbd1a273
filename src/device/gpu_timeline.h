// What a GPU works for at each moment of a step: marks between launches, read once they are past.
// Operators enter and leave while their device has a Profile; steps are not recorded then.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/device.h"
#include "device/gpu.h"
#include "device/profile.h"

namespace spate {

/// From a mark to the next one, the GPU works for one operator, or for none.
struct GpuMark {
  static constexpr std::int32_t kBetween = -1;
  std::int32_t call = kBetween;  // index into the calls of the same step
};

/// Adds each call with the time of its own marks, that of the operators inside it left out.
/// `seconds`: from each mark to the next; one fewer than marks.
void add_calls(std::span<const OpCost> calls, std::span<const GpuMark> marks,
               std::span<const double> seconds, Profile& profile);

class GpuTimeline {
 public:
  /// The marks of one step. Moves; give it back with `read`.
  struct Step {
    std::vector<OpCost> calls{};
    std::vector<GpuMark> marks{};
    std::vector<GpuEvent> events{};  // one a mark
    bool empty() const { return marks.empty(); }
  };

  explicit GpuTimeline(Gpu& gpu) : gpu_(&gpu) {}

  /// What follows on the stream is this operator's, until `leave`. Calls nest.
  void enter(const OpCost& cost);
  void leave();
  /// Begins or ends a step: from here on the GPU works for no operator.
  void pause() { mark(GpuMark::kBetween); }

  /// What was marked since the last call.
  Step take();
  /// Adds a step to `profile` (null: to none). Its last mark must be past.
  void read(Step step, Profile* profile);

 private:
  void mark(std::int32_t call);

  Gpu* gpu_;
  Step step_{};
  std::vector<std::int32_t> open_{};  // calls entered and not left
  std::vector<GpuEvent> spare_{};
};

/// Times a scope on a GPU. `cost()` is called only when the device has a profile.
class GpuOpTimer {
 public:
  template <class Cost>
  GpuOpTimer(Device& device, const Cost& cost)
      : timeline_(device.profile() == nullptr ? nullptr : &device.gpu()->timeline()) {
    if (timeline_ != nullptr) timeline_->enter(cost());
  }
  GpuOpTimer(const GpuOpTimer&) = delete;
  GpuOpTimer& operator=(const GpuOpTimer&) = delete;
  ~GpuOpTimer() {
    if (timeline_ == nullptr) return;
    try {
      timeline_->leave();
    } catch (const DeviceError&) {  // whoever uses the device next sees the same
      timeline_ = nullptr;
    }
  }

 private:
  GpuTimeline* timeline_;
};

}  // namespace spate
