// spate bench latency: how fast prompts are computed and tokens come, alone and side by side.
#include <chrono>

#include <fmt/format.h>

#include "apps/bench.h"
#include "bench/workload.h"

namespace spate::apps {
namespace {

struct LatencyCommand {
  BenchOptions bench;
  PhaseOptions shape{.output_len = 64, .batches = {1}};

  std::int64_t prefill_depth() const { return shape.prefill_depth(bench.engine.max_batch_tokens); }
};

/// Everything measured, one element a repeat.
struct Decoding {
  std::int64_t batch = 1;
  std::vector<double> rates{};  // tokens a second, all sequences
  std::vector<double> step_ms{};
  bench::DeviceShare device{};  // of all repeats together
};
struct Latency {
  double ready_seconds = 0.0;
  double cold_seconds = 0.0;  // first token of the first request
  std::vector<double> prefill_rates{};
  std::vector<double> first_token_seconds{};
  std::vector<Decoding> decoding{};
};

Result<void> measure_decoding(const LatencyCommand& o, Engine& engine, Decoding& out) {
  const Result<bench::DecodeRun> run =
      bench::run_decode(engine, {.batch = out.batch,
                                 .steps = o.shape.output_len,
                                 .depth = o.shape.depth,
                                 .step_tokens = o.bench.engine.max_batch_tokens});
  if (!run) return run.error();
  for (const double s : run->step_seconds) out.step_ms.push_back(s * 1e3);
  out.rates.push_back(static_cast<double>(out.batch * o.shape.output_len) / run->seconds);
  out.device.busy_seconds += run->device.busy_seconds;
  out.device.idle_seconds += run->device.idle_seconds;
  return {};
}

Result<void> measure_prefill(const LatencyCommand& o, Engine& engine, Latency& out) {
  const bench::PrefillShape shape{.tokens = o.shape.prompt_len,
                                  .depth = o.prefill_depth(),
                                  .step_tokens = o.bench.engine.max_batch_tokens};
  const Result<bench::PrefillRun> run = bench::run_prefill(engine, shape);
  if (!run) return run.error();
  out.prefill_rates.push_back(static_cast<double>(o.shape.prompt_len) / run->seconds);
  out.first_token_seconds.push_back(run->seconds_to_first_token);
  return {};
}

Result<Latency> measure(const LatencyCommand& o, Engine& engine) {
  Latency out;
  for (const std::int64_t batch : o.shape.batches) out.decoding.push_back({.batch = batch});
  const Result<RequestResult> cold = engine.complete(
      bench::request_of({.input = o.shape.prompt_len, .output = 1}, engine.info().vocab_size, 3));
  if (!cold) return cold.error();
  out.cold_seconds = cold->seconds_to_first_token;
  const Result<void> warm = bench::warm_up(engine);
  if (!warm) return warm.error();
  Latency untimed;  // touches the cache's memory at this depth
  Result<void> done = measure_prefill(o, engine, untimed);
  for (std::int64_t i = 0; done && i < o.bench.repeat; ++i) {
    done = measure_prefill(o, engine, out);
    for (Decoding& d : out.decoding) {
      if (done) done = measure_decoding(o, engine, d);
    }
  }
  if (!done) return done.error();
  return out;
}

bench::Table speed_table(const LatencyCommand& o, const Latency& l) {
  bench::Table table{
      .title = "tokens a second",
      .head = {"", "median", "min", "max", "each sequence", "ms/step p50", "p90", "p99"}};
  std::vector<std::string> prefill =
      summary_row(fmt::format("prefill {} at depth {}", o.shape.prompt_len, o.prefill_depth()),
                  bench::summarize(l.prefill_rates));
  prefill.insert(prefill.end(), {"", "", "", ""});
  const bool on_gpu = l.decoding.front().device.any();
  if (on_gpu) {
    table.head.emplace_back("GPU idle");
    prefill.emplace_back();
  }
  table.rows.push_back(std::move(prefill));
  for (const Decoding& d : l.decoding) {
    const bench::Summary rate = bench::summarize(d.rates);
    std::vector<std::string> row = summary_row(
        fmt::format("decode {} x {} at depth {}", d.batch, o.shape.output_len, o.shape.depth),
        rate);
    row.push_back(figure(rate.median / static_cast<double>(d.batch)));
    for (const double p : {0.5, 0.9, 0.99}) row.push_back(figure(bench::percentile(d.step_ms, p)));
    if (on_gpu) row.push_back(percent(d.device.idle_share()));
    table.rows.push_back(std::move(row));
  }
  return table;
}

bench::Table start_table(const LatencyCommand& o, const Latency& l) {
  const std::string prompt =
      fmt::format("prompt of {} to first token", o.shape.prompt_len + o.prefill_depth());
  return {.title = "seconds",
          .head = {"", "median", "min", "max"},
          .rows = {summary_row(prompt, bench::summarize(l.first_token_seconds)),
                   {"start to ready", figure(l.ready_seconds), "", ""},
                   {fmt::format("first prompt of {}, cold", o.shape.prompt_len),
                    figure(l.cold_seconds), "", ""}}};
}

Json json_of(const LatencyCommand& o, const ModelInfo& info, const Latency& l) {
  Json json = {{"benchmark", "latency"},
               {"setup", setup_json(o.bench, info)},
               {"depth", o.shape.depth},
               {"prompt_tokens", o.shape.prompt_len},
               {"output_tokens", o.shape.output_len},
               {"ready_seconds", l.ready_seconds},
               {"cold_first_token_seconds", l.cold_seconds},
               {"first_token_seconds", summary_json(bench::summarize(l.first_token_seconds))},
               {"prefill_tokens_per_second", summary_json(bench::summarize(l.prefill_rates))},
               {"decode", Json::array()}};
  for (const Decoding& d : l.decoding) {
    json["decode"].push_back({{"batch", d.batch},
                              {"tokens_per_second", summary_json(bench::summarize(d.rates))},
                              {"step_ms",
                               {{"p50", bench::percentile(d.step_ms, 0.5)},
                                {"p90", bench::percentile(d.step_ms, 0.9)},
                                {"p99", bench::percentile(d.step_ms, 0.99)}}}});
    if (d.device.any()) json["decode"].back()["gpu_idle_share"] = d.device.idle_share();
  }
  return json;
}

int latency(LatencyCommand o) {
  const auto begin = std::chrono::steady_clock::now();
  const auto engine = open_engine(o.bench.engine);
  if (!engine) return fail(engine.error());
  const std::chrono::duration<double> ready = std::chrono::steady_clock::now() - begin;
  o.bench.engine.max_batch_tokens = (*engine)->info().max_batch_tokens;
  Result<Latency> l = measure(o, **engine);
  if (!l) return fail(l.error());
  l->ready_seconds = ready.count();
  bench::DistributionChart chart{.title = "time of a decoding step"};
  for (const Decoding& d : l->decoding) {
    chart.series.push_back(
        {fmt::format("{} sequence{}", d.batch, d.batch == 1 ? "" : "s"), d.step_ms});
  }
  return publish(o.bench, json_of(o, (*engine)->info(), *l),
                 {.title = "spate bench latency",
                  .tables = {speed_table(o, *l), start_table(o, *l)},
                  .distributions = {std::move(chart)}});
}

}  // namespace

void add_bench_latency(CLI::App& bench, int& exit_code) {
  CLI::App* command = bench.add_subcommand(
      "latency", "speed of prompts and of single steps, start and first token");
  auto o = std::make_shared<LatencyCommand>();
  add_phase_options(*command, o->shape);
  add_bench_options(*command, o->bench);
  command->callback([o, &exit_code] { exit_code = latency(*o); });
}

}  // namespace spate::apps
