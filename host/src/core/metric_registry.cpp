// SPDX-License-Identifier: Apache-2.0
#include "core/metric_registry.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "event/error.hpp"

namespace ephor::host {
namespace {

bool is_name(std::string_view name) {
  const auto is_first = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  };
  return !name.empty() && is_first(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return is_first(c) || (c >= '0' && c <= '9');
  });
}

void append_escaped(std::string& out, std::string_view text, bool is_label) {
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && is_label)
      out += "\\\"";
    else
      out += c;
  }
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 40> text{};
  const auto result = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), result.ptr};
}

std::string rendered(const std::map<std::string, std::string>& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    if (!is_name(name) || name.find(':') != std::string::npos)
      throw HostError(EPHOR_INVALID, "label: found \"" + name + "\", expected a name");
    if (!out.empty()) out += ',';
    out += name + "=\"";
    append_escaped(out, value, true);
    out += '"';
  }
  return out;
}

const char* name_of(MetricRegistry::Kind kind) {
  if (kind == MetricRegistry::Kind::summary) return " summary\n";
  return kind == MetricRegistry::Kind::counter ? " counter\n" : " gauge\n";
}

}  // namespace

MetricRegistry::Series& MetricRegistry::series(Kind kind, std::string_view name,
                                               std::string_view help,
                                               const std::map<std::string, std::string>& labels,
                                               std::string_view suffix) {
  if (!is_name(name)) {
    throw HostError(EPHOR_INVALID, "metric: found \"" + std::string(name) +
                                       "\", expected [a-zA-Z_:][a-zA-Z0-9_:]*");
  }
  std::string text = rendered(labels);
  const std::string key = std::string(suffix) + "{" + text;
  const std::scoped_lock lock(mutex_);
  Family& family = families_.try_emplace(std::string(name), Family{kind, std::string(help), {}, {}})
                       .first->second;
  if (family.kind != kind) {
    throw HostError(EPHOR_CONFLICT, "metric " + std::string(name) + " exists as another kind");
  }
  if (const auto found = family.by_labels.find(key); found != family.by_labels.end()) {
    return *found->second;
  }
  if (series_count_ >= kSeriesMax) {
    throw HostError(EPHOR_FULL, "metric " + std::string(name) + ": more than " +
                                    std::to_string(kSeriesMax) + " series");
  }
  ++series_count_;
  Series& made = family.series.emplace_back();
  made.suffix = suffix;
  made.labels = std::move(text);
  family.by_labels.emplace(key, &made);
  return made;
}

void MetricRegistry::add_collector(std::function<void()> collector) {
  const std::scoped_lock lock(collectors_mutex_);
  collectors_.push_back(std::move(collector));
}

std::string MetricRegistry::render() {
  {
    const std::scoped_lock lock(collectors_mutex_);
    for (const auto& collector : collectors_) collector();
  }
  const std::scoped_lock lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += "# HELP " + name + " ";
    append_escaped(out, family.help, false);
    out += "\n# TYPE " + name + name_of(family.kind);
    for (const Series& one : family.series) {
      out += name + one.suffix;
      if (!one.labels.empty()) out += "{" + one.labels + "}";
      out += " " + number(one.value.load(std::memory_order_relaxed)) + "\n";
    }
  }
  return out;
}

}  // namespace ephor::host
