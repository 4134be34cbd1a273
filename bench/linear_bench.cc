// Linear maps against the machine's ceilings, measured in the same run and alternating with them:
// the neighbours of a shared host take bandwidth and time away within seconds. Weights rotate over
// more memory than the caches hold.
//
//   linear_bench [threads] [k] [n] [milliseconds per case] [1: with AMX, 0: without]

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <vector>

#include <fmt/format.h>

#include "device/arena.h"
#include "device/device.h"
#include "ops/cpu/peaks.h"
#include "ops/linear.h"
#include "quant/matrix.h"

namespace spate {
namespace {

/// Time of this thread when it is the only worker, so that what a busy host takes away does not
/// count; wall time otherwise.
class Clock {
 public:
  explicit Clock(int threads) : id_(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC) {}
  double now() const {
    timespec t{};
    clock_gettime(id_, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }

 private:
  clockid_t id_;
};

struct Options {
  int threads = 0;
  std::int64_t k = 2048;
  std::int64_t n = 5632;
  double seconds = 0.2;
  bool amx = amx_available();
};

/// What one machine can do at best, in this run.
class Ceilings {
 public:
  explicit Ceilings(Device& device)
      : device_(device), clock_(device.pool().size()), kernels_(ops::cpu::peak_kernels(device)) {}

  double int8_ops() { return best(kernels_.int8_rounds); }
  double bf16_ops() { return best(kernels_.bf16_rounds); }
  /// Seconds of one plain read of `n_bytes`, split over the workers.
  double read_seconds(const std::byte* p, std::int64_t n_bytes) {
    const double start = clock_.now();
    device_.pool().run([&](int worker) {
      const std::int64_t share = n_bytes / device_.pool().size() / 4096 * 4096;
      kernels_.read_bytes(reinterpret_cast<const std::uint8_t*>(p) + worker * share, share);
    });
    return clock_.now() - start;
  }

 private:
  double best(double (*rounds)(std::int64_t)) {
    double fastest = 0;
    for (int i = 0; i < 40; ++i) {
      std::vector<double> operations(static_cast<std::size_t>(device_.pool().size()));
      const double start = clock_.now();
      device_.pool().run(
          [&](int worker) { operations[static_cast<std::size_t>(worker)] = rounds(20000); });
      double sum = 0;
      for (const double o : operations) sum += o;
      fastest = std::max(fastest, sum / (clock_.now() - start));
    }
    return fastest;
  }

  Device& device_;
  Clock clock_;
  ops::cpu::PeakKernels kernels_;
};

/// Copies of one matrix, more of them than caches hold.
struct Rotation {
  Rotation(WeightFormat format, const Options& o, const std::vector<std::uint16_t>& weights)
      : sources(panels_of(
            Tensor(const_cast<std::uint16_t*>(weights.data()), DType::kBF16, {o.n, o.k}))) {
    constexpr std::int64_t kEnough = std::int64_t{320} << 20;
    const Matrix one(format, DType::kBF16, o.k, sources);
    const std::int64_t copies = kEnough / one.packed_bytes() + 1;
    memory = Buffer::reserve_host(copies * one.packed_bytes()).value();
    for (std::int64_t i = 0; i < copies; ++i) {
      matrices.emplace_back(format, DType::kBF16, o.k, sources);
      Matrix& m = matrices.back();
      m.set_storage(memory.data() + i * one.packed_bytes());
    }
  }
  void pack(Device& device) {
    device.pool().run([&](int) {
      const auto n = static_cast<std::int64_t>(matrices.size());
      for (std::int64_t i = device.pool().take(); i < n; i = device.pool().take()) {
        Matrix& m = matrices[static_cast<std::size_t>(i)];
        m.pack_panels(device.isa(), 0, m.n_panels());
        m.mark_packed();
      }
    });
  }
  std::vector<PanelSource> sources;
  std::vector<Matrix> matrices;
  Buffer memory;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

struct Case {
  WeightFormat format;
  std::int64_t rows;
  double peak;
};

void measure(Device& device, Arena& arena, Rotation& rotation, const Options& o, const Case& c) {
  Ceilings ceilings(device);
  std::vector<float> x(static_cast<std::size_t>(c.rows * o.k));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8.0F;
  std::vector<float> y(static_cast<std::size_t>(c.rows * o.n));
  const Rows rows{.values = Tensor(x.data(), DType::kF32, {c.rows, o.k})};
  const Tensor out(y.data(), DType::kF32, {c.rows, o.n});
  std::vector<double> times;
  std::vector<double> shares;
  std::size_t next = 0;
  const Clock clock(device.pool().size());
  const double start = clock.now();
  while (clock.now() - start < o.seconds || times.size() < 4) {
    const double begin = clock.now();
    ops::matmul(device, arena, out, rows, rotation.matrices[next]);
    times.push_back(clock.now() - begin);
    next = (next + 1) % rotation.matrices.size();
    const Matrix& m = rotation.matrices[next];
    if (c.rows <= 16)
      shares.push_back(ceilings.read_seconds(m.panels(), m.packed_bytes()) / times.back());
    next = (next + 1) % rotation.matrices.size();
  }
  const double operations = 2.0 * static_cast<double>(c.rows * o.n * o.k);
  const double best = *std::min_element(times.begin(), times.end());
  const double middle = median(times);
  fmt::print(
      "{:5} rows {:4}: {:9.1f} us (best {:9.1f}), {:7.1f} GOP/s = {:5.1f} % of peak (best {:5.1f} "
      "%)",
      name_of(c.format), c.rows, middle * 1e6, best * 1e6, operations / middle / 1e9,
      100 * operations / middle / c.peak, 100 * operations / best / c.peak);
  if (!shares.empty()) {
    fmt::print(", {:5.1f} GB/s = {:4.0f} % of a plain read",
               static_cast<double>(rotation.matrices[0].packed_bytes()) / middle / 1e9,
               100 * median(shares));
  }
  fmt::print("\n");
}

void run(const Options& o) {
  const auto device = Device::cpu({.threads = {.threads = o.threads}, .amx = o.amx});
  Arena arena(Buffer::reserve_host(std::int64_t{64} << 20).value());
  const Clock clock(device->pool().size());
  Ceilings ceilings(*device);
  const double int8_peak = ceilings.int8_ops();
  const double bf16_peak = ceilings.bf16_ops();
  fmt::print("{} on {} threads, k {}, n {}: int8 {:.0f} GOP/s, bf16 {:.0f} GFLOP/s\n",
             name_of(device->isa()), device->pool().size(), o.k, o.n, int8_peak / 1e9,
             bf16_peak / 1e9);
  std::vector<std::uint16_t> weights(static_cast<std::size_t>(o.n * o.k));
  std::uint32_t random = 1;
  for (auto& w : weights) {
    random = random * 1664525U + 1013904223U;
    w = static_cast<std::uint16_t>(0x3c00U | (random >> 31U << 15U) | ((random >> 16U) & 0xffU));
  }
  for (const WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4, WeightFormat::kBF16}) {
    Rotation rotation(format, o, weights);
    for (int pass = 0; pass < 2; ++pass) {
      const double start = clock.now();
      rotation.pack(*device);
      const double weights_packed =
          static_cast<double>(o.n * o.k) * static_cast<double>(rotation.matrices.size());
      fmt::print("{:5} packing {}: {:.2f} G weights/s\n", name_of(format),
                 pass == 0 ? "into fresh memory" : "into touched memory",
                 weights_packed / (clock.now() - start) / 1e9);
    }
    for (const std::int64_t rows : {1, 2, 4, 8, 16, 32, 128, 512}) {
      measure(*device, arena, rotation, o,
              {format, rows, format == WeightFormat::kBF16 ? bf16_peak : int8_peak});
    }
  }
}

}  // namespace
}  // namespace spate

int main(int argc, char** argv) {
  spate::Options options;
  if (argc > 1) options.threads = std::atoi(argv[1]);
  if (argc > 2) options.k = std::atoll(argv[2]);
  if (argc > 3) options.n = std::atoll(argv[3]);
  if (argc > 4) options.seconds = std::atof(argv[4]) / 1000;
  if (argc > 5) options.amx = options.amx && std::atoi(argv[5]) != 0;
  spate::run(options);
}
