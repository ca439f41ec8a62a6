// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "render.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr double kWidth = 720;
constexpr double kRight = 76;  // for the labels of the y axis
constexpr double kPlot = kWidth - kRight;

// A coordinate, one decimal.
std::string at(double value) {
  std::array<char, 64> out{};
  const auto [end, error] =
      std::to_chars(out.data(), out.data() + out.size(), value, std::chars_format::fixed, 1);
  std::string text(out.data(), end);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string label_text(double value, Format format) {
  if (format == Format::money || format == Format::signed_money) {
    const bool is_whole = std::abs(value - std::round(value)) < 1e-9;
    const std::string digits = fixed(std::abs(value), is_whole ? 0 : 2);
    return (value < 0 ? "\u2212" : "") + digits;
  }
  return value_text(value, format, 0);
}

// 1, 2 or 5 times a power of ten, so that `range` has about `count` of them.
double nice_step(double range, int count) {
  const double rough = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double rest = rough / power;
  return (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10) * power;
}

std::string line(double x1, double y1, double x2, double y2, std::string_view style) {
  return "<line class=\"" + std::string(style) + "\" x1=\"" + at(x1) + "\" y1=\"" + at(y1) +
         "\" x2=\"" + at(x2) + "\" y2=\"" + at(y2) + "\"/>";
}

std::string text_at(double x, double y, std::string_view style, std::string_view words) {
  return "<text class=\"" + std::string(style) + "\" x=\"" + at(x) + "\" y=\"" + at(y) + "\">" +
         escape_html(words) + "</text>";
}

struct Scale {
  double low = 0, high = 1, top = 0, height = 1;
  double y(double value) const { return top + (high - value) / (high - low) * height; }
};

// The axis of a stretch of time, ticks at whole units of the local clock.
class TimeAxis {
 public:
  TimeAxis(std::int64_t from_ns, std::int64_t to_ns, std::int32_t offset_s)
      : from_ns_(from_ns), to_ns_(std::max(to_ns, from_ns + 1)), offset_s_(offset_s) {}

  double x(std::int64_t time_ns) const {
    const double part = static_cast<double>(std::clamp(time_ns, from_ns_, to_ns_) - from_ns_) /
                        static_cast<double>(to_ns_ - from_ns_);
    return part * kPlot;
  }
  std::string ticks(double top, double bottom) const {
    constexpr std::array<std::int64_t, 17> kStepsS{
        60,     300,    600,    900,     1800,    3600,      7200,      10'800,    14'400,
        21'600, 43'200, 86'400, 172'800, 604'800, 1'209'600, 2'592'000, 31'536'000};
    constexpr std::int64_t kTicksMost = 8;
    std::int64_t step_s = kStepsS.back();
    for (const std::int64_t one : kStepsS) {
      if ((to_ns_ - from_ns_) / kSecondNs <= one * kTicksMost) {
        step_s = one;
        break;
      }
    }
    std::string out;
    const std::int64_t local_s = from_ns_ / kSecondNs + offset_s_;
    for (std::int64_t tick = (local_s + step_s - 1) / step_s * step_s;; tick += step_s) {
      const std::int64_t time_ns = (tick - offset_s_) * kSecondNs;
      if (time_ns > to_ns_) break;
      const std::string words = short_date_time(time_ns, offset_s_);
      const std::size_t space = words.rfind(' ');
      const bool is_midnight = tick % 86'400 == 0;
      const double where = x(time_ns);
      out += line(where, top, where, bottom, "grid");
      // The ends stay inside the picture.
      const std::string_view style = where < 16 ? "axis" : where > kPlot - 16 ? "axis e" : "axis m";
      out += text_at(where, bottom + 14, style,
                     is_midnight ? words.substr(0, space) : words.substr(space + 1));
    }
    return out;
  }

 private:
  std::int64_t from_ns_;
  std::int64_t to_ns_;
  std::int32_t offset_s_;
};

std::string opening(double height, const std::string& title, const std::string& description) {
  return "<svg viewBox=\"0 0 " + at(kWidth) + " " + at(height) + "\" role=\"img\" aria-label=\"" +
         escape_html(title.empty() ? description : title + ": " + description) + "\">";
}

std::string steps(const std::vector<Point>& points, const TimeAxis& axis, const Scale& scale,
                  std::int64_t to_ns) {
  std::string path = "M" + at(axis.x(points.front().time_ns)) + " " + at(scale.y(points[0].value));
  for (std::size_t i = 1; i < points.size(); ++i) {
    path += "H" + at(axis.x(points[i].time_ns)) + "V" + at(scale.y(points[i].value));
  }
  return path + "H" + at(axis.x(to_ns));
}

std::string y_axis(const Scale& scale, Format format, int count) {
  std::string out;
  const double step = nice_step(scale.high - scale.low, count);
  for (double tick = std::ceil(scale.low / step - 1e-9); tick * step <= scale.high + step * 1e-9;
       tick += 1) {
    const double value = tick == 0 ? 0 : tick * step;
    out += line(0, scale.y(value), kPlot, scale.y(value), value == 0 ? "zero" : "grid");
    out += text_at(kPlot + 8, scale.y(value) + 4, "axis", label_text(value, format));
  }
  return out;
}

}  // namespace

std::string chart_svg(const LineChart& chart, std::int32_t offset_s) {
  if (chart.points.empty()) return {};
  const auto [low, high] =
      std::minmax_element(chart.points.begin(), chart.points.end(),
                          [](const Point& a, const Point& b) { return a.value < b.value; });
  Scale scale{std::min(0.0, low->value), std::max(0.0, high->value), 8, 172};
  if (scale.high - scale.low < 1e-12) scale.high = scale.low + 1;
  const double margin = (scale.high - scale.low) * 0.04;
  scale.low -= scale.low < 0 ? margin : 0;
  scale.high += margin;

  std::vector<Point> under;  // distance to the greatest value so far
  double peak = 0;
  double deepest = 0;
  for (const Point& point : chart.points) {
    peak = std::max(peak, point.value);
    under.push_back({point.time_ns, point.value - peak});
    deepest = std::min(deepest, point.value - peak);
  }
  const bool has_under = chart.has_drawdown && deepest < 0;
  const double main_bottom = scale.top + scale.height;
  const Scale below{deepest, 0, main_bottom + 14, 44};
  const double bottom = has_under ? below.top + below.height : main_bottom;

  const TimeAxis axis(chart.from_ns, chart.to_ns, offset_s);
  const double last = chart.points.back().value;
  std::string out = opening(bottom + 20, chart.title,
                            "from " + label_text(chart.points.front().value, chart.format) +
                                " to " + label_text(last, chart.format) + ", least " +
                                label_text(low->value, chart.format) + ", greatest " +
                                label_text(high->value, chart.format));
  out += axis.ticks(scale.top, bottom);
  out += y_axis(scale, chart.format, 4);
  const std::string path = steps(chart.points, axis, scale, chart.to_ns);
  out += "<path class=\"fill\" d=\"" + path + "V" + at(scale.y(0)) + "H" +
         at(axis.x(chart.points.front().time_ns)) + "Z\"/>";
  out += "<path class=\"main\" d=\"" + path + "\"/>";
  out +=
      "<circle class=\"dot\" cx=\"" + at(kPlot) + "\" cy=\"" + at(scale.y(last)) + "\" r=\"3\"/>";
  if (has_under) {
    out += line(0, below.top, kPlot, below.top, "zero");
    out += "<path class=\"under\" d=\"" + steps(under, axis, below, chart.to_ns) + "V" +
           at(below.top) + "H" + at(axis.x(under.front().time_ns)) + "Z\"/>";
    out += text_at(kPlot + 8, below.top + below.height, "axis", label_text(deepest, chart.format));
    out += text_at(kPlot + 8, below.top + 10, "axis", "drawdown");
  }
  return out + "</svg>";
}

std::string chart_svg(const BarChart& chart) {
  if (chart.bars.empty()) return {};
  constexpr double kLabel = 170;
  constexpr double kValue = 200;
  constexpr double kRow = 24;
  double low = 0;
  double high = 0;
  for (const Bar& bar : chart.bars) {
    low = std::min(low, bar.value);
    high = std::max(high, bar.value);
  }
  if (high - low < 1e-12) high = low + 1;
  const auto x = [&](double value) {
    return kLabel + (value - low) / (high - low) * (kWidth - kLabel - kValue);
  };
  const double height = kRow * static_cast<double>(chart.bars.size());
  std::string out = opening(height + 4, chart.title, "bars by group");
  double y = 2;
  const bool is_signed = chart.format == Format::signed_money;
  for (const Bar& bar : chart.bars) {
    const double left = std::min(x(bar.value), x(0));
    const double width = std::max(1.0, std::abs(x(bar.value) - x(0)));
    const std::string_view style = !is_signed ? "bar" : bar.value < 0 ? "bar loss" : "bar gain";
    out += text_at(kLabel - 10, y + 15.5, "name e", bar.label);
    out += "<rect class=\"" + std::string(style) + "\" x=\"" + at(left) + "\" y=\"" + at(y + 4) +
           "\" width=\"" + at(width) + "\" height=\"" + at(kRow - 8) + "\" rx=\"2\"/>";
    out += "<text class=\"figure\" x=\"" + at(kWidth - kValue + 12) + "\" y=\"" + at(y + 15.5) +
           "\">" + escape_html(value_text(bar.value, chart.format, 0)) +
           "<tspan class=\"axis\" dx=\"8\">" + escape_html(bar.context) + "</tspan></text>";
    y += kRow;
  }
  out += line(x(0), 0, x(0), height + 4, "zero");
  return out + "</svg>";
}

}  // namespace ephor::reporter
