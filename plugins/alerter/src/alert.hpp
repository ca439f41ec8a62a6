// SPDX-License-Identifier: Apache-2.0
//
// One alert: a finding as an operator sees it, from opening to resolution, with what was sent of
// it.
//
// Its state follows from facts that commute: opened, resolved and acknowledged each have a time, so
// that it does not matter how findings (derived) and commands (brought in) interleave in the log.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::alerter {

enum class Severity : std::uint8_t { info = 0, warning = 1, critical = 2 };

const char* name_of(Severity severity);
// What is unknown is a warning.
Severity severity_from(std::string_view name);

// What a plugin said: an ephor.drift, an ephor.finding, or one of our own.
struct Finding {
  std::string finding_id;  // may be empty
  std::string kind;
  std::string target;
  std::string target_kind;
  std::string source;  // the instance that says it, or the client's source
  bool is_open = true;
  bool is_notice = false;  // it happened; there is nothing to wait for
  Severity severity = Severity::warning;
  std::string summary;
  std::string evidence_json;  // empty: none
  std::optional<std::int64_t> onset_ns;
  std::int64_t time_ns = 0;  // of the event
};

// Reads a finding of any plugin. `topic` and `source` fill what is missing. Throws ephor::Error if
// it is no object or says neither kind nor target nor id.
Finding finding_from(const Json& data, std::string_view topic, std::string_view source,
                     std::int64_t time_ns);

enum class Change : std::uint8_t {
  opened = 0,
  severity = 1,
  resolved = 2,
  reopened = 3,
  notice = 4
};
const char* name_of(Change change);

struct Transition {
  Change change = Change::opened;
  Severity severity = Severity::warning;
  std::int64_t time_ns = 0;
};

enum class DeliveryStatus : std::uint8_t {
  pending = 0,
  delivered = 1,
  failed = 2,
  skipped = 3,
  silenced = 4
};
const char* name_of(DeliveryStatus status);
std::optional<DeliveryStatus> delivery_status_from(std::string_view name);

struct Delivery {
  std::uint64_t transition = 0;
  std::string webhook;
  DeliveryStatus status = DeliveryStatus::pending;
  std::uint64_t attempts = 0;
  std::string detail;                 // the last failure, or why it was not sent
  std::optional<std::int64_t> at_ns;  // wall clock, when it was settled
  std::int64_t time_ns = 0;           // event time of the transition
  std::string body;                   // while it is pending
};

struct Alert {
  std::string alert_id;  // 16 hexadecimal digits, from the finding's id
  std::string key;       // finding id, or source:kind:target
  std::string finding_id;
  std::string kind;
  std::string target;
  std::string target_kind;
  std::string source;
  std::string summary;
  std::string evidence_json;
  Severity severity = Severity::warning;
  Severity severity_max = Severity::info;
  std::optional<std::int64_t> onset_ns;
  std::int64_t opened_ns = 0;
  std::int64_t updated_ns = 0;
  std::optional<std::int64_t> resolved_ns;
  std::optional<std::int64_t> acknowledged_ns;
  std::string acknowledged_by;
  std::string note;
  std::uint64_t count = 0;              // how often it was said to be open
  std::uint64_t transition_count = 0;   // ever
  std::vector<Transition> transitions;  // the latest kTransitionsMax
  std::vector<Delivery> deliveries;     // the latest kDeliveriesMax, those pending first of all
  bool is_changed = true;               // since the last save
  bool is_saved = false;

  static constexpr std::size_t kTransitionsMax = 32;
  static constexpr std::size_t kDeliveriesMax = 64;

  const char* state() const {
    return resolved_ns ? "resolved" : acknowledged_ns ? "acknowledged" : "open";
  }
  bool is_unresolved() const { return !resolved_ns; }
  std::string group() const { return kind + "/" + target_kind; }
  Delivery* find_delivery(std::uint64_t transition, std::string_view webhook);
  void add_delivery(Delivery delivery);

  void write(StateWriter& out) const;
  void read(StateReader& in);
};

// Without what depends on commands and deliveries: the data of ephor.alert.
Json event_json(const Alert& alert, const Transition& transition, std::uint64_t number);
Json alert_json(const Alert& alert);
Json deliveries_json(const Alert& alert);

// 16 hexadecimal digits that stand for a text.
std::string short_id(std::string_view text);

}  // namespace ephor::alerter
