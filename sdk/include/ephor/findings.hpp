// SPDX-License-Identifier: Apache-2.0
//
// What a plugin finds to be wrong: opened once, closed once, both told to the world as an event of
// one shape (docs/events.md, "Findings"), and kept for its answers. Times are event times.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/times.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ephor {

struct Finding {
  std::string kind;         // latency_regression, concept_drift, ...
  std::string target;       // who is to blame: a model's id, a feature, "component/operation"
  std::string target_kind;  // model, feature, operation, ...
  std::string severity;     // info, warning, critical
  std::string summary;      // one sentence with figures and units
  Json evidence = Json::object();
  std::int64_t onset_ns = 0;  // when it probably began
  std::int64_t detected_ns = 0;
  std::optional<std::int64_t> closed_ns = {};  // empty while it is open

  bool is_open() const { return !closed_ns.has_value(); }
};

// The findings of one instance. At most one of a kind and target is open. Bounded: the oldest
// closed one makes room; where all are open, a further one is counted and not opened. Not
// thread-safe.
class Findings {
 public:
  // `topic`: "ephor.finding", or "ephor.drift" for findings about models.
  Findings(std::string instance, std::string topic, std::size_t findings_max)
      : instance_(std::move(instance)), topic_(std::move(topic)), findings_max_(findings_max) {}

  // False: one of that kind and target is open, or there is no room.
  bool open(Finding finding) {
    if (find_open(finding.kind, finding.target) != nullptr) return false;
    if (findings_.size() >= findings_max_) {
      const auto closed = std::find_if(findings_.begin(), findings_.end(),
                                       [](const Finding& known) { return !known.is_open(); });
      if (closed == findings_.end()) {
        ++not_opened_;
        return false;
      }
      findings_.erase(closed);
    }
    ++opened_;
    findings_.push_back(std::move(finding));
    announce(findings_.back());
    return true;
  }

  // Does nothing if none is open. `why`: a phrase, kept in the evidence. Bring the finding's
  // summary and evidence up to date before, if there is more to say.
  void close(std::string_view kind, std::string_view target, std::int64_t time_ns,
             std::string_view why) {
    for (Finding& finding : findings_) {
      if (!finding.is_open() || finding.kind != kind || finding.target != target) continue;
      finding.closed_ns = time_ns;
      finding.evidence["closed_because"] = why;
      announce(finding);
      return;
    }
  }

  // nullptr if none is open. Valid until the next call of open.
  Finding* find_open(std::string_view kind, std::string_view target) {
    const auto found = std::find_if(findings_.begin(), findings_.end(), [&](const Finding& known) {
      return known.is_open() && known.kind == kind && known.target == target;
    });
    return found == findings_.end() ? nullptr : &*found;
  }
  const Finding* find_open(std::string_view kind, std::string_view target) const {
    return const_cast<Findings*>(this)->find_open(kind, target);
  }

  const std::vector<Finding>& all() const { return findings_; }  // in order of detection
  std::size_t open_count() const {
    return static_cast<std::size_t>(std::count_if(
        findings_.begin(), findings_.end(), [](const Finding& one) { return one.is_open(); }));
  }
  std::uint64_t opened() const { return opened_; }  // ever
  std::uint64_t not_opened() const { return not_opened_; }

  std::string id_of(const Finding& finding) const {
    return instance_ + ":" + finding.kind + ":" + finding.target + ":" +
           format_time(finding.onset_ns);
  }

  Json to_json(const Finding& finding) const {
    return {{"finding_id", id_of(finding)},
            {"kind", finding.kind},
            {"target", finding.target},
            {"target_kind", finding.target_kind},
            {"state", finding.is_open() ? "open" : "closed"},
            {"severity", finding.severity},
            {"onset", format_time(finding.onset_ns)},
            {"detected", format_time(finding.detected_ns)},
            {"closed", time_or_null(finding.closed_ns)},
            {"summary", finding.summary},
            {"evidence", finding.evidence}};
  }

  // Open ones first, then by onset, newest first. A period takes those that were open in it.
  Json list(std::size_t offset = 0, std::size_t limit = SIZE_MAX,
            std::optional<std::int64_t> from_ns = {},
            std::optional<std::int64_t> to_ns = {}) const {
    std::vector<const Finding*> order;
    for (const Finding& finding : findings_) {
      if (to_ns && finding.onset_ns >= *to_ns) continue;
      if (from_ns && finding.closed_ns && *finding.closed_ns < *from_ns) continue;
      order.push_back(&finding);
    }
    std::stable_sort(order.begin(), order.end(), [](const Finding* left, const Finding* right) {
      if (left->is_open() != right->is_open()) return left->is_open();
      return left->onset_ns > right->onset_ns;
    });
    Json out = Json::array();
    for (std::size_t i = offset; i < order.size() && i - offset < limit; ++i) {
      out.push_back(to_json(*order[i]));
    }
    return out;
  }

  // [dispatch] Publishes what was opened and closed since the last call, because of `cause`. To be
  // called after each event, so that the cause is the right one.
  void publish(const Host& host, const Event& cause) {
    for (const std::string& data : std::exchange(announcements_, {})) {
      host.publish({.topic = topic_, .data_json = data, .cause = &cause});
    }
  }
  bool has_news() const { return !announcements_.empty(); }

  // Between two events: what is still to be published is no part of the state.
  void save(StateWriter& out) const {
    out.varint(opened_).varint(not_opened_).varint(findings_.size());
    for (const Finding& finding : findings_) {
      out.text(finding.kind).text(finding.target).text(finding.target_kind);
      out.text(finding.severity).text(finding.summary).text(dump(finding.evidence));
      out.i64(finding.onset_ns).i64(finding.detected_ns);
      out.boolean(finding.closed_ns.has_value()).i64(finding.closed_ns.value_or(0));
    }
  }
  // Throws Error if it is not what save wrote.
  void load(StateReader& in) {
    opened_ = in.varint();
    not_opened_ = in.varint();
    findings_.clear();
    for (std::size_t left = in.count(30); left > 0; --left) {
      Finding& finding = findings_.emplace_back();
      for (std::string* text : {&finding.kind, &finding.target, &finding.target_kind,
                                &finding.severity, &finding.summary}) {
        *text = in.text();
      }
      finding.evidence = Json::parse(in.text(), nullptr, false);
      if (!finding.evidence.is_object()) {
        throw Error(EPHOR_INVALID, "state: the evidence of a finding is no object");
      }
      finding.onset_ns = in.i64();
      finding.detected_ns = in.i64();
      const bool is_closed = in.boolean();
      const std::int64_t closed_ns = in.i64();
      if (is_closed) finding.closed_ns = closed_ns;
    }
  }

 private:
  void announce(const Finding& finding) { announcements_.push_back(dump(to_json(finding))); }

  std::string instance_;
  std::string topic_;
  std::size_t findings_max_;
  std::vector<Finding> findings_;
  std::uint64_t opened_ = 0;
  std::uint64_t not_opened_ = 0;
  std::vector<std::string> announcements_;  // empty between two events
};

}  // namespace ephor
