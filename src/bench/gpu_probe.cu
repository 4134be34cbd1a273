#include <algorithm>
#include <chrono>
#include <thread>

#include <cuda_runtime.h>

#include "bench/gpu_probe.h"
#include "device/buffer.h"
#include "device/gpu.h"
#include "ops/cuda/gemm_lt.h"
#include "quant/device_matrix.h"

namespace spate::bench {
namespace {

constexpr std::int64_t kReadBytes = std::int64_t{1} << 30;  // many times what caches hold
constexpr std::int64_t kSide = 8192, kF32Side = 4096;       // of products
constexpr std::int64_t kMatrixBytes = kSide * kSide * 2;

void check(cudaError_t error) {
  if (error != cudaSuccess)
    throw DeviceError(std::string("measuring the GPU: ") + cudaGetErrorString(error));
}

__global__ void __launch_bounds__(512)
    read_kernel(const uint4* data, std::int64_t n, unsigned* sink) {
  constexpr int kAtOnce = 8;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  unsigned sum = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
       i += kAtOnce * step) {
    uint4 x[kAtOnce];
#pragma unroll
    for (int e = 0; e < kAtOnce; e++)
      x[e] = i + e * step < n ? __ldcs(data + i + e * step) : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int e = 0; e < kAtOnce; e++) sum ^= x[e].x ^ x[e].y ^ x[e].z ^ x[e].w;
  }
  if (sum == 0x9e3779b9U) *sink = sum;  // or the loads would be dropped
}

// One thread looks at both clocks, a millisecond apart.
__global__ void clock_kernel(double* hz) {
  std::uint64_t begin = 0, now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
  const std::int64_t first = clock64();
  do {
    __nanosleep(1000);
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - begin < 1000000);
  *hz = 1e9 * static_cast<double>(clock64() - first) / static_cast<double>(now - begin);
}

}  // namespace

struct GpuProbe::State {
  Gpu& gpu;
  std::unique_ptr<ops::cuda::GemmLt> lt = device_value(ops::cuda::GemmLt::create());
  Buffer read = device_value(Buffer::reserve_gpu(kReadBytes));
  Buffer a = device_value(Buffer::reserve_gpu(kMatrixBytes));
  Buffer w = device_value(Buffer::reserve_gpu(kMatrixBytes));
  Buffer d = device_value(Buffer::reserve_gpu(kMatrixBytes));
  Buffer workspace = device_value(Buffer::reserve_gpu(ops::cuda::kLtWorkspaceBytes));
  Buffer scales = device_value(Buffer::reserve_gpu(kSide * 4));
  Buffer clock = device_value(Buffer::reserve_pinned(64));
  cudaStream_t beside = nullptr;

  explicit State(Gpu& g) : gpu(g) {
    gpu.fill_zero(read.data(), kReadBytes);
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    check(cudaStreamCreateWithPriority(&beside, cudaStreamNonBlocking, greatest));
  }
  ~State() {
    if (beside != nullptr) cudaStreamDestroy(beside);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Calls `once` for about so long; returns calls a second. `meanwhile` is called when half of the
  /// time is over.
  template <class Once, class Meanwhile>
  double rate(double seconds, const Once& once, const Meanwhile& meanwhile) {
    const auto timed = [&](std::int64_t n, bool looks) {
      GpuEvent begin, end;
      begin.record(gpu);
      for (std::int64_t i = 0; i < n; ++i) once();
      end.record(gpu);
      if (looks) std::this_thread::sleep_for(std::chrono::duration<double>(seconds / 2));
      if (looks) meanwhile();
      end.wait();
      return end.seconds_since(begin);
    };
    constexpr std::int64_t kFirst = 4;
    timed(1, false);
    const double each = timed(kFirst, false) / static_cast<double>(kFirst);
    const auto n = std::max(kFirst, static_cast<std::int64_t>(seconds / each));
    return static_cast<double>(n) / timed(n, true);
  }

  void fill(DeviceFormat format, std::int64_t side) {
    for (const Buffer* b : {&a, &w}) {
      DeviceMatrix m{.format = format, .n = side, .k = side, .weights = b->data()};
      m.scales = reinterpret_cast<float*>(scales.data());
      device_done(fill_random(m, {.seed = b == &a ? 1U : 2U}, gpu.stream()));
    }
  }

  double products(DeviceFormat format, DType type, std::int64_t side, double seconds) {
    fill(format, side);
    ops::cuda::LtProblem p{.m = side, .n = side, .k = side, .in = type};
    p.out = type == DType::kF32 ? DType::kF32 : DType::kBF16;
    p.a = a.data();
    p.w = w.data();
    p.d = d.data();
    if (type == DType::kF8E4M3) p.a_scales = p.w_scales = reinterpret_cast<float*>(scales.data());
    const ops::cuda::LtScratch scratch{workspace.data(), workspace.n_bytes(), gpu.stream()};
    const auto cube = static_cast<double>(side) * static_cast<double>(side * side);
    return 2.0 * cube *
           rate(
               seconds, [&] { device_done(lt->run(p, scratch)); }, [&] { look_at_clock(); });
  }

  void look_at_clock() {
    clock_kernel<<<1, 1, 0, beside>>>(reinterpret_cast<double*>(clock.data()));
    check(cudaStreamSynchronize(beside));
  }
  double seen_clock() const { return *reinterpret_cast<const double*>(clock.data()); }

  double reading(double seconds) {
    constexpr int kThreads = 512;
    const auto once = [&] {
      read_kernel<<<static_cast<unsigned>(gpu.multiprocessors() * 4), kThreads, 0, gpu.stream()>>>(
          reinterpret_cast<const uint4*>(read.data()), kReadBytes / 16,
          reinterpret_cast<unsigned*>(scales.data()));
      check(cudaGetLastError());
    };
    return static_cast<double>(kReadBytes) * rate(seconds, once, [] {});
  }
};

GpuProbe::GpuProbe(std::unique_ptr<State> state) : state_(std::move(state)) {}
GpuProbe::~GpuProbe() = default;

Result<std::unique_ptr<GpuProbe>> GpuProbe::create(Device& device) {
  try {
    return std::unique_ptr<GpuProbe>(new GpuProbe(std::make_unique<State>(*device.gpu())));
  } catch (const DeviceError& error) {
    return Error{ErrorCode::kOutOfMemory, error.what()};
  }
}

GpuBurst GpuProbe::sample(double seconds) {
  GpuBurst burst;
  burst.read_bytes = state_->reading(seconds);
  burst.bf16_operations = state_->products(DeviceFormat::kBF16, DType::kBF16, kSide, seconds);
  burst.clock_hz = state_->seen_clock();
  burst.fp8_operations = state_->products(DeviceFormat::kFp8, DType::kF8E4M3, kSide, seconds);
  burst.f32_operations = state_->products(DeviceFormat::kF32, DType::kF32, kF32Side, seconds / 4);
  return burst;
}

}  // namespace spate::bench
