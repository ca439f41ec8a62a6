// SPDX-License-Identifier: Apache-2.0
#include "alert_book.hpp"

#include <algorithm>
#include <ephor/times.hpp>
#include <tuple>
#include <utility>

namespace ephor::alerter {
namespace {

void add_transition(Alert& alert, Change change, std::int64_t time_ns) {
  alert.transitions.push_back({change, alert.severity, time_ns});
  ++alert.transition_count;
  if (alert.transitions.size() > Alert::kTransitionsMax) {
    alert.transitions.erase(alert.transitions.begin());
  }
  alert.updated_ns = std::max(alert.updated_ns, time_ns);
  alert.is_changed = true;
}

std::string key_of(const Finding& finding) {
  if (!finding.finding_id.empty()) return finding.finding_id;
  return finding.source + ":" + finding.kind + ":" + finding.target;
}

}  // namespace

Alert* AlertBook::find(std::string_view alert_id) {
  const auto found = alerts_.find(std::string(alert_id));
  return found == alerts_.end() ? nullptr : found->second.get();
}

Alert* AlertBook::find_by_finding(std::string_view finding_id) {
  const auto found = by_key_.find(finding_id);
  return found == by_key_.end() ? nullptr : found->second;
}

AlertBook::Applied AlertBook::apply(const Finding& finding) {
  std::string key = key_of(finding);
  const auto known = by_key_.find(key);
  Alert* alert = known == by_key_.end() ? nullptr : known->second;
  // Without an id of its own, what opens after it was resolved is another alert.
  const bool is_other =
      alert != nullptr && finding.finding_id.empty() && finding.is_open && !alert->is_unresolved();
  if (alert == nullptr || is_other) {
    if (!finding.is_open) {
      ++unmatched_;
      return {};
    }
    std::string id = short_id(finding.finding_id.empty() ? key + ":" + format_time(finding.time_ns)
                                                         : finding.finding_id);
    if (find(id) != nullptr) return {};  // the same finding twice at one time
    make_room();
    Alert& made = make(finding, std::move(key), std::move(id));
    const Change change = finding.is_notice ? Change::notice : Change::opened;
    if (finding.is_notice)
      made.resolved_ns = finding.time_ns;
    else
      ++unresolved_;
    add_transition(made, change, finding.time_ns);
    apply_early(made);
    return {&made, change};
  }
  alert->updated_ns = std::max(alert->updated_ns, finding.time_ns);
  alert->is_changed = true;
  if (!finding.summary.empty()) alert->summary = finding.summary;
  if (!finding.evidence_json.empty()) alert->evidence_json = finding.evidence_json;
  if (!finding.is_open) {
    if (!alert->is_unresolved()) return {};
    alert->resolved_ns = finding.time_ns;
    --unresolved_;
    add_transition(*alert, Change::resolved, finding.time_ns);
    return {alert, Change::resolved};
  }
  ++alert->count;
  const bool is_reopened = !alert->is_unresolved();
  const bool has_new_severity = alert->severity != finding.severity;
  alert->severity = finding.severity;
  alert->severity_max = std::max(alert->severity_max, finding.severity);
  if (is_reopened) {
    alert->resolved_ns.reset();
    ++unresolved_;
    add_transition(*alert, Change::reopened, finding.time_ns);
    return {alert, Change::reopened};
  }
  if (!has_new_severity) return {};
  add_transition(*alert, Change::severity, finding.time_ns);
  return {alert, Change::severity};
}

Alert& AlertBook::make(const Finding& finding, std::string key, std::string alert_id) {
  auto made = std::make_unique<Alert>();
  made->alert_id = std::move(alert_id);
  made->key = std::move(key);
  made->finding_id = finding.finding_id;
  made->kind = finding.kind;
  made->target = finding.target;
  made->target_kind = finding.target_kind;
  made->source = finding.source;
  made->summary = finding.summary;
  made->evidence_json = finding.evidence_json;
  made->severity = finding.severity;
  made->severity_max = finding.severity;
  made->onset_ns = finding.onset_ns;
  made->opened_ns = finding.time_ns;
  made->updated_ns = finding.time_ns;
  made->count = 1;
  Alert& alert = *made;
  by_key_[alert.key] = &alert;
  alerts_[alert.alert_id] = std::move(made);
  ++total_;
  return alert;
}

void AlertBook::apply_early(Alert& alert) {
  std::erase_if(early_acknowledgements_, [&](const Acknowledgement& done) {
    if (done.alert_id != alert.alert_id) return false;
    take(alert, done);
    return true;
  });
  std::erase_if(early_outcomes_, [&](const Outcome& done) {
    if (done.alert_id != alert.alert_id) return false;
    take(alert, done);
    return true;
  });
}

void AlertBook::acknowledge(const Acknowledgement& done) {
  if (Alert* alert = find(done.alert_id)) return take(*alert, done);
  early_acknowledgements_.push_back(done);
  if (early_acknowledgements_.size() > kEarlyMax) {
    early_acknowledgements_.erase(early_acknowledgements_.begin());
  }
}

// The first acknowledgement counts.
void AlertBook::take(Alert& alert, const Acknowledgement& done) {
  if (alert.acknowledged_ns && *alert.acknowledged_ns <= done.time_ns) return;
  alert.acknowledged_ns = done.time_ns;
  alert.acknowledged_by = done.by;
  alert.note = done.note;
  alert.updated_ns = std::max(alert.updated_ns, done.time_ns);
  alert.is_changed = true;
}

void AlertBook::settle(const Outcome& done) {
  if (Alert* alert = find(done.alert_id)) return take(*alert, done);
  early_outcomes_.push_back(done);
  if (early_outcomes_.size() > kEarlyMax) early_outcomes_.erase(early_outcomes_.begin());
}

// What has happened in the world wins over what was meant to happen.
void AlertBook::take(Alert& alert, const Outcome& done) {
  Delivery* known = alert.find_delivery(done.delivery.transition, done.delivery.webhook);
  alert.is_changed = true;
  if (known == nullptr) return alert.add_delivery(done.delivery);
  if (known->status == DeliveryStatus::delivered) return;
  known->status = done.delivery.status;
  known->attempts = done.delivery.attempts;
  known->detail = done.delivery.detail;
  known->at_ns = done.delivery.at_ns;
  known->body.clear();
}

// Resolved ones leave first, then the one that was longest without news.
void AlertBook::make_room() {
  while (alerts_.size() >= most_ && !alerts_.empty()) {
    const auto leaving =
        std::min_element(alerts_.begin(), alerts_.end(), [](const auto& a, const auto& b) {
          const auto rank = [](const Alert& alert) {
            return std::make_tuple(alert.is_unresolved(), alert.updated_ns,
                                   std::string_view(alert.alert_id));
          };
          return rank(*a.second) < rank(*b.second);
        });
    const Alert& alert = *leaving->second;
    if (alert.is_unresolved()) --unresolved_;
    if (alert.is_saved) gone_.push_back(alert.alert_id);
    if (const auto found = by_key_.find(alert.key);
        found != by_key_.end() && found->second == &alert) {
      by_key_.erase(found);
    }
    alerts_.erase(leaving);
    ++forgotten_;
  }
}

void AlertBook::save(const Rows& rows, StateWriter& out) {
  for (const std::string& id : gone_) rows.erase(kAlertTable, {Cell::text(id)});
  gone_.clear();
  out.varint(total_).varint(forgotten_).varint(unmatched_).varint(alerts_.size());
  for (const auto& [id, alert] : alerts_) {
    alert->write(out);
    if (!alert->is_changed) continue;
    const auto text = [](const std::string& value) {
      return value.empty() ? Cell::null() : Cell::text(value);
    };
    const auto time = [](const std::optional<std::int64_t>& time_ns) {
      return time_ns ? format_time(*time_ns) : std::string();
    };
    const std::string opened = format_time(alert->opened_ns);
    const std::string updated = format_time(alert->updated_ns);
    const std::string resolved = time(alert->resolved_ns);
    const std::string acknowledged = time(alert->acknowledged_ns);
    const std::string onset = time(alert->onset_ns);
    const std::string deliveries = dump(deliveries_json(*alert));
    rows.upsert(
        kAlertTable,
        {Cell::text(id), Cell::text(alert->kind), Cell::text(alert->target),
         text(alert->target_kind), Cell::text(name_of(alert->severity)), Cell::text(alert->state()),
         Cell::text(opened), Cell::text(updated), text(resolved), text(acknowledged),
         Cell::text(alert->summary),
         alert->evidence_json.empty() ? Cell::null() : Cell::json(alert->evidence_json),
         Cell::text(alert->source), Cell::integer_value(static_cast<std::int64_t>(alert->count)),
         Cell::json(deliveries), text(alert->finding_id), text(onset)});
    alert->is_changed = false;
    alert->is_saved = true;
  }
  out.varint(early_acknowledgements_.size());
  for (const Acknowledgement& one : early_acknowledgements_) {
    out.text(one.alert_id).i64(one.time_ns).text(one.by).text(one.note);
  }
  out.varint(early_outcomes_.size());
  for (const Outcome& one : early_outcomes_) {
    out.text(one.alert_id).varint(one.delivery.transition).text(one.delivery.webhook);
    out.u8(static_cast<std::uint8_t>(one.delivery.status)).varint(one.delivery.attempts);
    out.text(one.delivery.detail).i64(one.delivery.at_ns.value_or(0)).i64(one.delivery.time_ns);
  }
}

void AlertBook::read(StateReader& in) {
  total_ = in.varint();
  forgotten_ = in.varint();
  unmatched_ = in.varint();
  for (std::size_t left = in.count(32); left > 0; --left) {
    auto alert = std::make_unique<Alert>();
    alert->read(in);
    Alert*& latest = by_key_[alert->key];
    unresolved_ += alert->is_unresolved() ? 1 : 0;
    if (latest == nullptr || latest->opened_ns <= alert->opened_ns) latest = alert.get();
    alerts_[alert->alert_id] = std::move(alert);
  }
  for (std::size_t left = in.count(8); left > 0; --left) {
    Acknowledgement one;
    one.alert_id = in.text();
    one.time_ns = in.i64();
    one.by = in.text();
    one.note = in.text();
    early_acknowledgements_.push_back(std::move(one));
  }
  for (std::size_t left = in.count(16); left > 0; --left) {
    Outcome one;
    one.alert_id = in.text();
    one.delivery.transition = in.varint();
    one.delivery.webhook = in.text();
    one.delivery.status = static_cast<DeliveryStatus>(in.u8() % 5);
    one.delivery.attempts = in.varint();
    one.delivery.detail = in.text();
    one.delivery.at_ns = in.i64();
    one.delivery.time_ns = in.i64();
    early_outcomes_.push_back(std::move(one));
  }
}

}  // namespace ephor::alerter
