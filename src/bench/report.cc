#include "bench/report.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "bench/statistics.h"
#include "bench/svg.h"

namespace spate::bench {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5d6675; --line: #dfe3e8; --page: #fbfbfc;
  --card: #ffffff; --a: #2463c9; --b: #c2571a; --c: #2c8a57; --d: #8b4bb8; --e: #b5892a;
  --f: #3b8f99; --pale: #a9c4ee; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a2b1; --line: #333b47;
  --page: #14181e; --card: #1b2028; --a: #6ea3f5; --b: #f09a60; --c: #63c793; --d: #c08cea;
  --e: #dcb75c; --f: #67c3cd;
  --pale: #34507f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 52rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
p { margin: .3rem 0 1.5rem; color: var(--soft); overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem 1.1rem; margin: 0 0 1.2rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th { color: var(--soft); font-weight: 500; } th, td { text-align: right; padding: .25rem .5rem;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr:last-child td { border-bottom: 0; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
text { fill: var(--ink); } .tick { fill: var(--soft); } .mid { text-anchor: middle; }
.end { text-anchor: end; }
.grid { stroke: var(--line); } .roof { stroke: var(--ink); stroke-width: 1.6; }
.f0 { fill: var(--a); } .f1 { fill: var(--b); } .f2 { fill: var(--c); } .f3 { fill: var(--d); }
.f4 { fill: var(--e); } .f5 { fill: var(--f); } .whole circle { stroke: var(--ink); stroke-width: 1.5; }
.bar { fill: var(--pale); } .limit { fill: var(--a); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.s0 { stroke: var(--a); } .s1 { stroke: var(--b); } .s2 { stroke: var(--c); } .s3 { stroke: var(--d); }
.s4 { stroke: var(--e); } .s5 { stroke: var(--f); }
.key { display: inline-block; width: 1.1rem; height: .2rem; margin-right: .5rem;
  vertical-align: middle; } .k0 { background: var(--a); } .k1 { background: var(--b); }
.k2 { background: var(--c); } .k3 { background: var(--d); }
.k4 { background: var(--e); } .k5 { background: var(--f); } .kp { background: var(--pale); }
.legend { color: var(--soft); font-size: .85rem; margin: .5rem 0 0; }
)";

std::string cells(const std::vector<std::string>& row, std::string_view tag) {
  std::string out = "<tr>";
  for (const std::string& cell : row) out += fmt::format("<{0}>{1}</{0}>", tag, escaped(cell));
  return out + "</tr>\n";
}

std::string table_html(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows) {
  std::string out = "<table>\n" + cells(head, "th");
  for (const auto& row : rows) out += cells(row, "td");
  return out + "</table>\n";
}

std::string section(std::string_view title, std::string_view body) {
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", escaped(title), body);
}

std::string point_list(const RooflineChart& c) {
  std::string out = "<table><tr><th></th><th>operations/byte</th><th>GOP/s</th></tr>\n";
  const std::vector<std::size_t> groups = groups_of(c);
  for (std::size_t i = 0; i < c.points.size(); ++i) {
    const RooflineChart::Point& p = c.points[i];
    const std::string name = p.name.empty() ? p.group : fmt::format("{}: {}", p.group, p.name);
    out += fmt::format(
        "<tr><td><span class=\"key k{}\"></span>{}</td><td>{:.1f}</td><td>{:.1f}</td></tr>\n",
        groups[i] % kColours, escaped(name), p.intensity, p.operations / 1e9);
  }
  return out + "</table>\n";
}

std::string series_list(const DistributionChart& c) {
  std::string out = "<table><tr><th></th><th>p50</th><th>p90</th><th>p99</th><th>steps</th></tr>\n";
  std::size_t colour = 0;
  for (const DistributionChart::Series& s : c.series) {
    out += fmt::format("<tr><td><span class=\"key k{}\"></span>{}</td>", colour++ % kColours,
                       escaped(s.name));
    for (const double p : {0.5, 0.9, 0.99}) {
      out += fmt::format("<td>{:.2f} ms</td>", percentile(s.milliseconds, p));
    }
    out += fmt::format("<td>{}</td></tr>\n", s.milliseconds.size());
  }
  return out + "</table>\n";
}

}  // namespace

std::string html_of(const Report& r) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>"
      "</head>\n<body><h1>{0}</h1>\n<p>{2}</p>\n",
      escaped(r.title), kStyle, escaped(r.subtitle));
  for (const Table& t : r.tables) out += section(t.title, table_html(t.head, t.rows));
  for (const RooflineChart& c : r.rooflines) out += section(c.title, svg_of(c) + point_list(c));
  for (const BarChart& c : r.bars) {
    const bool limits = c.bars.end() != std::find_if(c.bars.begin(), c.bars.end(),
                                                     [](const auto& b) { return b.limit > 0.0; });
    out += section(c.title, svg_of(c) + (limits ? "<div class=\"legend\"><span class=\"key k0\">"
                                                  "</span>what the hardware needs &ensp; <span "
                                                  "class=\"key kp\"></span>the rest</div>\n"
                                                : ""));
  }
  for (const DistributionChart& c : r.distributions) {
    out += section(c.title, svg_of(c) + series_list(c));
  }
  return out + "</body></html>\n";
}

Result<void> write_report(const std::string& path, const Report& report) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << html_of(report);
  file.close();
  if (!file) {
    return Error{ErrorCode::kIo, fmt::format("{}: cannot write: {}", path, std::strerror(errno))};
  }
  return {};
}

}  // namespace spate::bench
