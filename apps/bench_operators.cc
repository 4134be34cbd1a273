// Tables and charts of operators against what the machine can do: shared by the benchmarks.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "apps/bench.h"

namespace spate::apps {
namespace {

using bench::Ceilings;
using bench::Phase;
using bench::title_of;

/// The kinds of products, those that were measured.
struct ProductCeiling {
  const char* name;
  const char* unit;
  const char* key;
  double Ceilings::*value;
};
constexpr std::array<ProductCeiling, 4> kProducts{{
    {"int8", "OP", "int8_operations_per_second", &Ceilings::int8_operations},
    {"fp8", "FLOP", "fp8_operations_per_second", &Ceilings::fp8_operations},
    {"bf16", "FLOP", "bf16_operations_per_second", &Ceilings::bf16_operations},
    {"f32", "FLOP", "f32_operations_per_second", &Ceilings::f32_operations},
}};

}  // namespace

std::string percent(double share) {
  return share < 0.1 ? fmt::format("{:.1f} %", 100.0 * share)
                     : fmt::format("{:.0f} %", 100.0 * share);
}

bench::Table ceiling_table(const Ceilings& c, const char* title) {
  bench::Table table{.title = title, .head = {"", "a second"}};
  table.rows.push_back({"plain read", fmt::format("{:.1f} GB", c.read_bytes / 1e9)});
  for (const ProductCeiling& p : kProducts) {
    if (c.*p.value <= 0.0) continue;
    table.rows.push_back(
        {fmt::format("{} products", p.name), fmt::format("{:.0f} G{}", c.*p.value / 1e9, p.unit)});
  }
  if (c.clock_hz > 0.0) {
    table.rows.push_back(
        {"clock while it multiplies bf16", fmt::format("{:.0f} MHz", c.clock_hz / 1e6)});
  }
  return table;
}

Json ceilings_json(const Ceilings& c) {
  Json json = {{"read_bytes_per_second", c.read_bytes}};
  for (const ProductCeiling& p : kProducts) {
    if (c.*p.value > 0.0) json[p.key] = c.*p.value;
  }
  if (c.clock_hz > 0.0) json["clock_hz"] = c.clock_hz;
  return json;
}

bench::RooflineChart roofline_of(const Ceilings& c) {
  bench::RooflineChart chart{.title = "roofline", .bytes = c.read_bytes};
  for (const ProductCeiling& p : kProducts) {
    if (c.*p.value > 0.0) chart.ceilings.push_back({p.name, c.*p.value});
  }
  return chart;
}

bench::Table operator_table(const Phase& p, const Ceilings& c) {
  const auto n = static_cast<double>(p.steps);
  const double all = p.profiled_seconds();
  bench::Table table{
      .title = fmt::format("{}: where {} ms go{}", p.name, figure(all / n * 1e3),
                           p.device.any() ? ", measured with marks between" : ""),
      .head = {"operator", "calls", "ms", "of all", "GB/s", "GOP/s", "limit ms", "share of limit"}};
  for (const Profile::Line& l : p.profile.lines()) {
    const double limit = c.seconds(l.cost);
    table.rows.push_back({title_of(l.cost), figure(static_cast<double>(l.calls) / n),
                          figure(l.seconds / n * 1e3), percent(l.seconds / all),
                          figure(l.cost.n_bytes / l.seconds / 1e9),
                          figure(l.cost.operations / l.seconds / 1e9), figure(limit / n * 1e3),
                          percent(limit / l.seconds)});
  }
  table.rows.push_back({"between operators", "", figure(p.other_seconds() / n * 1e3),
                        percent(p.other_seconds() / all), "", "", "", ""});
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

Json operators_json(const Phase& p, const Ceilings& c) {
  Json json = Json::array();
  for (const Profile::Line& l : p.profile.lines()) {
    json.push_back({{"name", l.cost.name},
                    {"k", l.cost.k},
                    {"n", l.cost.n},
                    {"rows", l.cost.rows},
                    {"arithmetic", name_of(l.cost.arithmetic)},
                    {"calls", l.calls},
                    {"seconds", l.seconds},
                    {"bytes", l.cost.n_bytes},
                    {"operations", l.cost.operations},
                    {"limit_seconds", c.seconds(l.cost)}});
  }
  return json;
}

}  // namespace spate::apps
