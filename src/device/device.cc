#include "device/device.h"

#include "core/check.h"

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

std::unique_ptr<Device> Device::cpu(const CpuOptions& options) {
  SPATE_CHECK_OP(static_cast<int>(options.isa), <=, static_cast<int>(best_cpu_isa()));
  std::unique_ptr<Device> device(new Device);
  device->isa_ = options.isa;
  device->pool_ = std::make_unique<ThreadPool>(options.threads);
  return device;
}

}  // namespace spate
