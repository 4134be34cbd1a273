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
  ParamOptions params = choices->load.params;
  if (choices->gpu) params.compute = gpu_compute(params, *config);
  return bench::KernelOptions{.shape = config->decoder_shape(),
                              .params = params,
                              .stored = config->dtype().value_or(DType::kBF16),
                              .kv_dtype = dtype_named(info.kv_dtype).value_or(DType::kI8),
                              .case_seconds = 0.04 * static_cast<double>(o.repeat)};
}

bench::Table table_of(const std::vector<KernelResult>& results, const Ceilings& c) {
  bench::Table table{.title = "operators alone",
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
  bench::RooflineChart chart = roofline_of(c);
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
               {"ceilings", ceilings_json(c)},
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
  const Result<std::string> path = resolve_model(o.engine.model);
  if (!path) return fail(path.error());
  o.engine.model = *path;
  const Result<ModelInfo> info = Engine::inspect(o.engine);
  if (!info) return fail(info.error());
  const Result<bench::KernelOptions> options = kernel_options(o, *info);
  if (!options) return fail(options.error());
  const Result<std::unique_ptr<Device>> device = bench_device(o.engine);
  if (!device) return fail(device.error());
  Result<bench::CeilingMeter> meter = bench::CeilingMeter::create(**device);
  if (!meter) return fail(meter.error());
  const auto results = bench::measure_kernels(**device, *options, [&] { meter->sample(); });
  if (!results) return fail(results.error());
  const Ceilings c = meter->ceilings();
  return publish(o, json_of(o, *info, *results, c),
                 {.title = "spate bench kernels",
                  .tables = {ceiling_table(c, "what this machine can do, measured in between"),
                             table_of(*results, c)},
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
