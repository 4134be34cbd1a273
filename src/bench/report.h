// One self-contained HTML page of what a bench command measured: tables, a roofline, bars, a
// distribution, drawn as inline SVG. No script, no external request; light and dark.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "spate/result.h"

namespace spate::bench {

struct Table {
  std::string title{};
  std::vector<std::string> head{};
  std::vector<std::vector<std::string>> rows{};
};

/// A line that nothing gets above, and what was measured below it.
struct RooflineChart {
  struct Ceiling {
    std::string name{};
    double operations = 0.0;  // a second
  };
  struct Point {
    std::string group{};      // has a colour
    std::string name{};       // in its group; empty: all of it, drawn larger
    double intensity = 0.0;   // operations a byte
    double operations = 0.0;  // a second
  };
  std::string title{};
  double bytes = 0.0;  // a second
  std::vector<Ceiling> ceilings{};
  std::vector<Point> points{};
};

/// Horizontal bars; `limit` draws the part of a bar that the hardware would take.
struct BarChart {
  struct Bar {
    std::string name{};
    double value = 0.0;
    double limit = 0.0;
    std::string note{};
  };
  std::string title{};
  std::vector<Bar> bars{};
};

/// Values below a share of all: the cumulative distribution of step times.
struct DistributionChart {
  struct Series {
    std::string name{};
    std::vector<double> milliseconds{};
  };
  std::string title{};
  std::vector<Series> series{};
};

struct Report {
  std::string title{};
  std::string subtitle{};  // the command, the model
  std::vector<Table> tables{};
  std::vector<RooflineChart> rooflines{};
  std::vector<BarChart> bars{};
  std::vector<DistributionChart> distributions{};
};

std::string html_of(const Report& report);
Result<void> write_report(const std::string& path, const Report& report);

}  // namespace spate::bench
