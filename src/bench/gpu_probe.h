// What a GPU can do at best: a plain read of memory and large products through the library, each
// for a while, so that the chip is at the clock that its power allows. A build without CUDA has the
// same names (gpu_probe_nocuda.cc).
#pragma once

#include <memory>

#include "device/device.h"
#include "spate/result.h"

namespace spate::bench {

/// One burst of each kind.
struct GpuBurst {
  double read_bytes = 0.0;  // a second, as the following
  double bf16_operations = 0.0, f32_operations = 0.0, fp8_operations = 0.0;
  double clock_hz = 0.0;  // of the multiprocessors during the bf16 products; 0: not seen
};

/// Borrows the device's GPU; owns about 1.5 GiB of its memory.
class GpuProbe {
 public:
  static Result<std::unique_ptr<GpuProbe>> create(Device& device);
  ~GpuProbe();
  GpuProbe(const GpuProbe&) = delete;
  GpuProbe& operator=(const GpuProbe&) = delete;

  GpuBurst sample(double seconds_each);

 private:
  struct State;
  explicit GpuProbe(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace spate::bench
