// SPDX-License-Identifier: Apache-2.0
#include "alert.hpp"

#include <algorithm>
#include <array>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <utility>

namespace ephor::alerter {
namespace {

constexpr std::size_t kTextBytesMax = 1024;
constexpr std::size_t kEvidenceBytesMax = 8192;

constexpr std::array<const char*, 3> kSeverities{"info", "warning", "critical"};
constexpr std::array<const char*, 5> kChanges{"opened", "severity", "resolved", "reopened",
                                              "notice"};
constexpr std::array<const char*, 5> kStatuses{"pending", "delivered", "failed", "skipped",
                                               "silenced"};

// The member's text, or its JSON if it is something else; cut between characters.
std::string text_of(const Json& data, const char* name) {
  const auto found = data.find(name);
  if (found == data.end() || found->is_null()) return {};
  std::string text = found->is_string() ? found->get<std::string>() : dump(*found);
  if (text.size() <= kTextBytesMax) return text;
  std::size_t size = kTextBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

std::string first_of(const Json& data, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string found = text_of(data, name); !found.empty()) return found;
  }
  return {};
}

std::optional<std::int64_t> time_of(const Json& data, const char* name) {
  const auto found = data.find(name);
  if (found == data.end() || !found->is_string()) return std::nullopt;
  return parse_time(found->get_ref<const std::string&>());
}

void write_time(StateWriter& out, const std::optional<std::int64_t>& time_ns) {
  out.boolean(time_ns.has_value());
  if (time_ns) out.i64(*time_ns);
}

std::optional<std::int64_t> read_time(StateReader& in) {
  if (!in.boolean()) return std::nullopt;
  return in.i64();
}

Json common_json(const Alert& alert) {
  return {{"alert_id", alert.alert_id},
          {"finding_id", text_or_null(alert.finding_id)},
          {"kind", alert.kind},
          {"target", alert.target},
          {"target_kind", text_or_null(alert.target_kind)},
          {"group", alert.group()},
          {"source", alert.source},
          {"summary", alert.summary},
          {"evidence", json_or_null(alert.evidence_json)},
          {"onset", time_or_null(alert.onset_ns)},
          {"opened_at", format_time(alert.opened_ns)},
          {"count", alert.count}};
}

}  // namespace

const char* name_of(Severity severity) { return kSeverities[static_cast<std::size_t>(severity)]; }
const char* name_of(Change change) { return kChanges[static_cast<std::size_t>(change)]; }
const char* name_of(DeliveryStatus status) { return kStatuses[static_cast<std::size_t>(status)]; }

Severity severity_from(std::string_view name) {
  if (name == "critical" || name == "error" || name == "high") return Severity::critical;
  if (name == "info" || name == "low") return Severity::info;
  return Severity::warning;
}

std::optional<DeliveryStatus> delivery_status_from(std::string_view name) {
  for (std::size_t i = 0; i < kStatuses.size(); ++i) {
    if (name == kStatuses[i]) return static_cast<DeliveryStatus>(i);
  }
  return std::nullopt;
}

std::string short_id(std::string_view text) {
  std::uint64_t value = hash64(text);
  std::string out(16, '0');
  for (std::size_t i = out.size(); i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 0xF];
  return out;
}

Finding finding_from(const Json& data, std::string_view topic, std::string_view source,
                     std::int64_t time_ns) {
  if (!data.is_object()) throw Error(EPHOR_INVALID, "a finding that is no object");
  Finding out;
  out.finding_id = text_of(data, "finding_id");
  out.kind = text_of(data, "kind");
  out.target = first_of(data, {"target", "model_id", "feature"});
  if (out.finding_id.empty() && out.kind.empty() && out.target.empty()) {
    throw Error(EPHOR_INVALID, "a finding without finding_id, kind and target");
  }
  if (out.kind.empty()) out.kind = topic.substr(topic.rfind('.') + 1);
  out.target_kind = text_of(data, "target_kind");
  constexpr std::string_view kPlugin = "ephor/";
  if (source.starts_with(kPlugin)) source.remove_prefix(kPlugin.size());
  out.source = source;
  const std::string state = text_of(data, "state");
  out.is_open = state != "closed" && state != "resolved";
  out.severity = severity_from(text_of(data, "severity"));
  out.summary = first_of(data, {"summary", "message", "reason"});
  if (out.summary.empty()) out.summary = out.kind + " of " + out.target;
  out.onset_ns = time_of(data, "onset");
  out.time_ns = time_ns;
  if (const auto evidence = data.find("evidence"); evidence != data.end() && !evidence->is_null()) {
    out.evidence_json = dump(*evidence);
    if (out.evidence_json.size() > kEvidenceBytesMax) {
      out.evidence_json = R"({"left_out":"the evidence is too large; see the finding"})";
    }
  }
  return out;
}

Delivery* Alert::find_delivery(std::uint64_t transition, std::string_view webhook) {
  const auto found = std::find_if(deliveries.begin(), deliveries.end(), [&](const Delivery& one) {
    return one.transition == transition && one.webhook == webhook;
  });
  return found == deliveries.end() ? nullptr : &*found;
}

void Alert::add_delivery(Delivery delivery) {
  if (deliveries.size() >= kDeliveriesMax) {
    auto leaving = std::find_if(deliveries.begin(), deliveries.end(), [](const Delivery& one) {
      return one.status != DeliveryStatus::pending;
    });
    deliveries.erase(leaving == deliveries.end() ? deliveries.begin() : leaving);
  }
  // In the order of transitions, whatever the order they became known in.
  const auto at = std::upper_bound(deliveries.begin(), deliveries.end(), delivery,
                                   [](const Delivery& a, const Delivery& b) {
                                     return std::pair(a.transition, std::string_view(a.webhook)) <
                                            std::pair(b.transition, std::string_view(b.webhook));
                                   });
  deliveries.insert(at, std::move(delivery));
}

void Alert::write(StateWriter& out) const {
  out.text(alert_id).text(key).text(finding_id).text(kind).text(target).text(target_kind);
  out.text(source).text(summary).text(evidence_json);
  out.u8(static_cast<std::uint8_t>(severity)).u8(static_cast<std::uint8_t>(severity_max));
  write_time(out, onset_ns);
  out.i64(opened_ns).i64(updated_ns);
  write_time(out, resolved_ns);
  write_time(out, acknowledged_ns);
  out.text(acknowledged_by).text(note).varint(count).varint(transition_count);
  out.varint(transitions.size());
  for (const Transition& one : transitions) {
    out.u8(static_cast<std::uint8_t>(one.change)).u8(static_cast<std::uint8_t>(one.severity));
    out.i64(one.time_ns);
  }
  out.varint(deliveries.size());
  for (const Delivery& one : deliveries) {
    out.varint(one.transition).text(one.webhook).u8(static_cast<std::uint8_t>(one.status));
    out.varint(one.attempts).text(one.detail);
    write_time(out, one.at_ns);
    out.i64(one.time_ns).text(one.body);
  }
}

void Alert::read(StateReader& in) {
  alert_id = in.text();
  key = in.text();
  finding_id = in.text();
  kind = in.text();
  target = in.text();
  target_kind = in.text();
  source = in.text();
  summary = in.text();
  evidence_json = in.text();
  severity = static_cast<Severity>(in.u8() % kSeverities.size());
  severity_max = static_cast<Severity>(in.u8() % kSeverities.size());
  onset_ns = read_time(in);
  opened_ns = in.i64();
  updated_ns = in.i64();
  resolved_ns = read_time(in);
  acknowledged_ns = read_time(in);
  acknowledged_by = in.text();
  note = in.text();
  count = in.varint();
  transition_count = in.varint();
  for (std::size_t left = in.count(10); left > 0; --left) {
    Transition one;
    one.change = static_cast<Change>(in.u8() % kChanges.size());
    one.severity = static_cast<Severity>(in.u8() % kSeverities.size());
    one.time_ns = in.i64();
    transitions.push_back(one);
  }
  for (std::size_t left = in.count(12); left > 0; --left) {
    Delivery one;
    one.transition = in.varint();
    one.webhook = in.text();
    one.status = static_cast<DeliveryStatus>(in.u8() % kStatuses.size());
    one.attempts = in.varint();
    one.detail = in.text();
    one.at_ns = read_time(in);
    one.time_ns = in.i64();
    one.body = in.text();
    deliveries.push_back(std::move(one));
  }
  is_changed = false;
  is_saved = true;
}

Json event_json(const Alert& alert, const Transition& transition, std::uint64_t number) {
  Json out = common_json(alert);
  out["transition"] = number;
  out["change"] = name_of(transition.change);
  out["at"] = format_time(transition.time_ns);
  out["state"] = alert.resolved_ns ? "resolved" : "open";
  out["severity"] = name_of(alert.severity);
  out["severity_max"] = name_of(alert.severity_max);
  out["resolved_at"] = time_or_null(alert.resolved_ns);
  return out;
}

Json deliveries_json(const Alert& alert) {
  Json out = Json::array();
  for (const Delivery& one : alert.deliveries) {
    out.push_back({{"transition", one.transition},
                   {"webhook", one.webhook},
                   {"status", name_of(one.status)},
                   {"attempts", one.attempts},
                   {"detail", text_or_null(one.detail)},
                   {"at", time_or_null(one.at_ns)}});
  }
  return out;
}

Json alert_json(const Alert& alert) {
  Json out = common_json(alert);
  out["state"] = alert.state();
  out["severity"] = name_of(alert.severity);
  out["severity_max"] = name_of(alert.severity_max);
  out["updated_at"] = format_time(alert.updated_ns);
  out["resolved_at"] = time_or_null(alert.resolved_ns);
  out["acknowledged_at"] = time_or_null(alert.acknowledged_ns);
  out["acknowledged_by"] = text_or_null(alert.acknowledged_by);
  out["note"] = text_or_null(alert.note);
  Json transitions = Json::array();
  std::uint64_t number = alert.transition_count - alert.transitions.size();
  for (const Transition& one : alert.transitions) {
    transitions.push_back({{"transition", ++number},
                           {"change", name_of(one.change)},
                           {"severity", name_of(one.severity)},
                           {"at", format_time(one.time_ns)}});
  }
  out["transitions"] = std::move(transitions);
  out["deliveries"] = deliveries_json(alert);
  return out;
}

}  // namespace ephor::alerter
