// SPDX-License-Identifier: Apache-2.0
#include "answers.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ephor/times.hpp>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace ephor::alerter {
namespace {

struct Filter {
  std::string state;
  std::string severity;
  std::string kind;
  std::string target;
  std::string source;
  std::optional<std::int64_t> from_ns;
  std::optional<std::int64_t> to_ns;

  explicit Filter(const Json& request)
      : state(request_text(request, "state", "all")),
        severity(request_text(request, "severity")),
        kind(request_text(request, "kind")),
        target(request_text(request, "target")),
        source(request_text(request, "source")),
        from_ns(time_parameter(request, "from")),
        to_ns(time_parameter(request, "to")) {
    constexpr std::array<std::string_view, 4> kStates{"all", "open", "acknowledged", "resolved"};
    if (std::find(kStates.begin(), kStates.end(), state) == kStates.end()) {
      throw Error(EPHOR_INVALID,
                  "state: found \"" + state + "\", expected open, acknowledged, resolved or all",
                  "/state");
    }
    if (!severity.empty() && severity != name_of(severity_from(severity))) {
      throw Error(EPHOR_INVALID,
                  "severity: found \"" + severity + "\", expected info, warning or critical",
                  "/severity");
    }
  }

  bool takes(const Alert& alert) const {
    const auto is = [](const std::string& wanted, const std::string& value) {
      return wanted.empty() || wanted == value;
    };
    const bool is_of_state =
        state == "all" || (state == "open" && alert.is_unresolved()) || state == alert.state();
    return is_of_state && is(severity, name_of(alert.severity)) && is(kind, alert.kind) &&
           is(target, alert.target) && is(source, alert.source) &&
           (!from_ns || alert.opened_ns >= *from_ns) && (!to_ns || alert.opened_ns < *to_ns);
  }
};

Json groups_json(const std::vector<const Alert*>& alerts) {
  struct Group {
    std::uint64_t count = 0;
    std::uint64_t unresolved = 0;
    Severity severity_max = Severity::info;
  };
  std::map<std::string, Group> groups;
  for (const Alert* alert : alerts) {
    Group& group = groups[alert->group()];
    ++group.count;
    group.unresolved += alert->is_unresolved() ? 1 : 0;
    group.severity_max = std::max(group.severity_max, alert->severity_max);
  }
  Json out = Json::array();
  for (const auto& [name, group] : groups) {
    out.push_back({{"group", name},
                   {"count", group.count},
                   {"unresolved", group.unresolved},
                   {"severity_max", name_of(group.severity_max)}});
  }
  return out;
}

std::pair<std::size_t, std::size_t> page_of(const Json& request) {
  return {static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 10'000)),
          static_cast<std::size_t>(request_integer(request, "offset", 0, 0, INT64_MAX))};
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

Json alert_answer(const Alert& alert, const Silences& silences, std::int64_t now_ns) {
  Json out = alert_json(alert);
  const Silence* silence = silences.find_for(alert, now_ns);
  out["silenced_by"] = silence == nullptr ? Json() : Json(silence->silence_id);
  return out;
}

Json alerts_json(const AlertBook& book, const Silences& silences, std::int64_t now_ns,
                 const Json& request) {
  const Filter filter(request);
  const auto [limit, offset] = page_of(request);
  std::vector<const Alert*> found;
  std::map<std::string, std::uint64_t> by_state{{"open", 0}, {"acknowledged", 0}, {"resolved", 0}};
  for (const auto& [id, alert] : book.alerts()) {
    if (!filter.takes(*alert)) continue;
    found.push_back(alert.get());
    ++by_state[alert->state()];
  }
  std::sort(found.begin(), found.end(), [](const Alert* a, const Alert* b) {
    return std::make_tuple(!a->is_unresolved(), -a->updated_ns, std::string_view(a->alert_id)) <
           std::make_tuple(!b->is_unresolved(), -b->updated_ns, std::string_view(b->alert_id));
  });
  Json rows = Json::array();
  for (std::size_t i = offset; i < found.size() && rows.size() < limit; ++i) {
    rows.push_back(alert_answer(*found[i], silences, now_ns));
  }
  return {{"alerts", std::move(rows)},
          {"total", found.size()},
          {"limit", limit},
          {"offset", offset},
          {"by_state", by_state},
          {"groups", groups_json(found)},
          {"over", {{"from", time_or_null(filter.from_ns)}, {"to", time_or_null(filter.to_ns)}}}};
}

Json silences_json(const Silences& silences, std::int64_t now_ns, const Json& request) {
  const auto [limit, offset] = page_of(request);
  const bool only_active = request_text(request, "active") == "true";
  Json rows = Json::array();
  std::size_t total = 0;
  for (const Silence& silence : silences.all()) {
    if (only_active && !silence.covers(now_ns)) continue;
    if (total++ < offset || rows.size() >= limit) continue;
    rows.push_back(silence_json(silence, now_ns));
  }
  return {{"silences", std::move(rows)}, {"total", total}, {"limit", limit}, {"offset", offset}};
}

std::string describe_json(const AlertBook& book, const Json& request) {
  constexpr std::size_t kDescribedMax = 100;
  struct Asked {
    std::string id;
    std::string quoted;  // as it stands in evidence
  };
  std::vector<Asked> asked;
  for (const auto& id : member_or(request, "ids", std::vector<std::string>{})) {
    if (!id.empty()) asked.push_back({id, Json(id).dump()});
  }
  Json list = Json::array();
  for (const auto& [alert_id, alert] : book.alerts()) {
    const auto is_named = [&one = *alert](const Asked& what) {
      return one.target == what.id || one.finding_id == what.id || one.alert_id == what.id ||
             one.evidence_json.find(what.quoted) != std::string::npos;
    };
    const bool is_about = std::any_of(asked.begin(), asked.end(), is_named);
    if (is_about && list.size() < kDescribedMax) list.push_back(alert_json(*alert));
  }
  return list.empty() ? "{}" : dump({{"alerts", std::move(list)}});
}

Json summary_json(const AlertBook& book) {
  std::uint64_t open = 0;
  std::uint64_t acknowledged = 0;
  std::map<std::string, std::uint64_t> by_severity{{"info", 0}, {"warning", 0}, {"critical", 0}};
  std::map<std::string, std::uint64_t> deliveries{
      {"pending", 0}, {"delivered", 0}, {"failed", 0}, {"skipped", 0}, {"silenced", 0}};
  for (const auto& [id, alert] : book.alerts()) {
    for (const Delivery& one : alert->deliveries) ++deliveries[name_of(one.status)];
    if (!alert->is_unresolved()) continue;
    ++open;
    acknowledged += alert->acknowledged_ns ? 1 : 0;
    ++by_severity[name_of(alert->severity)];
  }
  return {{"alerts_open", open},
          {"alerts_acknowledged", acknowledged},
          {"alerts_total", book.total()},
          {"alerts_open_by_severity", by_severity},
          {"alerts_forgotten", book.forgotten()},
          {"webhook_deliveries", deliveries["delivered"]},
          {"webhook_failures", deliveries["failed"]},
          {"webhook_by_status", deliveries},
          {"findings", Json::array()}};
}

Json webhook_body(const Json& event, const std::string& webhook, const std::string& key) {
  const auto text = [&](const char* name) {
    const auto found = event.find(name);
    return found != event.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const bool is_resolved = text("state") == "resolved";
  const char* status = is_resolved ? "resolved" : "firing";
  const Json labels{{"alertname", text("kind")},
                    {"severity", text("severity")},
                    {"target", text("target")},
                    {"target_kind", text("target_kind")},
                    {"source", text("source")}};
  const Json annotations{{"summary", text("summary")}};
  const std::string onset = text("onset");
  const std::string resolved_at = text("resolved_at");
  const Json alert{{"status", status},
                   {"labels", labels},
                   {"annotations", annotations},
                   {"startsAt", onset.empty() ? text("opened_at") : onset},
                   {"endsAt", resolved_at.empty() ? "0001-01-01T00:00:00Z" : resolved_at},
                   {"generatorURL", ""},
                   {"fingerprint", text("alert_id")}};
  return {{"version", "4"},         {"groupKey", "{}:{alertname=\"" + text("kind") + "\"}"},
          {"truncatedAlerts", 0},   {"status", status},
          {"receiver", webhook},    {"groupLabels", {{"alertname", text("kind")}}},
          {"commonLabels", labels}, {"commonAnnotations", annotations},
          {"externalURL", ""},      {"alerts", Json::array({alert})},
          {"idempotency_key", key}, {"ephor", event}};
}

}  // namespace ephor::alerter
