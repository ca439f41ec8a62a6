// SPDX-License-Identifier: Apache-2.0
//
// When a model is to be trained again: a finding about the model itself (it broke, it is too sure)
// has stayed open long enough, inputs are not to blame, and the last request for that model is long
// enough ago. Requests and what their trainer says of them (ephor.retrain_status) are followed.
#pragma once

#include <cstdint>
#include <ephor/findings.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drift_settings.hpp"

namespace ephor::ml_monitor {

class Retraining {
 public:
  Retraining(std::string instance, const RetrainingSettings& settings, const Findings& findings)
      : instance_(std::move(instance)), settings_(settings), findings_(findings) {}

  // Opens what is due at this log time.
  void advance(std::int64_t log_time_ns);
  // The data of ephor.retrain for what was opened since the last call.
  std::vector<std::string> take_news() { return std::exchange(news_, {}); }
  // What a trainer says; a retraining that nobody requested here is kept too. True if it is done.
  bool follow(std::string_view retrain_id, std::string_view model_id, std::string_view version,
              std::string_view status, std::string_view note, std::int64_t time_ns);

  Json list(std::size_t offset, std::size_t limit, std::optional<std::int64_t> from_ns,
            std::optional<std::int64_t> to_ns) const;
  Json settings_json() const;
  std::size_t size() const { return requests_.size(); }

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Request {
    std::string id;
    std::string model;
    std::string version;
    std::string reason;
    std::string finding_id;
    std::string status;
    std::string note;
    Json evidence = Json::object();
    std::int64_t requested_ns = kNoTime;
    std::int64_t updated_ns = kNoTime;
    bool is_ours = true;
  };

  void keep(Request request);
  static Json to_json(const Request& request);

  std::string instance_;
  RetrainingSettings settings_;
  const Findings& findings_;
  std::vector<Request> requests_;        // oldest first
  std::vector<std::string> news_;        // empty between two events
  std::int64_t next_look_ns_ = kNoTime;  // once a minute of log time is enough
};

}  // namespace ephor::ml_monitor
