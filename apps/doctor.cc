// spate doctor: what this machine offers and what stands in the way of speed.
#include <chrono>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/options.h"
#include "bench/ceilings.h"
#include "bench/stopwatch.h"
#include "device/buffer.h"
#include "device/device.h"
#include "device/gpu.h"
#include "engine/memory_plan.h"

namespace spate::apps {
namespace {

std::string first_line_with(const char* path, std::string_view key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with(key)) continue;
    const std::size_t at = line.find(':');
    return at == std::string::npos ? line : line.substr(line.find_first_not_of(" \t", at + 1));
  }
  return "unknown";
}

/// Seconds to touch one GiB of fresh memory: what a first packed model or a first cache block pays.
double fresh_memory_seconds_per_gib() {
  constexpr std::int64_t kBytes = std::int64_t{128} << 20;
  Result<Buffer> buffer = Buffer::reserve_host(kBytes);
  if (!buffer) return 0.0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < kBytes; i += 4096) buffer->data()[i] = std::byte{1};
  return bench::seconds_since(begin) * static_cast<double>(std::int64_t{1} << 30) / kBytes;
}

/// GB/s of a plain read by all workers.
double read_bandwidth(Device& device) {
  Result<bench::CeilingMeter> meter = bench::CeilingMeter::create(device);
  if (!meter) return 0.0;
  meter->sample();
  return meter->ceilings().read_bytes / 1e9;
}

/// Microseconds to hand work to all workers and get it back.
double dispatch_us(Device& device) {
  constexpr int kRounds = 20000;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) device.pool().run([](int) {});
  return bench::seconds_since(begin) * 1e6 / kRounds;
}

/// The first GPU, or why there is none.
std::string gpu_line() {
  const Result<std::unique_ptr<Gpu>> gpu = Gpu::open(0);
  if (!gpu) return gpu.error().message;
  return fmt::format("{}, {} of {} free", (*gpu)->name(), human_bytes((*gpu)->free_bytes()),
                     human_bytes((*gpu)->total_bytes()));
}

int doctor() {
  const std::unique_ptr<Device> device = Device::cpu();
  const auto line = [](const char* what, const std::string& value) {
    fmt::print("{:<28}{}\n", what, value);
  };
  line("processor", first_line_with("/proc/cpuinfo", "model name"));
  line("cores", fmt::format("{} of {} usable by this process", usable_cores(),
                            std::thread::hardware_concurrency()));
  line("instruction set", std::string(name_of(device->isa())));
  line("memory available", human_bytes(available_memory()));
  line("memory read", fmt::format("{:.1f} GB/s", read_bandwidth(*device)));
  const double fresh = fresh_memory_seconds_per_gib();
  line("first touch of memory", fmt::format("{:.2f} s per GiB", fresh));
  const double dispatch = dispatch_us(*device);
  line("work to threads and back", fmt::format("{:.2f} us", dispatch));
  line("GPU", gpu_line());
  const Result<std::string> model = resolve_model("");
  line("built-in model", model ? *model : model.error().message);

  if (fresh > 1.0) {
    fmt::print(
        "! fresh memory is slow here (a virtual machine?): the first minutes of a new "
        "model pay for it\n");
  }
  if (dispatch > 5.0) {
    fmt::print(
        "! handing work to threads is slow: are there fewer free cores than threads? try "
        "--threads {}\n",
        std::max(1, usable_cores() - 1));
  }
  if (device->isa() != CpuIsa::kAvx512) {
    fmt::print(
        "! no AVX-512 with VNNI and BF16: quantized and bf16 weights run on slower "
        "instructions\n");
  }
  return model ? kDone : kFailed;
}

}  // namespace

void add_doctor(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("doctor", "what this machine offers, and what is in the way");
  command->callback([&exit_code] { exit_code = doctor(); });
}

}  // namespace spate::apps
