// SPDX-License-Identifier: Apache-2.0
#include "overview.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ephor::metrics {
namespace {

constexpr std::array<const char*, 5> kPlugins{"tracer", "ml_monitor", "trade_tracker",
                                              "ensemble_tracker", "alerter"};

// The answer, or null and the reason under `name` in `unavailable`.
Json part(const Ask& ask, const std::string& name, const std::string& query, const Json& request,
          Json& unavailable) {
  try {
    return ask(query, request);
  } catch (const Error& failure) {
    unavailable[name] = failure.what();
    return nullptr;
  }
}

// Each model's own figures, without what they are broken down by.
Json models_in_brief(const Json& answer) {
  const auto models = answer.find("models");
  if (models == answer.end() || !models->is_array()) return nullptr;
  Json out = Json::array();
  for (const Json& model : *models) {
    Json brief = Json::object();
    for (const auto& [name, value] : model.items()) {
      if (!value.is_structured()) brief[name] = value;
    }
    out.push_back(std::move(brief));
  }
  return out;
}

}  // namespace

Json headline_json(const Ask& ask, std::size_t findings_max) {
  Json plugins = Json::object();
  Json open = Json::array();
  Json unavailable = Json::object();
  std::size_t open_count = 0;
  for (const char* plugin : kPlugins) {
    Json summary = part(ask, plugin, std::string(plugin) + ".summary", Json::object(), unavailable);
    if (summary.is_object() && summary.contains("findings")) {
      for (Json& finding : summary["findings"]) {
        if (!finding.is_object() || finding.value("state", std::string()) != "open") continue;
        if (open_count++ < findings_max) open.push_back(std::move(finding));
      }
      summary.erase("findings");
    }
    plugins[plugin] = std::move(summary);
  }
  return {{"plugins", std::move(plugins)},
          {"findings", std::move(open)},
          {"findings_open", open_count},
          {"unavailable", std::move(unavailable)}};
}

Json performance_json(const Ask& ask, const Json& request) {
  Json handed_on = Json::object();
  for (const char* name : {"from", "to"}) {
    if (request.contains(name)) handed_on[name] = request[name];
  }
  Json unavailable = Json::object();
  Json out{{"trading", part(ask, "trading", "trade_tracker.performance", handed_on, unavailable)},
           {"latency", part(ask, "latency", "tracer.performance", handed_on, unavailable)}};
  const Json models = part(ask, "models", "ml_monitor.models", handed_on, unavailable);
  out["models"] = models.is_object() ? models_in_brief(models) : Json();
  out["unavailable"] = std::move(unavailable);
  return out;
}

}  // namespace ephor::metrics
