// Which cores this process may use, and how to stay on one. Linux only reads files here; no state.
#pragma once

#include <vector>

#include <pthread.h>

namespace spate {

/// One logical processor per physical core, within the affinity mask and at most as many as the
/// cgroup's CPU quota pays for (at least one).
std::vector<int> usable_core_ids();

/// Failure is ignored: pinning only helps speed.
void pin_thread(pthread_t thread, int core);

}  // namespace spate
