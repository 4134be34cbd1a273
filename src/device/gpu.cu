#include <cuda_runtime.h>

#include "device/buffer.h"
#include "device/device.h"
#include "device/gpu.h"
#include "device/gpu_timeline.h"
#include "spate/kernels/cuda/cluster.cuh"

namespace spate {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw DeviceError(std::string("the GPU failed: ") + what + ": " + cudaGetErrorString(error));
}

__global__ void probe_kernel() {}

/// 13020 is written 13.2.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// What is missing where there is no GPU to use.
Error no_gpu(cudaError_t found) {
  int driver = 0;  // stays 0 where there is none
  cudaDriverGetVersion(&driver);
  std::string missing = std::string("no GPU to use: ") + cudaGetErrorString(found);
  if (found == cudaErrorInsufficientDriver && driver == 0) {
    missing = "no NVIDIA driver on this machine: install it";
  } else if (found == cudaErrorInsufficientDriver) {
    missing = "the NVIDIA driver here runs CUDA up to " + version_text(driver) +
              ", this program needs " + version_text(CUDART_VERSION) + ": update it";
  } else if (found == cudaSuccess || found == cudaErrorNoDevice) {
    missing = "no GPU to use: the NVIDIA driver shows none to this process";
  }
  return {ErrorCode::kUnsupported, missing + ", or use --device cpu"};
}

Error refused(std::int64_t n_bytes, const char* what) {
  cudaGetLastError();
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  return {ErrorCode::kOutOfMemory,
          "the GPU refused " + std::to_string(n_bytes) + " bytes of " + what + " (" +
              std::to_string(free) + " of " + std::to_string(total) +
              " are free); use a smaller --kv-memory or --max-batch-tokens"};
}

}  // namespace

int code_architecture() { return cuda::kernel_architecture(probe_kernel); }

std::string gpu_bus_id(int ordinal) {
  char id[32] = {};
  return cudaDeviceGetPCIBusId(id, sizeof(id), ordinal) == cudaSuccess ? id : "";
}

Result<std::unique_ptr<Gpu>> Gpu::open(int ordinal) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || count == 0) return no_gpu(found);
  if (ordinal < 0 || ordinal >= count) {
    return Error{ErrorCode::kInvalidArgument,
                 "--device cuda:" + std::to_string(ordinal) +
                     ": this machine has cuda:0 to cuda:" + std::to_string(count - 1)};
  }
  std::unique_ptr<Gpu> gpu(new Gpu);
  cudaDeviceProp properties{};
  cudaError_t error = cudaSetDevice(ordinal);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, ordinal);
  if (error == cudaSuccess && code_architecture() == 0) {
    cudaGetLastError();
    return Error{ErrorCode::kUnsupported,
                 std::string(properties.name) + " has compute capability " +
                     std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                     ", for which this program has no code; build it with "
                     "-DSPATE_CUDA_ARCHITECTURES=" +
                     std::to_string(properties.major) + std::to_string(properties.minor) +
                     " (80 and later), or use --device cpu"};
  }
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&gpu->stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    return Error{ErrorCode::kUnsupported, "cuda:" + std::to_string(ordinal) + " cannot be used: " +
                                              cudaGetErrorString(error) + "; use --device cpu"};
  }
  gpu->name_ = properties.name;
  gpu->multiprocessors_ = properties.multiProcessorCount;
  gpu->architecture_ = code_architecture();
  gpu->dependent_launch_ = gpu->architecture_ >= 90;
  return std::move(gpu);  // nvcc does not move it into the Result by itself
}

Gpu::Gpu() : timeline_(std::make_unique<GpuTimeline>(*this)) {}

Gpu::~Gpu() {
  timeline_.reset();
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

std::int64_t Gpu::total_bytes() const {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for its memory");
  return static_cast<std::int64_t>(total);
}

std::int64_t Gpu::free_bytes() const {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for its memory");
  return static_cast<std::int64_t>(free);
}

void Gpu::copy(void* to, const void* from, std::int64_t n_bytes) {
  if (n_bytes == 0) return;
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(n_bytes), cudaMemcpyDefault, stream_),
        "a copy");
}

void Gpu::fill_zero(void* at, std::int64_t n_bytes) {
  if (n_bytes == 0) return;
  check(cudaMemsetAsync(at, 0, static_cast<std::size_t>(n_bytes), stream_), "a fill");
}

void Gpu::wait() { check(cudaStreamSynchronize(stream_), "a step"); }

GpuEvent::GpuEvent() { check(cudaEventCreate(&event_), "making an event"); }
GpuEvent::~GpuEvent() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}
void GpuEvent::record(Gpu& gpu) {
  check(cudaEventRecord(event_, gpu.stream()), "recording an event");
}
void GpuEvent::wait() const { check(cudaEventSynchronize(event_), "a step"); }
double GpuEvent::seconds_since(const GpuEvent& earlier) const {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, earlier.event_, event_), "reading an event");
  return 1e-3 * static_cast<double>(ms);
}

GpuGraph::~GpuGraph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}

GpuRecording::GpuRecording(Gpu& gpu) : gpu_(gpu) {
  check(cudaStreamBeginCapture(gpu.stream(), cudaStreamCaptureModeThreadLocal),
        "beginning a recording");
}

GpuRecording::~GpuRecording() {
  if (finished_) return;
  cudaGraph_t captured = nullptr;
  cudaStreamEndCapture(gpu_.stream(), &captured);
  if (captured != nullptr) cudaGraphDestroy(captured);
}

GpuGraph GpuRecording::finish() {
  finished_ = true;
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(gpu_.stream(), &captured), "ending a recording");
  GpuGraph graph;
  const cudaError_t error = cudaGraphInstantiate(&graph.graph_, captured, 0);
  cudaGraphDestroy(captured);
  check(error, "making a graph");
  return graph;
}

void GpuGraph::launch(Gpu& gpu) {
  check(cudaGraphLaunch(graph_, gpu.stream()), "launching a graph");
}

Result<std::unique_ptr<Device>> Device::cuda(int ordinal, const CpuOptions& host) {
  Result<std::unique_ptr<Gpu>> gpu = Gpu::open(ordinal);
  if (!gpu) return gpu.error();
  std::unique_ptr<Device> device = Device::cpu(host);
  device->kind_ = DeviceKind::kCuda;
  device->gpu_ = std::move(*gpu);
  return std::move(device);
}

Result<Buffer> Buffer::reserve_gpu(std::int64_t n_bytes) {
  if (n_bytes == 0) return Buffer();
  void* data = nullptr;
  if (cudaMalloc(&data, static_cast<std::size_t>(n_bytes)) != cudaSuccess)
    return refused(n_bytes, "its memory");
  return Buffer(static_cast<std::byte*>(data), n_bytes,
                [](std::byte* p, std::int64_t) { cudaFree(p); });
}

Result<Buffer> Buffer::reserve_pinned(std::int64_t n_bytes) {
  if (n_bytes == 0) return Buffer();
  void* data = nullptr;
  if (cudaHostAlloc(&data, static_cast<std::size_t>(n_bytes), cudaHostAllocMapped) != cudaSuccess)
    return refused(n_bytes, "page-locked host memory");
  return Buffer(static_cast<std::byte*>(data), n_bytes,
                [](std::byte* p, std::int64_t) { cudaFreeHost(p); });
}

}  // namespace spate
