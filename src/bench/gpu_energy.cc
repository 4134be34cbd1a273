#include "bench/gpu_energy.h"

#include <dlfcn.h>

namespace spate::bench {

std::optional<GpuEnergy> GpuEnergy::open(const std::string& bus_id, const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays to the program's end
  if (handle == nullptr) return std::nullopt;
  const auto init = reinterpret_cast<int (*)()>(dlsym(handle, "nvmlInit_v2"));
  const auto find = reinterpret_cast<int (*)(const char*, void**)>(
      dlsym(handle, "nvmlDeviceGetHandleByPciBusId_v2"));
  const auto read = reinterpret_cast<Read>(dlsym(handle, "nvmlDeviceGetTotalEnergyConsumption"));
  if (init == nullptr || find == nullptr || read == nullptr) return std::nullopt;
  void* device = nullptr;
  unsigned long long millijoules = 0;
  if (init() != 0 || find(bus_id.c_str(), &device) != 0 || read(device, &millijoules) != 0)
    return std::nullopt;
  return GpuEnergy(read, device);
}

double GpuEnergy::joules() const {
  unsigned long long millijoules = 0;
  read_(device_, &millijoules);
  return static_cast<double>(millijoules) * 1e-3;
}

}  // namespace spate::bench
