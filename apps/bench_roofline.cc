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

  bool on_gpu() const { return bench.engine.device != "cpu"; }
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

/// A GPU's phase runs twice: marks for the profile would lengthen what is timed.
template <class Run>
Result<Phase> timed_and_profiled(Phase phase, bool on_gpu, const Run& run) {
  const auto timed = run(on_gpu ? nullptr : &phase.profile);
  if (!timed) return timed.error();
  phase.seconds = timed->seconds;
  phase.device = timed->device;
  if (on_gpu) {
    if (const auto profiled = run(&phase.profile); !profiled) return profiled.error();
  }
  return phase;
}

Result<Phase> prefill_phase(const RooflineCommand& o, Engine& engine) {
  const std::int64_t step = engine.info().max_batch_tokens;
  const bench::PrefillShape shape{
      .tokens = o.shape.prompt_len, .depth = o.shape.prefill_depth(step), .step_tokens = step};
  Phase phase{.name = fmt::format("prefill {} at depth {}", shape.tokens, shape.depth),
              .tokens = shape.tokens,
              .steps = (shape.tokens + step - 1) / step};
  return timed_and_profiled(std::move(phase), o.on_gpu(), [&](Profile* profile) {
    return bench::run_prefill(engine, shape, profile);
  });
}

Result<Phase> decode_phase(const RooflineCommand& o, Engine& engine, std::int64_t batch) {
  const bench::DecodeShape shape{.batch = batch,
                                 .steps = o.shape.output_len,
                                 .depth = o.shape.depth,
                                 .step_tokens = engine.info().max_batch_tokens};
  Phase phase{.name = fmt::format("decode {} at depth {}", batch, shape.depth),
              .tokens = batch * shape.steps,
              .steps = shape.steps};
  return timed_and_profiled(std::move(phase), o.on_gpu(), [&](Profile* profile) {
    return bench::run_decode(engine, shape, profile);
  });
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

bench::Table phase_table(const std::vector<Phase>& phases, const Ceilings& c) {
  bench::Table table{
      .title = "phases, each step",
      .head = {"", "tokens/s", "MB", "GOP", "ms", "to read", "to compute", "share of limit"}};
  if (!phases.empty() && phases.front().device.any()) table.head.emplace_back("GPU idle");
  for (const Phase& p : phases) {
    const bench::PhaseLimit limit = limit_of(p, c);
    const auto n = static_cast<double>(p.steps);
    table.rows.push_back({p.name, figure(static_cast<double>(p.tokens) / p.seconds),
                          figure(p.n_bytes() / n / 1e6), figure(p.operations() / n / 1e9),
                          figure(p.seconds / n * 1e3), figure(limit.memory / n * 1e3),
                          figure(limit.compute / n * 1e3), percent(limit.seconds() / p.seconds)});
    if (p.device.any()) table.rows.back().push_back(percent(p.device.idle_share()));
  }
  return table;
}

bench::RooflineChart roofline_chart(const std::vector<Phase>& phases, const Ceilings& c) {
  bench::RooflineChart chart = roofline_of(c);
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
               {"profiled_seconds", p.profiled_seconds()},
               {"seconds_between_operators", p.other_seconds()},
               {"operators", operators_json(p, c)}};
  if (p.device.any()) json["gpu_idle_share"] = p.device.idle_share();
  return json;
}

Json json_of(const RooflineCommand& o, const ModelInfo& info, const std::vector<Phase>& phases,
             const Ceilings& c) {
  Json json = {{"benchmark", "roofline"},
               {"setup", setup_json(o.bench, info)},
               {"ceilings", ceilings_json(c)},
               {"phases", Json::array()}};
  for (const Phase& p : phases) json["phases"].push_back(phase_json(p, c));
  return json;
}

int roofline(const RooflineCommand& o) {
  const Result<std::unique_ptr<Device>> device = bench_device(o.bench.engine);
  if (!device) return fail(device.error());
  Result<bench::CeilingMeter> meter = bench::CeilingMeter::create(**device);
  if (!meter) return fail(meter.error());
  auto engine = open_engine(o.bench.engine);
  if (!engine) return fail(engine.error());
  Result<Measured> measured = measure(o, **engine, *meter);
  if (!measured) return fail(measured.error());
  const std::vector<Phase> phases = measured->medians();
  const Ceilings& c = measured->ceilings;
  bench::Report report{
      .title = "spate bench roofline",
      .tables = {ceiling_table(c, "what this machine can do, measured between the phases"),
                 phase_table(phases, c)},
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
