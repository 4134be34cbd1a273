// Memory and time of a measurement on a stream. For .cu files.
#pragma once

#include <cstdint>
#include <optional>

#include <cuda_runtime.h>

namespace spate::ops::cuda {

/// Whether what is launched there becomes part of a graph and does not run: nothing can be
/// measured.
inline bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &status) != cudaSuccess ||
         status != cudaStreamCaptureStatusNone;
}

/// Device memory for the time of a measurement; null when there is none to spare.
class Temporary {
 public:
  explicit Temporary(std::int64_t n_bytes) {
    if (cudaMalloc(&data_, static_cast<std::size_t>(n_bytes)) != cudaSuccess) {
      data_ = nullptr;
      (void)cudaGetLastError();
    }
  }
  ~Temporary() { cudaFree(data_); }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    cudaEventCreate(&begin_);
    cudaEventCreate(&end_);
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  void start() { cudaEventRecord(begin_, stream_); }
  std::optional<float> stop_ms() {
    cudaEventRecord(end_, stream_);
    float ms = 0;
    if (cudaEventSynchronize(end_) != cudaSuccess) return std::nullopt;
    if (cudaEventElapsedTime(&ms, begin_, end_) != cudaSuccess) return std::nullopt;
    return ms;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace spate::ops::cuda
