// The energy that a GPU has drawn, by its driver's counter (NVML). The driver's library is loaded
// when asked for: a program runs without it.
#pragma once

#include <optional>
#include <string>

namespace spate::bench {

class GpuEnergy {
 public:
  /// `bus_id`: gpu_bus_id() of device/gpu.h. Nothing where the library, the device or the counter
  /// is missing.
  static std::optional<GpuEnergy> open(const std::string& bus_id,
                                       const std::string& library = "libnvidia-ml.so.1");

  /// Drawn since the driver was loaded. Moves in steps of about 0.1 s.
  double joules() const;

 private:
  using Read = int (*)(void* device, unsigned long long* millijoules);
  GpuEnergy(Read read, void* device) : read_(read), device_(device) {}

  Read read_;
  void* device_;
};

}  // namespace spate::bench
