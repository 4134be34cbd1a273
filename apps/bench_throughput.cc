// spate bench throughput: many requests at once, from the first step to the last token.
#include <optional>

#include <fmt/format.h>

#include "apps/bench.h"
#include "bench/gpu_energy.h"
#include "bench/workload.h"
#include "device/gpu.h"
#include "engine/options.h"

namespace spate::apps {
namespace {

struct ThroughputCommand {
  BenchOptions bench;
  std::int64_t num_prompts = 0;  // 0: 32, or the whole trace
  bench::Lengths lengths{.input = 128, .output = 64};
  std::string trace;
  bool operators = false;
};

/// Where the time of one more run goes.
struct Profiled {
  bench::Phase phase{};
  bench::Ceilings ceilings{};
};

Result<std::vector<bench::Lengths>> lengths_of(const ThroughputCommand& o) {
  if (!o.trace.empty()) return bench::read_trace(o.trace, o.num_prompts);
  const std::int64_t n = o.num_prompts > 0 ? o.num_prompts : 32;
  return std::vector<bench::Lengths>(static_cast<std::size_t>(n), o.lengths);
}

struct Figure {
  const char* name;
  const char* key;
  double (*of)(const bench::ThroughputRun&);
};

double rate(std::int64_t n, const bench::ThroughputRun& r) {
  return static_cast<double>(n) / r.seconds;
}

constexpr Figure kFigures[] = {
    {"requests/s", "requests_per_second",
     [](const bench::ThroughputRun& r) { return rate(r.requests, r); }},
    {"prompt tokens/s", "prompt_tokens_per_second",
     [](const bench::ThroughputRun& r) { return rate(r.prompt_tokens, r); }},
    {"output tokens/s", "output_tokens_per_second",
     [](const bench::ThroughputRun& r) { return rate(r.output_tokens, r); }},
    {"total seconds", "seconds", [](const bench::ThroughputRun& r) { return r.seconds; }},
    {"steps", "steps", [](const bench::ThroughputRun& r) { return static_cast<double>(r.steps); }},
    {"preemptions", "preemptions",
     [](const bench::ThroughputRun& r) { return static_cast<double>(r.preemptions); }},
    {"sequences a step (mean)", "mean_batch",
     [](const bench::ThroughputRun& r) { return r.mean_batch; }},
};
constexpr Figure kEnergy[] = {
    {"GPU power, W", "gpu_watts",
     [](const bench::ThroughputRun& r) { return r.gpu_joules / r.seconds; }},
    {"GPU energy, J/output token", "gpu_joules_per_output_token",
     [](const bench::ThroughputRun& r) {
       return r.gpu_joules / static_cast<double>(r.output_tokens);
     }},
};
constexpr Figure kIdle = {"GPU idle, %", "gpu_idle_percent", [](const bench::ThroughputRun& r) {
                            return 100.0 * r.device.idle_share();
                          }};

int publish_runs(const ThroughputCommand& o, const ModelInfo& info,
                 const std::vector<bench::ThroughputRun>& runs,
                 const std::optional<Profiled>& profiled) {
  const bench::ThroughputRun& first = runs.front();
  Json json = {{"benchmark", "throughput"},
               {"setup", setup_json(o.bench, info)},
               {"requests", first.requests},
               {"prompt_tokens", first.prompt_tokens},
               {"output_tokens", first.output_tokens}};
  bench::Table table{
      .title = fmt::format("throughput: {} requests, {} prompt tokens, {} output "
                           "tokens, {} times",
                           first.requests, first.prompt_tokens, first.output_tokens, runs.size()),
      .head = {"", "median", "min", "max"}};
  std::vector<Figure> figures(std::begin(kFigures), std::end(kFigures));
  if (first.device.any()) figures.push_back(kIdle);
  if (first.gpu_joules > 0.0) figures.insert(figures.end(), std::begin(kEnergy), std::end(kEnergy));
  for (const Figure& f : figures) {
    std::vector<double> values;
    values.reserve(runs.size());
    for (const bench::ThroughputRun& r : runs) values.push_back(f.of(r));
    const bench::Summary summary = bench::summarize(values);
    json[f.key] = summary_json(summary);
    table.rows.push_back(summary_row(f.name, summary));
  }
  bench::DistributionChart steps{.title = "time of a step"};
  steps.series.push_back({"all steps", {}});
  for (const bench::ThroughputRun& r : runs) {
    for (const double s : r.step_seconds) steps.series[0].milliseconds.push_back(s * 1e3);
  }
  bench::Report report{
      .title = "spate bench throughput", .tables = {table}, .distributions = {steps}};
  if (profiled) {
    json["operators"] = operators_json(profiled->phase, profiled->ceilings);
    json["ceilings"] = ceilings_json(profiled->ceilings);
    report.tables.push_back(
        ceiling_table(profiled->ceilings, "what this machine can do, measured before the runs"));
    report.tables.push_back(operator_table(profiled->phase, profiled->ceilings));
    report.bars.push_back(operator_chart(profiled->phase, profiled->ceilings));
  }
  return publish(o.bench, json, std::move(report));
}

Result<bench::Phase> profile_run(Engine& engine, const std::vector<bench::Lengths>& lengths) {
  bench::Phase phase{.name = "all requests once more", .steps = 1};
  const auto run = bench::run_throughput(engine, lengths, &phase.profile);
  if (!run) return run.error();
  phase.seconds = run->seconds;
  phase.device = run->device;
  return phase;
}

Result<bench::Ceilings> measure_ceilings(const EngineOptions& o) {
  const Result<std::unique_ptr<Device>> device = bench_device(o);
  if (!device) return device.error();
  Result<bench::CeilingMeter> meter = bench::CeilingMeter::create(**device);
  if (!meter) return meter.error();
  meter->sample();
  return meter->ceilings();
}

/// Of the GPU that the engine uses; nothing on a CPU.
std::optional<bench::GpuEnergy> find_energy(const EngineOptions& o) {
  const Result<EngineChoices> choices = parse_options(o);
  if (!choices || !choices->gpu) return std::nullopt;
  return bench::GpuEnergy::open(gpu_bus_id(*choices->gpu));
}

Result<bench::ThroughputRun> run_once(Engine& engine, const std::vector<bench::Lengths>& lengths,
                                      const std::optional<bench::GpuEnergy>& energy) {
  const double before = energy ? energy->joules() : 0.0;
  Result<bench::ThroughputRun> run = bench::run_throughput(engine, lengths);
  if (run && energy) run->gpu_joules = energy->joules() - before;
  return run;
}

int throughput(const ThroughputCommand& o) {
  const auto lengths = lengths_of(o);
  if (!lengths) return fail(lengths.error());
  std::optional<Profiled> profiled;
  if (o.operators) {
    const Result<bench::Ceilings> ceilings = measure_ceilings(o.bench.engine);
    if (!ceilings) return fail(ceilings.error());
    profiled = Profiled{.ceilings = *ceilings};
  }
  const auto engine = open_engine(o.bench.engine);
  if (!engine) return fail(engine.error());
  print_memory_plan(**engine);
  const Result<void> warm = bench::warm_up(**engine);
  if (!warm) return fail(warm.error());
  const std::optional<bench::GpuEnergy> energy = find_energy(o.bench.engine);
  std::vector<bench::ThroughputRun> runs;
  for (std::int64_t i = 0; i < o.bench.repeat; ++i) {
    Result<bench::ThroughputRun> run = run_once(**engine, *lengths, energy);
    if (!run) return fail(run.error());
    runs.push_back(std::move(*run));
  }
  if (profiled) {
    Result<bench::Phase> phase = profile_run(**engine, *lengths);
    if (!phase) return fail(phase.error());
    profiled->phase = std::move(*phase);
  }
  return publish_runs(o, (*engine)->info(), runs, profiled);
}

}  // namespace

void add_bench_throughput(CLI::App& bench, int& exit_code) {
  CLI::App* command =
      bench.add_subcommand("throughput", "many requests at once, to the last token");
  auto o = std::make_shared<ThroughputCommand>();
  command->add_option("--num-prompts", o->num_prompts, "requests (default: 32, or the trace's)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--input-len", o->lengths.input, "tokens of each prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--output-len", o->lengths.output, "tokens generated by each request")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--trace", o->trace, "lengths from a JSON file instead: [[in, out], ...]");
  command->add_flag("--operators", o->operators,
                    "run once more and show which operators the time goes to");
  add_bench_options(*command, o->bench);
  command->callback([o, &exit_code] { exit_code = throughput(*o); });
}

}  // namespace spate::apps
