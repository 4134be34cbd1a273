// What the four benchmarks share: options, how figures are printed, the JSON and HTML output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "apps/options.h"
#include "bench/ceilings.h"
#include "bench/phase.h"
#include "bench/report.h"
#include "bench/statistics.h"
#include "core/json.h"
#include "device/device.h"

namespace spate::apps {

struct BenchOptions {
  EngineOptions engine;
  std::int64_t repeat = 3;
  bool json = false;
  std::string report;  // path of the HTML page; empty: none
};

void add_bench_options(CLI::App& command, BenchOptions& options);

/// What is timed where prefill and decode are looked at apart.
struct PhaseOptions {
  std::int64_t prompt_len = 512;
  std::int64_t output_len = 64;
  std::vector<std::int64_t> batches{};
  std::int64_t depth = 0;

  /// Where the timed part of a prompt begins: no step may belong to both parts.
  std::int64_t prefill_depth(std::int64_t step_tokens) const {
    return depth / step_tokens * step_tokens;
  }
};
void add_phase_options(CLI::App& command, PhaseOptions& options);

/// Each adds its subcommand to `bench`.
void add_bench_throughput(CLI::App& bench, int& exit_code);
void add_bench_latency(CLI::App& bench, int& exit_code);
void add_bench_kernels(CLI::App& bench, int& exit_code);
void add_bench_roofline(CLI::App& bench, int& exit_code);

/// A device like the engine's, for what runs beside it: one of the two sleeps. On a GPU it and what
/// it needs come first: an engine takes the rest of the memory.
Result<std::unique_ptr<Device>> bench_device(const EngineOptions& options);

/// "12.3", three digits that count or more.
std::string figure(double value);
/// A row of a table: name, median, min, max.
std::vector<std::string> summary_row(const std::string& name, const bench::Summary& s);
Json summary_json(const bench::Summary& s);

/// What the machine can do at best, in words, in JSON, and as lines of a chart.
bench::Table ceiling_table(const bench::Ceilings& ceilings, const char* title);
Json ceilings_json(const bench::Ceilings& ceilings);
bench::RooflineChart roofline_of(const bench::Ceilings& ceilings);

/// Where a phase's time goes, each step: a line for each operator.
bench::Table operator_table(const bench::Phase& phase, const bench::Ceilings& ceilings);
bench::BarChart operator_chart(const bench::Phase& phase, const bench::Ceilings& ceilings);
Json operators_json(const bench::Phase& phase, const bench::Ceilings& ceilings);

/// "3 %".
std::string percent(double share);

/// What was run on what: for the JSON and the page.
Json setup_json(const BenchOptions& options, const ModelInfo& info);

/// Prints the tables, or the JSON when asked for; writes the page when asked for.
int publish(const BenchOptions& options, const Json& json, bench::Report report);

}  // namespace spate::apps
