#include "device/cores.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <sched.h>

#include "device/thread_pool.h"

namespace spate {
namespace {

/// The lowest logical processor of the core that `cpu` belongs to; `cpu` itself when unknown.
int first_sibling(int cpu) {
  std::ifstream file(
      fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  int first = cpu;
  return file >> first ? first : cpu;
}

/// Whether `cpu` is the one that its core is used through: a sibling outside the mask does not
/// count.
bool stands_for_core(int cpu, const cpu_set_t& mask) {
  if (!CPU_ISSET(cpu, &mask)) return false;
  const int first = first_sibling(cpu);
  return first == cpu || !CPU_ISSET(first, &mask);
}

/// cgroup v2: "max 100000" or "200000 100000" (quota and period in microseconds).
std::optional<double> quota_of_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0;
  double period = 0;
  if (file >> quota >> period && period > 0) return quota / period;
  return std::nullopt;
}

std::optional<double> quota_of_v1() {
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (quota_file >> quota && period_file >> period && quota > 0 && period > 0) {
    return quota / period;
  }
  return std::nullopt;
}

/// Cores' worth of time that the control group grants; the strictest of the group and its parents.
double cgroup_quota() {
  double cores = std::numeric_limits<double>::infinity();
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    for (std::string path = line.substr(3);; path.resize(path.rfind('/'))) {
      if (const auto q = quota_of_v2("/sys/fs/cgroup" + path)) cores = std::min(cores, *q);
      if (path.rfind('/') == std::string::npos) break;
    }
  }
  if (const auto q = quota_of_v1()) cores = std::min(cores, *q);
  return cores;
}

}  // namespace

std::vector<int> usable_core_ids() {
  std::vector<int> cores;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const bool known = sched_getaffinity(0, sizeof mask, &mask) == 0;
  for (int cpu = 0; known && cpu < CPU_SETSIZE; ++cpu) {
    if (stands_for_core(cpu, mask)) cores.push_back(cpu);
  }
  if (cores.empty()) cores.push_back(0);
  const double quota = cgroup_quota();
  if (quota < static_cast<double>(cores.size())) {
    cores.resize(static_cast<std::size_t>(std::max(1.0, quota)));
  }
  return cores;
}

int usable_cores() { return static_cast<int>(usable_core_ids().size()); }

void pin_thread(pthread_t thread, int core) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(core, &mask);
  pthread_setaffinity_np(thread, sizeof mask, &mask);
}

}  // namespace spate
