// Times alternatives against each other: each in a CUDA graph of several launches, replayed in turn
// so that all see the same clocks; medians over all rounds. Or each kept up for a while, since a
// chip at its power limit is slower than it is in a few launches.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

#include "bench/gpu_energy.h"
#include "device/gpu.h"

namespace spate::bench {

inline void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("%s\n", cudaGetErrorString(error));
  std::exit(1);
}

class GraphTimer {
 public:
  using Launch = std::function<cudaError_t(int index, cudaStream_t stream)>;

  explicit GraphTimer(int launches = 12) : launches_(launches) {
    require(cudaStreamCreate(&stream_));
  }
  ~GraphTimer() {
    for (Entry& e : entries_) cudaGraphExecDestroy(e.graph);
    cudaStreamDestroy(stream_);
  }
  GraphTimer(const GraphTimer&) = delete;
  GraphTimer& operator=(const GraphTimer&) = delete;

  // Launch i of the graph is called with i, to rotate over copies of the data.
  void add(std::string name, const Launch& launch) {
    require(launch(0, stream_));
    require(cudaStreamSynchronize(stream_));
    cudaGraph_t graph = nullptr;
    Entry entry{std::move(name), nullptr, {}};
    require(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < launches_; ++i) require(launch(i, stream_));
    require(cudaStreamEndCapture(stream_, &graph));
    require(cudaGraphInstantiate(&entry.graph, graph, 0));
    cudaGraphDestroy(graph);
    entries_.push_back(std::move(entry));
  }

  // report(name, microseconds of one launch)
  void run(const std::function<void(const std::string&, double)>& report, int rounds = 5) {
    for (int round = 0; round < rounds; ++round) {
      for (Entry& e : entries_) measure(e, round > 0);
    }
    for (Entry& e : entries_) {
      std::sort(e.times.begin(), e.times.end());
      report(e.name, e.times[e.times.size() / 2]);
    }
  }

  // Each for `seconds`, after a third of them to warm up; report(name, microseconds and millijoules
  // of one launch), 0 mJ where the driver has no counter.
  void keep_up(double seconds,
               const std::function<void(const std::string&, double, double)>& report) {
    const auto energy = GpuEnergy::open(gpu_bus_id(0));
    for (Entry& e : entries_) {
      repeat(e, seconds / 3);
      const double before = energy ? energy->joules() : 0;
      const auto [launches, took] = repeat(e, seconds);
      const double joules = energy ? energy->joules() - before : 0;
      report(e.name, took / launches * 1e6, joules / launches * 1e3);
    }
  }

 private:
  struct Entry {
    std::string name;
    cudaGraphExec_t graph;
    std::vector<double> times;
  };
  // How many launches, and their seconds.
  std::pair<double, double> repeat(const Entry& e, double seconds) {
    const auto begin = std::chrono::steady_clock::now();
    double launches = 0, took = 0;
    while (took < seconds) {
      require(cudaGraphLaunch(e.graph, stream_));
      require(cudaGraphLaunch(e.graph, stream_));
      require(cudaStreamSynchronize(stream_));
      launches += 2.0 * launches_;
      took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    return {launches, took};
  }
  void measure(Entry& e, bool keep) {
    cudaEvent_t events[5];
    for (cudaEvent_t& event : events) require(cudaEventCreate(&event));
    for (cudaEvent_t& event : events) {
      require(cudaEventRecord(event, stream_));
      if (&event != &events[4]) require(cudaGraphLaunch(e.graph, stream_));
    }
    require(cudaStreamSynchronize(stream_));
    for (int i = 0; i < 4 && keep; ++i) {
      float ms = 0;
      require(cudaEventElapsedTime(&ms, events[i], events[i + 1]));
      e.times.push_back(static_cast<double>(ms) * 1e3 / launches_);
    }
    for (cudaEvent_t& event : events) cudaEventDestroy(event);
  }

  int launches_;
  cudaStream_t stream_ = nullptr;
  std::vector<Entry> entries_;
};

}  // namespace spate::bench
