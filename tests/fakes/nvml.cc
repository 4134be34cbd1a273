// A driver's library with one device, which draws 250 mJ between two readings.
#include <cstring>

extern "C" {

int nvmlInit_v2() { return 0; }

int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  static int the_device = 0;
  *device = &the_device;
  return std::strcmp(bus_id, "0000:3B:00.0") == 0 ? 0 : 6;  // NVML_ERROR_NOT_FOUND
}

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  int& readings = *static_cast<int*>(device);
  *millijoules = 250ULL * static_cast<unsigned long long>(readings++);
  return 0;
}
}
