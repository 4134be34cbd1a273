// What this machine can do at best: products in registers and a plain read by all threads, on a GPU
// a plain read and the library's large products, sampled in short bursts between what is measured,
// because a shared machine changes within seconds.
#pragma once

#include <memory>
#include <vector>

#include "bench/gpu_probe.h"
#include "device/buffer.h"
#include "device/device.h"
#include "spate/result.h"

namespace spate::bench {

/// Medians of the bursts, a second.
struct Ceilings {
  double read_bytes = 0.0;
  double int8_operations = 0.0, bf16_operations = 0.0, f32_operations = 0.0;
  double fp8_operations = 0.0;  // of a GPU; it has none of int8
  double clock_hz = 0.0;        // of a GPU, while it multiplies

  double operations(Arithmetic a) const;
  /// Seconds that the hardware needs for this cost: the longer of reading and computing.
  double seconds(const OpCost& cost) const;
};

/// Borrows the device. Owns a buffer larger than any cache; on a GPU make it before an engine,
/// which takes the rest of the memory.
class CeilingMeter {
 public:
  static Result<CeilingMeter> create(Device& device, double burst_seconds = 0.2);
  /// One burst of each kind with a rest before it.
  void sample();
  Ceilings ceilings() const;

 private:
  CeilingMeter(Device& device, double burst_seconds)
      : device_(&device), burst_seconds_(burst_seconds) {}
  void sample_gpu();
  double operations_in_burst(double (*rounds)(std::int64_t));
  double bytes_in_burst();

  Device* device_;
  double burst_seconds_;
  Buffer buffer_;
  std::unique_ptr<GpuProbe> gpu_;
  std::vector<double> read_, int8_, bf16_, f32_, fp8_, clock_;
};

}  // namespace spate::bench
