// Charts as inline SVG: text in, text out. Colours and fonts come from the page's style sheet
// (bench/report.cc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/report.h"

namespace spate::bench {

/// &, <, > and quotes as entities.
std::string escaped(std::string_view text);

/// How many colours the style sheet has; series take them in turn.
inline constexpr std::size_t kColours = 6;
/// Number of each point's group, in order of appearance.
std::vector<std::size_t> groups_of(const RooflineChart& chart);

std::string svg_of(const RooflineChart& chart);
std::string svg_of(const BarChart& chart);
std::string svg_of(const DistributionChart& chart);

}  // namespace spate::bench
