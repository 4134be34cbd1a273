// What the engine asks of a GPU besides kernels: its properties, copies, events, graphs. A build
// without CUDA has the same names (gpu_nocuda.cc); there no Gpu can be made.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "spate/result.h"

struct CUstream_st;  // cudaStream_t is a pointer to it
struct CUevent_st;
struct CUgraphExec_st;

namespace spate {

class GpuTimeline;  // device/gpu_timeline.h

/// The device failed (an illegal access, a lost GPU): nothing that was on it can be trusted.
/// Thrown; the engine's loop ends its requests with the message.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// For what must not fail on a device that works: the value, or a DeviceError with the message.
template <class T>
T device_value(Result<T> result) {
  if (!result) throw DeviceError(result.error().message);
  return std::move(*result);
}
inline void device_done(const Result<void>& result) {
  if (!result) throw DeviceError(result.error().message);
}

/// Compute capability (times ten: 90 is Hopper) that the kernels were compiled for which the
/// current device runs: less than its own where it translates code for an earlier one. 0: none
/// runs.
int code_architecture();

/// Address of the GPU on the PCI bus, as its driver writes it: "0000:3B:00.0". Empty: no such GPU.
std::string gpu_bus_id(int ordinal);

/// What a layer above keeps for each GPU (a library's handle, its workspace). Made on first use.
class GpuExtension {
 public:
  GpuExtension() = default;
  GpuExtension(const GpuExtension&) = delete;
  GpuExtension& operator=(const GpuExtension&) = delete;
  virtual ~GpuExtension() = default;
};

/// One GPU and the stream that all operators of its engine use. Owned by its Device; engine thread.
class Gpu {
 public:
  static Result<std::unique_ptr<Gpu>> open(int ordinal);
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;
  ~Gpu();

  const std::string& name() const { return name_; }
  int multiprocessors() const { return multiprocessors_; }
  /// code_architecture() of this device.
  int architecture() const { return architecture_; }
  CUstream_st* stream() const { return stream_; }
  std::int64_t total_bytes() const;
  std::int64_t free_bytes() const;

  /// Enqueues a copy in any direction. Pageable host memory makes it wait.
  void copy(void* to, const void* from, std::int64_t n_bytes);
  void fill_zero(void* at, std::int64_t n_bytes);
  /// Waits for everything enqueued.
  void wait();
  std::unique_ptr<GpuExtension>& extension() { return extension_; }
  GpuTimeline& timeline() { return *timeline_; }
  /// Launches may overlap with the end of their predecessor (programmatic stream serialization).
  bool dependent_launch() const { return dependent_launch_; }
  /// Operators give a row the same bits whatever rows are beside it. Set before the first one.
  bool deterministic() const { return deterministic_; }
  void set_deterministic(bool on) { deterministic_ = on; }

 private:
  Gpu();
  std::string name_;
  int multiprocessors_ = 0;
  int architecture_ = 0;
  bool dependent_launch_ = true;
  bool deterministic_ = false;
  CUstream_st* stream_ = nullptr;
  std::unique_ptr<GpuExtension> extension_;
  std::unique_ptr<GpuTimeline> timeline_;
};

/// A moment of the stream that the host can wait for.
class GpuEvent {
 public:
  GpuEvent();
  GpuEvent(GpuEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  GpuEvent(const GpuEvent&) = delete;
  GpuEvent& operator=(const GpuEvent&) = delete;
  GpuEvent& operator=(GpuEvent&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~GpuEvent();
  void record(Gpu& gpu);
  void wait() const;
  /// From an earlier moment to this one, both past.
  double seconds_since(const GpuEvent& earlier) const;

 private:
  CUevent_st* event_ = nullptr;
};

/// Launches recorded once and replayed with one call.
class GpuGraph {
 public:
  GpuGraph() = default;
  GpuGraph(GpuGraph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  GpuGraph(const GpuGraph&) = delete;
  GpuGraph& operator=(const GpuGraph&) = delete;
  GpuGraph& operator=(GpuGraph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~GpuGraph();
  void launch(Gpu& gpu);
  explicit operator bool() const { return graph_ != nullptr; }

 private:
  friend class GpuRecording;
  CUgraphExec_st* graph_ = nullptr;
};

/// While one lives, what is put on the stream is recorded and does not run.
class GpuRecording {
 public:
  explicit GpuRecording(Gpu& gpu);
  GpuRecording(const GpuRecording&) = delete;
  GpuRecording& operator=(const GpuRecording&) = delete;
  /// Drops the recording unless it was finished.
  ~GpuRecording();
  GpuGraph finish();

 private:
  Gpu& gpu_;
  bool finished_ = false;
};

}  // namespace spate
