// spate bench: how fast this machine runs a model, and how far from its limits that is.
#include "apps/bench.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "apps/commands.h"
#include "device/gpu.h"
#include "engine/options.h"

namespace spate::apps {
namespace {

std::string best_isa_name() {
  const CpuIsa best = best_cpu_isa();
  return best == CpuIsa::kAvx512 && amx_available() ? "amx" : std::string(name_of(best));
}

std::string processor_name() {
  const Result<std::string> text = read_file("/proc/cpuinfo");
  if (!text) return "unknown processor";
  constexpr std::string_view kKey = "model name\t: ";
  const std::size_t at = text->find(kKey);
  if (at == std::string::npos) return "unknown processor";
  const std::size_t begin = at + kKey.size();
  return text->substr(begin, text->find('\n', begin) - begin);
}

/// The first column to the left, figures to the right.
void print_table(const bench::Table& table) {
  std::vector<std::size_t> widths;
  for (const std::string& h : table.head) widths.push_back(h.size());
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto print_row = [&](const std::vector<std::string>& row) {
    std::string line = fmt::format("{:<{}}", row[0], widths[0]);
    for (std::size_t i = 1; i < row.size(); ++i) {
      line += fmt::format("  {:>{}}", row[i], widths[i]);
    }
    fmt::print("{}\n", line);
  };
  fmt::print("{}\n", table.title);
  print_row(table.head);
  for (const auto& row : table.rows) print_row(row);
  fmt::print("\n");
}

}  // namespace

void add_bench_options(CLI::App& command, BenchOptions& o) {
  command.add_option("--repeat", o.repeat, "measure so often; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_flag("--json", o.json, "for programs");
  command.add_option("--report", o.report, "write a page with charts to this HTML file");
  add_engine_options(command, o.engine);
}

void add_phase_options(CLI::App& command, PhaseOptions& o) {
  command.add_option("--prompt-len", o.prompt_len, "tokens of the prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--output-len", o.output_len, "decoding steps that are timed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--batch", o.batches, "sequences that decode at once, e.g. 1,16")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--depth", o.depth, "tokens already in the cache of each sequence")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

Result<std::unique_ptr<Device>> bench_device(const EngineOptions& o) {
  const Result<EngineChoices> choices = parse_options(o);
  if (!choices) return choices.error();
  const CpuOptions host{
      .threads = {.threads = o.threads}, .isa = choices->isa, .amx = choices->amx};
  if (!choices->gpu) return Device::cpu(host);
  Result<std::unique_ptr<Device>> device = Device::cuda(*choices->gpu, host);
  if (!device) return device;
  Gpu& gpu = *(*device)->gpu();
  const ComputeDType compute = choices->load.params.compute.value_or(ComputeDType::kBF16);
  gpu.set_deterministic(deterministic_on(gpu.architecture(), *choices, compute));
  return device;
}

std::string figure(double value) {
  const double size = std::abs(value);
  if (size >= 100.0) return fmt::format("{:.0f}", value);
  if (size >= 10.0) return fmt::format("{:.1f}", value);
  return size >= 1.0 || size == 0.0 ? fmt::format("{:.2f}", value) : fmt::format("{:.3g}", value);
}

std::vector<std::string> summary_row(const std::string& name, const bench::Summary& s) {
  return {name, figure(s.median), figure(s.min), figure(s.max)};
}

Json summary_json(const bench::Summary& s) {
  return {{"median", s.median}, {"min", s.min}, {"max", s.max}};
}

Json setup_json(const BenchOptions& o, const ModelInfo& info) {
  return {{"version", SPATE_VERSION},
          {"processor", processor_name()},
          {"threads", o.engine.threads > 0 ? o.engine.threads : usable_cores()},
          {"isa", o.engine.isa == "auto" ? best_isa_name() : o.engine.isa},
          {"model", info.path},
          {"parameters", info.parameters},
          {"weights", info.weights},
          {"weight_bytes", info.weight_bytes},
          {"kv_dtype", info.kv_dtype},
          {"kv_cache", info.kv_cache},
          {"device", info.device},
          {"max_batch_tokens", info.max_batch_tokens},
          {"deterministic", info.deterministic},
          {"repeat", o.repeat}};
}

/// "" on the CPU, else the GPU's name and "with".
std::string info_device(const Json& setup) {
  const auto device = setup["device"].get<std::string>();
  return device == "cpu" ? "" : device + " with ";
}

int publish(const BenchOptions& o, const Json& json, bench::Report report) {
  const Json& setup = json["setup"];
  report.subtitle = fmt::format(
      "{} ({:.1f} M parameters, weights {}, {} cache), spate {} on {}{}, {} threads, {}",
      setup["model"].get<std::string>(), setup["parameters"].get<double>() / 1e6,
      setup["weights"] == "auto" ? "as stored" : setup["weights"].get<std::string>(),
      setup["kv_dtype"].get<std::string>(), SPATE_VERSION, info_device(setup),
      setup["processor"].get<std::string>(), setup["threads"].get<int>(),
      setup["isa"].get<std::string>());
  if (o.json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}\n\n", report.subtitle);
    for (const bench::Table& table : report.tables) print_table(table);
  }
  if (o.report.empty()) return kDone;
  const Result<void> written = bench::write_report(o.report, report);
  return written ? kDone : fail(written.error());
}

void add_bench(CLI::App& program, int& exit_code) {
  CLI::App* bench = program.add_subcommand(
      "bench", "measures: throughput, latency, single operators, distance from the limits");
  bench->require_subcommand(1);
  add_bench_throughput(*bench, exit_code);
  add_bench_latency(*bench, exit_code);
  add_bench_kernels(*bench, exit_code);
  add_bench_roofline(*bench, exit_code);
}

}  // namespace spate::apps
