// SPDX-License-Identifier: Apache-2.0
//
// All alerts, bounded: one per finding id, or per source, kind and target where a finding has no
// id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "alert.hpp"

namespace ephor::alerter {

inline constexpr std::string_view kAlertTable = "alerts";
inline constexpr std::string_view kTables = R"({"version": 1, "tables": [
  {"name": "alerts", "key": ["alert_id"], "columns": [
    {"name": "alert_id", "type": "text"},
    {"name": "kind", "type": "text"},
    {"name": "target", "type": "text"},
    {"name": "target_kind", "type": "text"},
    {"name": "severity", "type": "text"},
    {"name": "state", "type": "text"},
    {"name": "opened_at", "type": "text"},
    {"name": "updated_at", "type": "text"},
    {"name": "resolved_at", "type": "text"},
    {"name": "acknowledged_at", "type": "text"},
    {"name": "summary", "type": "text"},
    {"name": "evidence", "type": "json"},
    {"name": "source", "type": "text"},
    {"name": "count", "type": "integer"},
    {"name": "deliveries", "type": "json"},
    {"name": "finding_id", "type": "text"},
    {"name": "onset", "type": "text"}],
   "indices": [["opened_at"], ["state"]],
   "run_dependent": ["deliveries/*/at", "deliveries/*/attempts", "deliveries/*/detail"]}]})";

// What was done by a command or by sending, about an alert that may not be known yet.
struct Acknowledgement {
  std::string alert_id;
  std::int64_t time_ns = 0;
  std::string by;
  std::string note;
};
struct Outcome {
  std::string alert_id;
  Delivery delivery;  // without body
};

class AlertBook {
 public:
  explicit AlertBook(std::size_t most) : most_(most) {}

  struct Applied {
    Alert* alert = nullptr;  // null: nothing to say
    Change change = Change::opened;
  };
  // A finding comes in. With an alert in the answer, a transition was added to it.
  Applied apply(const Finding& finding);
  // Kept for an alert that is not known yet; beyond kEarlyMax the oldest is forgotten.
  void acknowledge(const Acknowledgement& done);
  void settle(const Outcome& done);

  Alert* find(std::string_view alert_id);
  Alert* find_by_finding(std::string_view finding_id);
  const std::map<std::string, std::unique_ptr<Alert>>& alerts() const { return alerts_; }
  std::uint64_t total() const { return total_; }
  std::size_t unresolved() const { return unresolved_; }
  std::uint64_t forgotten() const { return forgotten_; }
  std::uint64_t unmatched() const { return unmatched_; }  // closed, and never opened here

  void save(const Rows& rows, StateWriter& out);
  void read(StateReader& in);

 private:
  Alert& make(const Finding& finding, std::string key, std::string alert_id);
  void apply_early(Alert& alert);
  void take(Alert& alert, const Acknowledgement& done);
  void take(Alert& alert, const Outcome& done);
  void make_room();

  static constexpr std::size_t kEarlyMax = 1000;

  std::size_t most_;
  std::map<std::string, std::unique_ptr<Alert>> alerts_;                       // by id
  std::unordered_map<std::string, Alert*, TextHash, std::equal_to<>> by_key_;  // the latest
  std::vector<Acknowledgement> early_acknowledgements_;
  std::vector<Outcome> early_outcomes_;
  std::vector<std::string> gone_;  // ids whose rows have to go
  std::size_t unresolved_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t forgotten_ = 0;
  std::uint64_t unmatched_ = 0;
};

}  // namespace ephor::alerter
