// SPDX-License-Identifier: Apache-2.0
#include "answers.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ephor/times.hpp>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "spans.hpp"
#include "trend.hpp"

namespace ephor::metrics {
namespace {

constexpr std::size_t kNamesShown = 20;
constexpr double kPerHour = 3600.0;

const char* name_of(MetricKind kind) {
  if (kind == MetricKind::counter) return "counter";
  if (kind == MetricKind::delta) return "delta";
  return kind == MetricKind::histogram ? "histogram" : "gauge";
}

struct Window {
  std::optional<std::int64_t> from_ns;
  std::optional<std::int64_t> to_ns;  // exclusive

  bool holds(std::int64_t time_ns) const {
    return (!from_ns || time_ns >= *from_ns) && (!to_ns || time_ns < *to_ns);
  }
};

Window window_of(const Json& request) {
  Window window{time_parameter(request, "from"), time_parameter(request, "to")};
  if (window.from_ns && window.to_ns && *window.to_ns < *window.from_ns) {
    throw Error(EPHOR_INVALID, "to: found a time before from, expected a later one", "/to");
  }
  return window;
}

// ---- one series --------------------------------------------------------------------------------

// A counter as if it had never been reset, from its first point here on.
std::vector<MetricPoint> without_resets(std::span<const MetricPoint> points) {
  std::vector<MetricPoint> out;
  double lost = 0.0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i > 0 && points[i].value < points[i - 1].value) lost += points[i - 1].value;
    out.push_back({points[i].time_ns, points[i].value + lost});
  }
  return out;
}

std::vector<MetricPoint> last_points(const MetricSeries& series, std::size_t count) {
  const auto& history = series.history();
  const std::size_t from = history.size() > count ? history.size() - count : 0;
  return {history.begin() + static_cast<std::ptrdiff_t>(from), history.end()};
}

Json trend_json(const MetricSeries& series, std::size_t trend_points) {
  std::vector<MetricPoint> points = last_points(series, trend_points);
  if (series.kind() == MetricKind::counter) points = without_resets(points);
  const auto trend = theil_sen(points);
  if (!trend) return nullptr;
  const auto per_hour = [](const std::optional<double>& slope) {
    return slope ? number_or_null(*slope * kPerHour) : Json();
  };
  return {{"direction", direction_of(*trend)},
          {"slope_per_hour", number_or_null(trend->slope_per_s * kPerHour)},
          {"low_per_hour", per_hour(trend->low_per_s)},
          {"high_per_hour", per_hour(trend->high_per_s)},
          {"confidence", trend->low_per_s ? Json(0.95) : Json()},
          {"method", "theil_sen"},
          {"points", trend->points},
          {"from", format_time(trend->from_ns)},
          {"to", format_time(trend->to_ns)}};
}

// The latest value against the one that held `span_ns` before it; null if nothing is known of then.
Json change_json(const MetricSeries& series, std::int64_t span_ns) {
  const MetricPoint latest = series.latest();
  const std::int64_t target_ns = earlier(latest.time_ns, span_ns);
  const auto then = series.value_at(target_ns, earlier(target_ns, span_ns));
  if (!then) return nullptr;
  const double change = latest.value - then->value;
  return {
      {"from_time", format_time(then->time_ns)},
      {"from_value", number_or_null(then->value)},
      {"absolute", number_or_null(change)},
      {"relative", then->value == 0.0 ? Json() : number_or_null(change / std::abs(then->value))}};
}

Json rate_json(const MetricSeries& series) {
  if (!is_growing(series.kind())) return nullptr;
  const std::int64_t since_ns = earlier(series.latest().time_ns, kHourNs);
  std::vector<MetricPoint> points;
  for (const MetricPoint& point : series.history()) {
    if (point.time_ns >= since_ns) points.push_back(point);
  }
  const auto rate = counter_rate(points, series.kind());
  if (!rate) return nullptr;
  const double over_s = seconds_between(rate->from_ns, rate->to_ns);
  return {{"per_s", number_or_null(rate->increase / over_s)},
          {"increase", number_or_null(rate->increase)},
          {"resets", rate->resets},
          {"from", format_time(rate->from_ns)},
          {"to", format_time(rate->to_ns)}};
}

Json histogram_json(const MetricSeries& series) {
  const auto& buckets = series.histogram();
  if (buckets.empty()) return nullptr;
  const auto quantile = [&](double q) { return number_or_null(histogram_quantile(buckets, q)); };
  Json rows = Json::array();
  for (const MetricBucket& bucket : buckets) {
    rows.push_back(
        {{"le", std::isinf(bucket.upper_bound) ? Json("+Inf") : Json(bucket.upper_bound)},
         {"count", bucket.count}});
  }
  return {{"count", buckets.back().count},
          {"p50", quantile(0.50)},
          {"p95", quantile(0.95)},
          {"p99", quantile(0.99)},
          {"buckets", std::move(rows)}};
}

// ---- history -----------------------------------------------------------------------------------

constexpr std::array<std::string_view, 9> kOwnParameters{"metric_name",  "from",          "to",
                                                         "resolution",   "limit",         "offset",
                                                         "series_limit", "series_offset", "name"};

std::map<std::string, std::string> label_filter(const Json& request) {
  constexpr std::string_view kPrefix = "label.";
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : request.items()) {
    const bool is_own =
        std::find(kOwnParameters.begin(), kOwnParameters.end(), name) != kOwnParameters.end();
    if (is_own) continue;
    const bool has_prefix = name.starts_with(kPrefix);
    out[has_prefix ? name.substr(kPrefix.size()) : name] =
        value.is_string() ? value.get<std::string>() : dump(value);
  }
  return out;
}

bool matches(const Json& labels, const std::map<std::string, std::string>& filter) {
  return std::all_of(filter.begin(), filter.end(), [&](const auto& wanted) {
    return labels.value(wanted.first, std::string()) == wanted.second;
  });
}

// Series of the name whose labels match; throws EPHOR_NOT_FOUND with what there is instead.
std::vector<const MetricSeries*> find_series(const SeriesTable& table, const std::string& name,
                                             const std::map<std::string, std::string>& filter) {
  std::vector<const MetricSeries*> out;
  std::set<std::string> others;
  for (const auto& series : table.series()) {
    if (series->name() != name) {
      others.insert(series->name());
    } else if (matches(Json::parse(series->labels_json()), filter)) {
      out.push_back(series.get());
    }
  }
  if (!out.empty()) return out;
  std::string found;
  const bool is_known = std::any_of(table.series().begin(), table.series().end(),
                                    [&](const auto& series) { return series->name() == name; });
  if (is_known) {
    others.clear();
    for (const auto& series : table.series()) {
      if (series->name() == name) others.insert(series->labels_json());
    }
  }
  std::size_t shown = 0;
  for (const std::string& other : others) {
    if (shown++ == kNamesShown) break;
    found += (found.empty() ? "" : ", ") + other;
  }
  if (others.size() > kNamesShown) {
    found += " and " + std::to_string(others.size() - kNamesShown) + " more";
  }
  throw Error(EPHOR_NOT_FOUND,
              is_known ? "no series of " + name + " has these labels; there are " + found
                       : "no metric is named \"" + name + "\"; there are " +
                             (found.empty() ? "none yet" : found),
              "/metric_name");
}

constexpr std::int64_t kRaw = 0;
constexpr std::int64_t kAuto = -1;

std::int64_t resolution_parameter(const Json& request) {
  const std::string text = [&] {
    const auto found = request.find("resolution");
    if (found == request.end() || found->is_null()) return std::string("auto");
    return found->is_string() ? found->get<std::string>() : dump(*found);
  }();
  if (text == "auto" || text.empty()) return kAuto;
  if (text == "raw") return kRaw;
  for (const std::int64_t resolution_ns : kResolutionsNs) {
    if (text == std::to_string(resolution_ns / 1'000'000'000)) return resolution_ns;
  }
  throw Error(EPHOR_INVALID,
              "resolution: found \"" + text + "\", expected raw, 60, 3600, 86400 or auto",
              "/resolution");
}

// The finest that holds everything from the window's begin on; else what reaches back furthest.
std::int64_t finest_for(const MetricSeries& series, const Window& window) {
  if (!window.from_ns) return kRaw;
  const auto reaches = [&](bool is_complete, std::int64_t begin_ns) {
    return is_complete || begin_ns <= *window.from_ns;
  };
  if (reaches(series.is_history_complete(), series.history().front().time_ns)) return kRaw;
  for (const RollupRing& ring : series.rings()) {
    if (reaches(ring.is_complete(), ring.buckets().front().start_ns)) return ring.width_ns();
  }
  return kDayNs;
}

// Figures over points or buckets.
struct Figures {
  std::uint64_t count = 0;
  double sum = 0.0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  std::int64_t from_ns = INT64_MAX;
  std::int64_t to_ns = INT64_MIN;

  void add(std::uint64_t n, double total, double low, double high, std::int64_t first_ns,
           std::int64_t last_ns) {
    count += n;
    sum += total;
    min = std::min(min, low);
    max = std::max(max, high);
    from_ns = std::min(from_ns, first_ns);
    to_ns = std::max(to_ns, last_ns);
  }
  Json json() const {
    const bool is_empty = count == 0;
    return {{"count", count},
            {"mean", is_empty ? Json() : number_or_null(sum / static_cast<double>(count))},
            {"min", is_empty ? Json() : number_or_null(min)},
            {"max", is_empty ? Json() : number_or_null(max)},
            {"p50", nullptr},
            {"p95", nullptr},
            {"p99", nullptr}};
  }
};

// Of values, by linear interpolation between order statistics (Hyndman & Fan 1996, type 7).
Json quantile_json(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return nullptr;
  const double rank = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return number_or_null(sorted[below] +
                        (rank - static_cast<double>(below)) * (sorted[above] - sorted[below]));
}

struct Page {
  std::size_t limit;
  std::size_t offset;  // from the newest back

  // The part [first, second) of `size` entries in order of time.
  std::pair<std::size_t, std::size_t> of(std::size_t size) const {
    const std::size_t end = size > offset ? size - offset : 0;
    return {end > limit ? end - limit : 0, end};
  }
};

// Growth per second from the entry before; null for what is no counter.
Json growth_json(const MetricSeries& series, const MetricPoint* before, const MetricPoint& now) {
  if (!is_growing(series.kind()) || before == nullptr) return nullptr;
  if (now.time_ns <= before->time_ns) return nullptr;
  const double over_s = seconds_between(before->time_ns, now.time_ns);
  return number_or_null(growth(series.kind(), before->value, now.value) / over_s);
}

void put_raw(const MetricSeries& series, const Window& window, const Page& page, Json& out) {
  std::vector<MetricPoint> points;
  std::vector<double> values;
  Figures figures;
  for (const MetricPoint& point : series.history()) {
    if (!window.holds(point.time_ns)) continue;
    points.push_back(point);
    values.push_back(point.value);
    figures.add(1, point.value, point.value, point.value, point.time_ns, point.time_ns);
  }
  std::sort(values.begin(), values.end());
  Json statistics = figures.json();
  statistics["p50"] = quantile_json(values, 0.50);
  statistics["p95"] = quantile_json(values, 0.95);
  statistics["p99"] = quantile_json(values, 0.99);
  const auto [begin, end] = page.of(points.size());
  Json rows = Json::array();
  for (std::size_t i = begin; i < end; ++i) {
    Json row{{"time", format_time(points[i].time_ns)}, {"value", number_or_null(points[i].value)}};
    if (is_growing(series.kind())) {
      row["rate_per_s"] = growth_json(series, i > 0 ? &points[i - 1] : nullptr, points[i]);
    }
    rows.push_back(std::move(row));
  }
  out["over"] = {
      {"from", points.empty() ? Json() : Json(format_time(points.front().time_ns))},
      {"to", points.empty() ? Json() : Json(format_time(points.back().time_ns))},
      {"resolution", "raw"},
      {"points_total", points.size()},
      {"is_complete", series.is_history_complete() ||
                          (window.from_ns && series.history().front().time_ns <= *window.from_ns)}};
  out["statistics"] = std::move(statistics);
  out["points"] = std::move(rows);
}

// Buckets that touch the window count whole: `over` says what was covered.
void put_rollups(const MetricSeries& series, const RollupRing& ring, const Window& window,
                 const Page& page, Json& out) {
  std::vector<const Bucket*> buckets;
  Figures figures;
  for (const Bucket& bucket : ring.buckets()) {
    if (window.from_ns && bucket.start_ns + ring.width_ns() <= *window.from_ns) continue;
    if (window.to_ns && bucket.start_ns >= *window.to_ns) continue;
    buckets.push_back(&bucket);
    figures.add(bucket.count, bucket.sum(), bucket.min, bucket.max, bucket.first_ns, bucket.last_ns);
  }
  const auto [begin, end] = page.of(buckets.size());
  Json rows = Json::array();
  for (std::size_t i = begin; i < end; ++i) {
    const Bucket& bucket = *buckets[i];
    Json row{{"time", format_time(bucket.start_ns)},
             {"count", bucket.count},
             {"sum", number_or_null(bucket.sum())},
             {"mean", number_or_null(bucket.sum() / static_cast<double>(bucket.count))},
             {"min", number_or_null(bucket.min)},
             {"max", number_or_null(bucket.max)},
             {"first", number_or_null(bucket.first)},
             {"last", number_or_null(bucket.last)}};
    if (is_growing(series.kind())) {
      // What a roll-up of deltas grew by is their sum.
      const bool is_delta = series.kind() == MetricKind::delta;
      const MetricPoint now{bucket.last_ns, is_delta ? bucket.sum() : bucket.last};
      MetricPoint before;
      if (i > 0) before = {buckets[i - 1]->last_ns, buckets[i - 1]->last};
      row["rate_per_s"] = growth_json(series, i > 0 ? &before : nullptr, now);
    }
    rows.push_back(std::move(row));
  }
  out["over"] = {
      {"from", buckets.empty() ? Json() : Json(format_time(buckets.front()->start_ns))},
      {"to",
       buckets.empty() ? Json() : Json(format_time(buckets.back()->start_ns + ring.width_ns()))},
      {"resolution", ring.width_ns() / 1'000'000'000},
      {"points_total", buckets.size()},
      {"is_complete", ring.is_complete() ||
                          (window.from_ns && ring.buckets().front().start_ns <= *window.from_ns)}};
  out["statistics"] = figures.json();
  out["points"] = std::move(rows);
}

}  // namespace

std::optional<std::int64_t> time_parameter(const Json& request, std::string_view name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  const std::string text = request_text(request, name);
  if (text.empty()) return std::nullopt;
  if (const auto time = parse_time(text)) return time;
  std::int64_t ns = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ns);
  if (error == std::errc() && end == text.data() + text.size()) return ns;
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found \"" + text +
                  "\", expected an RFC 3339 time such as 2017-11-07T06:29:00Z, or nanoseconds",
              "/" + std::string(name));
}

Json series_json(const MetricSeries& series, std::size_t trend_points) {
  return {{"name", series.name()},
          {"labels", Json::parse(series.labels_json())},
          {"unit", text_or_null(series.unit())},
          {"kind", name_of(series.kind())},
          {"value", number_or_null(series.latest().value)},
          {"time", format_time(series.latest().time_ns)},
          {"count", series.count()},
          {"mean", number_or_null(series.mean())},
          {"min", number_or_null(series.min())},
          {"max", number_or_null(series.max())},
          {"first_time", format_time(series.first_ns())},
          {"trend", trend_json(series, trend_points)},
          {"change_1h", change_json(series, kHourNs)},
          {"change_24h", change_json(series, kDayNs)},
          {"rate_1h", rate_json(series)},
          {"histogram", histogram_json(series)}};
}

Json series_list_json(const SeriesTable& table, const Json& request, std::size_t trend_points) {
  const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 200, 1, 10'000));
  const auto offset = static_cast<std::size_t>(request_integer(request, "offset", 0, 0, INT64_MAX));
  const std::string name = request_text(request, "name");
  std::vector<const MetricSeries*> found;
  for (const auto& series : table.series()) {
    if (name.empty() || series->name() == name) found.push_back(series.get());
  }
  std::sort(found.begin(), found.end(), [](const MetricSeries* a, const MetricSeries* b) {
    return std::pair(std::string_view(a->name()), std::string_view(a->labels_json())) <
           std::pair(std::string_view(b->name()), std::string_view(b->labels_json()));
  });
  Json rows = Json::array();
  for (std::size_t i = offset; i < found.size() && rows.size() < limit; ++i) {
    rows.push_back(series_json(*found[i], trend_points));
  }
  return {{"series", std::move(rows)},
          {"total", found.size()},
          {"limit", limit},
          {"offset", offset},
          {"points_of_refused_series", table.refused_points()}};
}

Json history_json(const SeriesTable& table, const Json& request, std::size_t trend_points) {
  const std::string name = request_text(request, "metric_name");
  const Window window = window_of(request);
  const std::int64_t resolution_ns = resolution_parameter(request);
  const Page page{static_cast<std::size_t>(request_integer(request, "limit", 1000, 1, 1'000'000)),
                  static_cast<std::size_t>(request_integer(request, "offset", 0, 0, INT64_MAX))};
  const auto series_limit =
      static_cast<std::size_t>(request_integer(request, "series_limit", 20, 1, 1000));
  const auto series_offset =
      static_cast<std::size_t>(request_integer(request, "series_offset", 0, 0, INT64_MAX));
  const auto found = find_series(table, name, label_filter(request));
  Json rows = Json::array();
  for (std::size_t i = series_offset; i < found.size() && rows.size() < series_limit; ++i) {
    const MetricSeries& series = *found[i];
    Json row = series_json(series, trend_points);
    const std::int64_t chosen_ns =
        resolution_ns == kAuto ? finest_for(series, window) : resolution_ns;
    if (chosen_ns == kRaw) {
      put_raw(series, window, page, row);
    } else {
      for (const RollupRing& ring : series.rings()) {
        if (ring.width_ns() == chosen_ns) put_rollups(series, ring, window, page, row);
      }
    }
    rows.push_back(std::move(row));
  }
  return {{"name", name},
          {"asked", {{"from", time_or_null(window.from_ns)}, {"to", time_or_null(window.to_ns)}}},
          {"series", std::move(rows)},
          {"series_total", found.size()},
          {"limit", page.limit},
          {"offset", page.offset}};
}

}  // namespace ephor::metrics
