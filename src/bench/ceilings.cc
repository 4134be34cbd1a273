#include "bench/ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "bench/statistics.h"
#include "bench/stopwatch.h"
#include "ops/cpu/peaks.h"

namespace spate::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kReadBytes = std::int64_t{384} << 20;  // more than any cache here holds
constexpr std::int64_t kRounds = 20000;                       // about a millisecond
constexpr std::chrono::milliseconds kRest{50};

}  // namespace

double Ceilings::operations(Arithmetic a) const {
  switch (a) {
    case Arithmetic::kInt8:
      return int8_operations;
    case Arithmetic::kBF16:
      return bf16_operations;
    case Arithmetic::kFp8:
      return fp8_operations;
    default:
      return f32_operations;
  }
}

double Ceilings::seconds(const OpCost& cost) const {
  return std::max(cost.n_bytes / read_bytes, cost.operations / operations(cost.arithmetic));
}

Result<CeilingMeter> CeilingMeter::create(Device& device, double burst_seconds) {
  CeilingMeter meter(device, burst_seconds);
  if (device.is_cuda()) {
    Result<std::unique_ptr<GpuProbe>> probe = GpuProbe::create(device);
    if (!probe) return probe.error();
    meter.gpu_ = std::move(*probe);
    return meter;
  }
  Result<Buffer> buffer = Buffer::reserve_host(kReadBytes);
  if (!buffer) return buffer.error();
  meter.buffer_ = std::move(*buffer);
  std::memset(meter.buffer_.data(), 1, static_cast<std::size_t>(kReadBytes));
  return meter;
}

double CeilingMeter::operations_in_burst(double (*rounds)(std::int64_t)) {
  std::this_thread::sleep_for(kRest);
  std::vector<double> done(static_cast<std::size_t>(device_->pool().size()));
  const Clock::time_point begin = Clock::now();
  device_->pool().run([&](int worker) {
    double& sum = done[static_cast<std::size_t>(worker)];
    while (seconds_since(begin) < burst_seconds_) sum += rounds(kRounds);
  });
  const double seconds = seconds_since(begin);
  double sum = 0.0;
  for (const double d : done) sum += d;
  return sum / seconds;
}

double CeilingMeter::bytes_in_burst() {
  std::this_thread::sleep_for(kRest);
  constexpr std::int64_t kPiece = 256 << 10;
  const ops::cpu::PeakKernels kernels = ops::cpu::peak_kernels(*device_);
  const auto* memory = reinterpret_cast<const std::uint8_t*>(buffer_.data());
  std::int64_t passes = 0;
  const Clock::time_point begin = Clock::now();
  const auto read_pieces = [&](int) {
    for (std::int64_t i = device_->pool().take(kPiece); i < kReadBytes;
         i = device_->pool().take(kPiece)) {
      kernels.read_bytes(memory + i, kPiece);
    }
  };
  for (; passes < 2 || seconds_since(begin) < burst_seconds_; ++passes) {
    device_->pool().run(read_pieces);
  }
  return static_cast<double>(passes * kReadBytes) / seconds_since(begin);
}

void CeilingMeter::sample_gpu() {
  const GpuBurst burst = gpu_->sample(burst_seconds_);
  read_.push_back(burst.read_bytes);
  bf16_.push_back(burst.bf16_operations);
  f32_.push_back(burst.f32_operations);
  fp8_.push_back(burst.fp8_operations);
  clock_.push_back(burst.clock_hz);
}

void CeilingMeter::sample() {
  if (gpu_ != nullptr) return sample_gpu();
  const ops::cpu::PeakKernels kernels = ops::cpu::peak_kernels(*device_);
  read_.push_back(bytes_in_burst());
  int8_.push_back(operations_in_burst(kernels.int8_rounds));
  bf16_.push_back(operations_in_burst(kernels.bf16_rounds));
  f32_.push_back(operations_in_burst(kernels.f32_rounds));
}

Ceilings CeilingMeter::ceilings() const {
  return {.read_bytes = summarize(read_).median,
          .int8_operations = summarize(int8_).median,
          .bf16_operations = summarize(bf16_).median,
          .f32_operations = summarize(f32_).median,
          .fp8_operations = summarize(fp8_).median,
          .clock_hz = summarize(clock_).median};
}

}  // namespace spate::bench
