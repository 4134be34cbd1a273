// spate bench roofline: the machine's ceilings, and how far below them each phase and operator is.
#include <algorithm>

#include <fmt/format.h>

#include "apps/bench.h"
#include "bench/ceilings.h"
#include "bench/phase.h"
#include "bench/workload.h"
#include "device/device.h"

namespace spate::apps {
namespace {

using bench::Ceilings;
using bench::Phase;
using bench::title_of;

struct RooflineCommand {
  BenchOptions bench;
  PhaseOptions shape{.output_len = 32, .batches = {1, 16}};
};

/// The repeats of each phase, and the machine between them.
struct Measured {
  std::vector<std::vector<Phase>> phases{};  // [phase][repeat]
  Ceilings ceilings{};

  /// The repeat with the median time: its parts add up.
  std::vector<Phase> medians() {
    std::vector<Phase> out;
    for (std::vector<Phase>& repeats : phases) {
      const auto middle = repeats.begin() + static_cast<std::ptrdiff_t>(repeats.size() / 2);
      std::nth_element(repeats.begin(), middle, repeats.end(),
                       [](const Phase& a, const Phase& b) { return a.seconds < b.seconds; });
      out.push_back(*middle);
    }
    return out;
  }
};

Result<Phase> prefill_phase(const RooflineCommand& o, Engine& engine) {
  const std::int64_t step = engine.info().max_batch_tokens;
  const bench::PrefillShape shape{
      .tokens = o.shape.prompt_len, .depth = o.shape.prefill_depth(step), .step_tokens = step};
  Phase phase{.name = fmt::format("prefill {} at depth {}", shape.tokens, shape.depth),
              .tokens = shape.tokens,
              .steps = (shape.tokens + step - 1) / step};
  const Result<bench::PrefillRun> run = bench::run_prefill(engine, shape, &phase.profile);
  if (!run) return run.error();
  phase.seconds = run->seconds;
  return phase;
}

Result<Phase> decode_phase(const RooflineCommand& o, Engine& engine, std::int64_t batch) {
  const bench::DecodeShape shape{.batch = batch,
                                 .steps = o.shape.output_len,
                                 .depth = o.shape.depth,
                                 .step_tokens = engine.info().max_batch_tokens};
  Phase phase{.name = fmt::format("decode {} at depth {}", batch, shape.depth),
              .tokens = batch * shape.steps,
              .steps = shape.steps};
  const Result<std::vector<double>> steps = bench::run_decode(engine, shape, &phase.profile);
  if (!steps) return steps.error();
  for (const double s : *steps) phase.seconds += s;
  return phase;
}

Result<Measured> measure(const RooflineCommand& o, Engine& engine, bench::CeilingMeter& meter) {
  const Result<void> warm = bench::warm_up(engine);
  if (!warm) return warm.error();
  const Result<Phase> untimed = prefill_phase(o, engine);  // touches the cache's memory
  if (!untimed) return untimed.error();
  Measured out;
  out.phases.resize(1 + o.shape.batches.size());
  for (std::int64_t i = 0; i < o.bench.repeat; ++i) {
    for (std::size_t p = 0; p < out.phases.size(); ++p) {
      meter.sample();
      Result<Phase> phase =
          p == 0 ? prefill_phase(o, engine) : decode_phase(o, engine, o.shape.batches[p - 1]);
      if (!phase) return phase.error();
      out.phases[p].push_back(std::move(*phase));
    }
  }
  meter.sample();
  out.ceilings = meter.ceilings();
  return out;
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100.0 * share); }

bench::Table ceiling_table(const Ceilings& c) {
  return {.title = "what this machine can do, measured between the phases",
          .head = {"", "a second"},
          .rows = {{"plain read, all threads", fmt::format("{:.1f} GB", c.read_bytes / 1e9)},
                   {"int8 products", fmt::format("{:.0f} GOP", c.int8_operations / 1e9)},
                   {"bf16 products", fmt::format("{:.0f} GFLOP", c.bf16_operations / 1e9)},
                   {"f32 products", fmt::format("{:.0f} GFLOP", c.f32_operations / 1e9)}}};
}

bench::Table phase_table(const std::vector<Phase>& phases, const Ceilings& c) {
  bench::Table table{
      .title = "phases, each step",
      .head = {"", "tokens/s", "MB", "GOP", "ms", "to read", "to compute", "share of limit"}};
  for (const Phase& p : phases) {
    const bench::PhaseLimit limit = limit_of(p, c);
    const auto n = static_cast<double>(p.steps);
    table.rows.push_back({p.name, figure(static_cast<double>(p.tokens) / p.seconds),
                          figure(p.n_bytes() / n / 1e6), figure(p.operations() / n / 1e9),
                          figure(p.seconds / n * 1e3), figure(limit.memory / n * 1e3),
                          figure(limit.compute / n * 1e3), percent(limit.seconds() / p.seconds)});
  }
  return table;
}

bench::Table operator_table(const Phase& p, const Ceilings& c) {
  bench::Table table{.title = fmt::format("{}: where a step's {} ms go", p.name,
                                          figure(p.seconds / static_cast<double>(p.steps) * 1e3)),
                     .head = {"operator", "calls", "ms", "of the step", "GB/s", "GOP/s", "limit ms",
                              "share of limit"}};
  const auto n = static_cast<double>(p.steps);
  for (const Profile::Line& l : p.profile.lines()) {
    const double limit = c.seconds(l.cost);
    table.rows.push_back({title_of(l.cost), figure(static_cast<double>(l.calls) / n),
                          figure(l.seconds / n * 1e3), percent(l.seconds / p.seconds),
                          figure(l.cost.n_bytes / l.seconds / 1e9),
                          figure(l.cost.operations / l.seconds / 1e9), figure(limit / n * 1e3),
                          percent(limit / l.seconds)});
  }
  table.rows.push_back({"between operators", "", figure(p.other_seconds() / n * 1e3),
                        percent(p.other_seconds() / p.seconds), "", "", "", ""});
  return table;
}

bench::BarChart operator_chart(const Phase& p, const Ceilings& c) {
  bench::BarChart chart{.title = p.name + ": milliseconds of a step"};
  const auto n = static_cast<double>(p.steps);
  for (const Profile::Line& l : p.profile.lines()) {
    const double limit = c.seconds(l.cost);
    chart.bars.push_back({.name = title_of(l.cost),
                          .value = l.seconds / n * 1e3,
                          .limit = std::min(limit, l.seconds) / n * 1e3,
                          .note = fmt::format("{} ms, {} of limit", figure(l.seconds / n * 1e3),
                                              percent(limit / l.seconds))});
  }
  const double other = p.other_seconds() / n * 1e3;
  chart.bars.push_back(
      {.name = "between operators", .value = other, .note = fmt::format("{} ms", figure(other))});
  return chart;
}

bench::RooflineChart roofline_chart(const std::vector<Phase>& phases, const Ceilings& c) {
  bench::RooflineChart chart{
      .title = "roofline",
      .bytes = c.read_bytes,
      .ceilings = {
          {"int8", c.int8_operations}, {"bf16", c.bf16_operations}, {"f32", c.f32_operations}}};
  for (const Phase& p : phases) {
    chart.points.push_back({.group = p.name,
                            .intensity = p.operations() / p.n_bytes(),
                            .operations = p.operations() / p.seconds});
  }
  for (const Phase& p : phases) {
    for (const Profile::Line& l : p.profile.lines()) {
      if (l.cost.operations == 0.0) continue;
      chart.points.push_back({.group = p.name,
                              .name = title_of(l.cost),
                              .intensity = l.cost.operations / l.cost.n_bytes,
                              .operations = l.cost.operations / l.seconds});
    }
  }
  return chart;
}

Json phase_json(const Phase& p, const Ceilings& c) {
  const bench::PhaseLimit limit = limit_of(p, c);
  Json json = {{"name", p.name},
               {"tokens", p.tokens},
               {"steps", p.steps},
               {"seconds", p.seconds},
               {"bytes", p.n_bytes()},
               {"operations", p.operations()},
               {"memory_seconds", limit.memory},
               {"compute_seconds", limit.compute},
               {"share_of_limit", limit.seconds() / p.seconds},
               {"seconds_between_operators", p.other_seconds()},
               {"operators", Json::array()}};
  for (const Profile::Line& l : p.profile.lines()) {
    json["operators"].push_back({{"name", l.cost.name},
                                 {"k", l.cost.k},
                                 {"n", l.cost.n},
                                 {"arithmetic", name_of(l.cost.arithmetic)},
                                 {"calls", l.calls},
                                 {"seconds", l.seconds},
                                 {"bytes", l.cost.n_bytes},
                                 {"operations", l.cost.operations},
                                 {"limit_seconds", c.seconds(l.cost)}});
  }
  return json;
}

Json json_of(const RooflineCommand& o, const ModelInfo& info, const std::vector<Phase>& phases,
             const Ceilings& c) {
  Json json = {{"benchmark", "roofline"},
               {"setup", setup_json(o.bench, info)},
               {"ceilings",
                {{"read_bytes_per_second", c.read_bytes},
                 {"int8_operations_per_second", c.int8_operations},
                 {"bf16_operations_per_second", c.bf16_operations},
                 {"f32_operations_per_second", c.f32_operations}}},
               {"phases", Json::array()}};
  for (const Phase& p : phases) json["phases"].push_back(phase_json(p, c));
  return json;
}

int roofline(const RooflineCommand& o) {
  if (const Result<void> cpu = only_on_cpu("roofline", o.bench); !cpu) return fail(cpu.error());
  auto engine = open_engine(o.bench.engine);
  if (!engine) return fail(engine.error());
  const std::unique_ptr<Device> device = bench_device(o.bench.engine);
  Result<bench::CeilingMeter> meter = bench::CeilingMeter::create(*device);
  if (!meter) return fail(meter.error());
  Result<Measured> measured = measure(o, **engine, *meter);
  if (!measured) return fail(measured.error());
  const std::vector<Phase> phases = measured->medians();
  const Ceilings& c = measured->ceilings;
  bench::Report report{.title = "spate bench roofline",
                       .tables = {ceiling_table(c), phase_table(phases, c)},
                       .rooflines = {roofline_chart(phases, c)}};
  for (const Phase& p : phases) {
    report.tables.push_back(operator_table(p, c));
    report.bars.push_back(operator_chart(p, c));
  }
  return publish(o.bench, json_of(o, (*engine)->info(), phases, c), std::move(report));
}

}  // namespace

void add_bench_roofline(CLI::App& bench, int& exit_code) {
  CLI::App* command = bench.add_subcommand(
      "roofline", "the machine's ceilings, and how close to them each operator comes");
  auto o = std::make_shared<RooflineCommand>();
  add_phase_options(*command, o->shape);
  add_bench_options(*command, o->bench);
  command->callback([o, &exit_code] { exit_code = roofline(*o); });
}

}  // namespace spate::apps
