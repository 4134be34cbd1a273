#include "bench/svg.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "bench/statistics.h"

namespace spate::bench {
namespace {

constexpr double kWidth = 760.0;

/// An axis: values from `low` to `high` on pixels from `begin` to `end`.
struct Axis {
  double low = 0.0, high = 1.0, begin = 0.0, end = 1.0;
  bool logarithmic = false;

  double at(double value) const {
    const auto scale = [&](double v) { return logarithmic ? std::log10(std::max(v, 1e-30)) : v; };
    const double share = (scale(value) - scale(low)) / (scale(high) - scale(low));
    return begin + std::clamp(share, 0.0, 1.0) * (end - begin);
  }
};

/// 1, 2 or 5 times a power of ten, so that about `n` steps cover `range`.
double tick_step(double range, int n) {
  const double raw = range / n;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0}) {
    if (m * power >= raw) return m * power;
  }
  return 10.0 * power;
}

std::string open_svg(double height, std::string_view label) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n", kWidth,
                     height, escaped(label));
}

std::string line(std::string_view css, double x1, double y1, double x2, double y2) {
  return fmt::format(
      "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", css, x1, y1,
      x2, y2);
}

std::string text(std::string_view css, double x, double y, std::string_view content) {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", css, x, y,
                     escaped(content));
}

/// A power of ten with a unit's prefix: "1 T", "100 G".
std::string with_prefix(double value) {
  struct Prefix {
    double size;
    const char* name;
  };
  for (const Prefix p : {Prefix{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
    if (value >= p.size * 0.999) return fmt::format("{:.3g} {}", value / p.size, p.name);
  }
  return fmt::format("{:.3g}", value);
}

double floor_decade(double v) { return std::pow(10.0, std::floor(std::log10(v))); }
double ceil_decade(double v) { return std::pow(10.0, std::ceil(std::log10(v) - 1e-9)); }

struct RooflineAxes {
  Axis x, y;
};

RooflineAxes roofline_axes(const RooflineChart& c, double height) {
  double low_x = 0.1;
  double high_x = 1000.0;
  double low_y = 1e300;
  double high_y = 0.0;
  for (const RooflineChart::Ceiling& ceiling : c.ceilings) {
    high_y = std::max(high_y, ceiling.operations);
    high_x = std::max(high_x, 4.0 * ceiling.operations / c.bytes);
  }
  for (const RooflineChart::Point& p : c.points) {
    low_x = std::min(low_x, p.intensity / 2.0);
    high_x = std::max(high_x, p.intensity * 2.0);
    low_y = std::min(low_y, p.operations / 2.0);
  }
  low_y = std::min(low_y, high_y / 100.0);
  return {.x = {floor_decade(low_x), ceil_decade(high_x), 60.0, kWidth - 20.0, true},
          .y = {floor_decade(low_y), ceil_decade(high_y), height - 44.0, 24.0, true}};
}

std::string decade_grid(const RooflineAxes& a) {
  std::string out;
  for (double v = a.x.low; v <= a.x.high * 1.001; v *= 10.0) {
    out += line("grid", a.x.at(v), a.y.begin, a.x.at(v), a.y.end);
    out += text("tick mid", a.x.at(v), a.y.begin + 16.0, with_prefix(v));
  }
  for (double v = a.y.low; v <= a.y.high * 1.001; v *= 10.0) {
    out += line("grid", a.x.begin, a.y.at(v), a.x.end, a.y.at(v));
    out += text("tick end", a.x.begin - 6.0, a.y.at(v) + 4.0, with_prefix(v));
  }
  return out;
}

}  // namespace

std::string escaped(std::string_view raw) {
  std::string out;
  for (const char c : raw) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::vector<std::size_t> groups_of(const RooflineChart& c) {
  std::vector<std::string_view> names;
  std::vector<std::size_t> out;
  for (const RooflineChart::Point& p : c.points) {
    const auto found = std::find(names.begin(), names.end(), p.group);
    out.push_back(static_cast<std::size_t>(found - names.begin()));
    if (found == names.end()) names.push_back(p.group);
  }
  return out;
}

std::string svg_of(const RooflineChart& c) {
  constexpr double kHeight = 440.0;
  const RooflineAxes a = roofline_axes(c, kHeight);
  std::string out = open_svg(kHeight, c.title) + decade_grid(a);
  out += text("tick mid", (a.x.begin + a.x.end) / 2.0, kHeight - 8.0, "operations per byte");
  out += text("tick", a.x.begin, 12.0, "operations/s");
  double top = 0.0;
  double label = a.x.end - 4.0;
  double above = 0.0;
  for (const RooflineChart::Ceiling& ceiling : c.ceilings) {
    const double y = a.y.at(ceiling.operations);
    out += line("roof", a.x.at(ceiling.operations / c.bytes), y, a.x.end, y);
    // Ceilings may lie close together: their names do not.
    label = std::abs(y - above) < 14.0 ? label - 120.0 : a.x.end - 4.0;
    above = y;
    out += text("tick end", label, y - 5.0,
                fmt::format("{} {}op/s", ceiling.name, with_prefix(ceiling.operations)));
    top = std::max(top, ceiling.operations);
  }
  const double first = std::max(a.x.low, a.y.low / c.bytes);
  out += line("roof", a.x.at(first), a.y.at(first * c.bytes), a.x.at(top / c.bytes), a.y.at(top));
  out += text("tick", a.x.at(first) + 24.0, a.y.at(first * c.bytes) - 2.0,
              fmt::format("{}B/s", with_prefix(c.bytes)));
  const std::vector<std::size_t> groups = groups_of(c);
  for (std::size_t i = 0; i < c.points.size(); ++i) {
    const RooflineChart::Point& p = c.points[i];
    const bool whole = p.name.empty();
    out += fmt::format(
        "<g class=\"{} f{}\"><title>{} {}</title><circle cx=\"{:.1f}\" cy=\"{:.1f}\" "
        "r=\"{}\"/></g>\n",
        whole ? "whole" : "part", groups[i] % kColours, escaped(p.group), escaped(p.name),
        a.x.at(p.intensity), a.y.at(p.operations), whole ? 7 : 4);
  }
  return out + "</svg>\n";
}

std::string svg_of(const BarChart& c) {
  constexpr double kRow = 26.0;
  constexpr double kLeft = 210.0;
  constexpr double kRight = 170.0;
  const double height = kRow * static_cast<double>(c.bars.size()) + 8.0;
  double most = 0.0;
  for (const BarChart::Bar& b : c.bars) most = std::max(most, std::max(b.value, b.limit));
  const Axis x{0.0, most > 0.0 ? most : 1.0, kLeft, kWidth - kRight};
  std::string out = open_svg(height, c.title);
  double y = 4.0;
  for (const BarChart::Bar& b : c.bars) {
    const auto bar = [&](std::string_view css, double value) {
      out += fmt::format(
          "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
          css, x.begin, y + 3.0, std::max(1.0, x.at(value) - x.begin), kRow - 8.0);
    };
    out += text("label end", kLeft - 8.0, y + 16.0, b.name);
    bar("bar", b.value);
    if (b.limit > 0.0) bar("limit", b.limit);
    out += text("tick", x.at(std::max(b.value, b.limit)) + 8.0, y + 16.0, b.note);
    y += kRow;
  }
  return out + "</svg>\n";
}

std::string svg_of(const DistributionChart& c) {
  constexpr double kHeight = 300.0;
  double high = 0.0;
  for (const DistributionChart::Series& s : c.series) {
    high = std::max(high, percentile(s.milliseconds, 0.995));
  }
  const double step = tick_step(high > 0.0 ? high : 1.0, 8);
  const Axis x{0.0, std::max(step, std::ceil(high / step) * step), 60.0, kWidth - 20.0};
  const Axis y{0.0, 1.0, kHeight - 44.0, 16.0};
  std::string out = open_svg(kHeight, c.title);
  for (double v = 0.0; v <= x.high * 1.001; v += step) {
    out += line("grid", x.at(v), y.begin, x.at(v), y.end);
    out += text("tick mid", x.at(v), y.begin + 16.0, fmt::format("{:g}", v));
  }
  for (const double share : {0.0, 0.25, 0.5, 0.75, 0.9, 1.0}) {
    out += line("grid", x.begin, y.at(share), x.end, y.at(share));
    out += text("tick end", x.begin - 6.0, y.at(share) + 4.0, fmt::format("{:.0f} %", share * 100));
  }
  out += text("tick mid", (x.begin + x.end) / 2.0, kHeight - 8.0, "milliseconds, at most");
  std::size_t colour = 0;
  for (const DistributionChart::Series& s : c.series) {
    out += fmt::format("<polyline class=\"s{}\" points=\"", colour++ % kColours);
    for (int i = 0; i <= 200; ++i) {
      const double share = i / 200.0;
      out += fmt::format("{:.1f},{:.1f} ", x.at(percentile(s.milliseconds, share)), y.at(share));
    }
    out += "\"/>\n";
  }
  return out + "</svg>\n";
}

}  // namespace spate::bench
