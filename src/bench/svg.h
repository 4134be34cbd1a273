// Charts as inline SVG: text in, text out. Colours and fonts come from the page's style sheet
// (bench/report.cc).
#pragma once

#include <string>
#include <string_view>

#include "bench/report.h"

namespace spate::bench {

/// &, <, > and quotes as entities.
std::string escaped(std::string_view text);

std::string svg_of(const RooflineChart& chart);
std::string svg_of(const BarChart& chart);
std::string svg_of(const DistributionChart& chart);

}  // namespace spate::bench
