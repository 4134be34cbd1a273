#include "device/device.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "core/check.h"
#include "device/gpu.h"

namespace spate {

CpuIsa best_cpu_isa() {
#if defined(__x86_64__)
  // These also ask XCR0, that is, whether the system saves the registers. Every processor with
  // AVX2 and FMA has F16C.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CpuIsa::kGeneric;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
                    __builtin_cpu_supports("avx512bf16");
  return wide ? CpuIsa::kAvx512 : CpuIsa::kAvx2;
#else
  return CpuIsa::kGeneric;
#endif
}

bool amx_available() {
#if defined(__x86_64__) && defined(__linux__)
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kNeeded = 1U << 22U | 1U << 24U | 1U << 25U;  // bf16, tile, int8
  if ((d & kNeeded) != kNeeded) return false;
  // Refused where the system does not save the tiles (Linux before 5.16, some virtual machines).
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

namespace {

/// AMD's processors with AVX-512; measured on Zen 4 (docs/benchmarks.md).
bool has_own_prefetch(CpuIsa isa) {
#if defined(__x86_64__)
  return isa == CpuIsa::kAvx512 && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

}  // namespace

std::string_view name_of(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512:
      return "avx512";
    case CpuIsa::kAvx2:
      return "avx2";
    default:
      return "generic";
  }
}

Device::~Device() = default;

std::unique_ptr<Device> Device::cpu(const CpuOptions& options) {
  SPATE_CHECK_OP(static_cast<int>(options.isa), <=, static_cast<int>(best_cpu_isa()));
  std::unique_ptr<Device> device(new Device);
  device->isa_ = options.isa;
  device->amx_ = options.amx && options.isa == CpuIsa::kAvx512;
  device->own_prefetch_ = has_own_prefetch(options.isa);
  device->pool_ = std::make_unique<ThreadPool>(options.threads);
  return device;
}

}  // namespace spate
