// spate bench kernels: each operator of a model's shapes alone.
#include <fmt/format.h>

#include "apps/bench.h"
#include "bench/ceilings.h"
#include "bench/kernels.h"
#include "engine/options.h"

namespace spate::apps {
namespace {

using bench::Ceilings;
using bench::KernelResult;

/// What the engine would make of these options.
Result<bench::KernelOptions> kernel_options(const BenchOptions& o, const ModelInfo& info) {
  const Result<EngineChoices> choices = parse_options(o.engine);
  if (!choices) return choices.error();
  const Result<HfConfig> config = HfConfig::load(info.path);
  if (!config) return config.error();
  return bench::KernelOptions{.shape = config->decoder_shape(),
                              .params = choices->load.params,
                              .stored = config->dtype().value_or(DType::kBF16),
                              .kv_dtype = dtype_named(info.kv_dtype).value_or(DType::kI8),
                              .case_seconds = 0.04 * static_cast<double>(o.repeat)};
}

bench::Table table_of(const std::vector<KernelResult>& results, const Ceilings& c) {
  bench::Table table{
      .title = fmt::format("operators alone; in this run {:.1f} GB/s, int8 {:.0f} GOP/s, bf16 "
                           "{:.0f} GFLOP/s, f32 {:.0f} GFLOP/s",
                           c.read_bytes / 1e9, c.int8_operations / 1e9, c.bf16_operations / 1e9,
                           c.f32_operations / 1e9),
      .head = {"", "us", "GB/s", "GOP/s", "limit us", "share of limit"}};
  for (const KernelResult& r : results) {
    const double limit = c.seconds(r.cost);
    table.rows.push_back({fmt::format("{}: {}", r.name, r.shape), figure(r.seconds * 1e6),
                          figure(r.cost.n_bytes / r.seconds / 1e9),
                          figure(r.cost.operations / r.seconds / 1e9), figure(limit * 1e6),
                          fmt::format("{:.0f} %", 100.0 * limit / r.seconds)});
  }
  return table;
}

bench::RooflineChart chart_of(const std::vector<KernelResult>& results, const Ceilings& c) {
  bench::RooflineChart chart{
      .title = "roofline",
      .bytes = c.read_bytes,
      .ceilings = {
          {"int8", c.int8_operations}, {"bf16", c.bf16_operations}, {"f32", c.f32_operations}}};
  for (const KernelResult& r : results) {
    chart.points.push_back({.group = r.name,
                            .name = r.shape,
                            .intensity = r.cost.operations / r.cost.n_bytes,
                            .operations = r.cost.operations / r.seconds});
  }
  return chart;
}

Json json_of(const BenchOptions& o, const ModelInfo& info, const std::vector<KernelResult>& results,
             const Ceilings& c) {
  Json json = {{"benchmark", "kernels"},
               {"setup", setup_json(o, info)},
               {"ceilings",
                {{"read_bytes_per_second", c.read_bytes},
                 {"int8_operations_per_second", c.int8_operations},
                 {"bf16_operations_per_second", c.bf16_operations},
                 {"f32_operations_per_second", c.f32_operations}}},
               {"operators", Json::array()}};
  for (const KernelResult& r : results) {
    json["operators"].push_back({{"name", r.name},
                                 {"shape", r.shape},
                                 {"seconds", r.seconds},
                                 {"bytes", r.cost.n_bytes},
                                 {"operations", r.cost.operations},
                                 {"arithmetic", name_of(r.cost.arithmetic)},
                                 {"limit_seconds", c.seconds(r.cost)}});
  }
  return json;
}

int kernels(BenchOptions o) {
  if (const Result<void> cpu = only_on_cpu("kernels", o); !cpu) return fail(cpu.error());
  const Result<std::string> path = resolve_model(o.engine.model);
  if (!path) return fail(path.error());
  o.engine.model = *path;
  const Result<ModelInfo> info = Engine::inspect(o.engine);
  if (!info) return fail(info.error());
  const Result<bench::KernelOptions> options = kernel_options(o, *info);
  if (!options) return fail(options.error());
  const std::unique_ptr<Device> device = bench_device(o.engine);
  Result<bench::CeilingMeter> meter = bench::CeilingMeter::create(*device);
  if (!meter) return fail(meter.error());
  const auto results = bench::measure_kernels(*device, *options, [&] { meter->sample(); });
  if (!results) return fail(results.error());
  const Ceilings c = meter->ceilings();
  return publish(o, json_of(o, *info, *results, c),
                 {.title = "spate bench kernels",
                  .tables = {table_of(*results, c)},
                  .rooflines = {chart_of(*results, c)}});
}

}  // namespace

void add_bench_kernels(CLI::App& bench, int& exit_code) {
  CLI::App* command =
      bench.add_subcommand("kernels", "each operator of the model's shapes alone, near its limit");
  auto o = std::make_shared<BenchOptions>();
  add_bench_options(*command, *o);
  command->callback([o, &exit_code] { exit_code = kernels(*o); });
}

}  // namespace spate::apps
