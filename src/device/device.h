// Where operators run. A Device owns its workers and its stream; it owns no tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "device/profile.h"
#include "device/thread_pool.h"
#include "spate/result.h"

namespace spate {

class Gpu;  // device/gpu.h

enum class DeviceKind : std::uint8_t { kCpu, kCuda };

/// Instruction sets that CPU kernels are compiled for, in ascending order.
enum class CpuIsa : std::uint8_t { kGeneric, kAvx2, kAvx512 };

/// The best set that this machine runs (CPUID and XCR0). kAvx512 means F, BW, DQ, VL, VBMI, VNNI
/// and BF16 together.
CpuIsa best_cpu_isa();
std::string_view name_of(CpuIsa isa);

/// Whether Intel's matrix registers (AMX with bf16) may be used on top of AVX-512. The first call
/// asks the system for them.
bool amx_available();

struct CpuOptions {
  ThreadPoolOptions threads{};
  CpuIsa isa = best_cpu_isa();  // a lower one than the best is for tests
  bool amx = amx_available();   // counts with kAvx512 only
};

/// Thread rule: operators on one device are issued by one thread.
class Device {
 public:
  static std::unique_ptr<Device> cpu(const CpuOptions& options = {});
  /// The GPU of that number; its host side (rules of sampling that it does not know) gets `host`.
  /// kUnsupported where there is no GPU, no driver, or no CUDA in this build.
  static Result<std::unique_ptr<Device>> cuda(int ordinal, const CpuOptions& host = {});
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  DeviceKind kind() const { return kind_; }
  bool is_cuda() const { return kind_ == DeviceKind::kCuda; }
  CpuIsa isa() const { return isa_; }
  bool amx() const { return amx_; }
  /// Whether the processor reads streams of memory fastest when software does not call ahead.
  bool own_prefetch() const { return own_prefetch_; }
  ThreadPool& pool() { return *pool_; }
  /// Of a GPU; null on the CPU.
  const Gpu* gpu() const { return gpu_.get(); }
  Gpu* gpu() { return gpu_.get(); }

  /// Where operators report their time; null, as it is at first: nowhere.
  Profile* profile() const { return profile_; }
  void set_profile(Profile* profile) { profile_ = profile; }

 private:
  Device() = default;
  DeviceKind kind_ = DeviceKind::kCpu;
  CpuIsa isa_ = CpuIsa::kGeneric;
  bool amx_ = false;
  bool own_prefetch_ = false;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Gpu> gpu_;
  Profile* profile_ = nullptr;
};

}  // namespace spate
