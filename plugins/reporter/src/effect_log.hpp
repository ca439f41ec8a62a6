// SPDX-License-Identifier: Apache-2.0
//
// What this plugin did to the world, as events in the log: written when it is done, by the thread
// that did it, durable when the call returns. The plugin reads them back like any other event, so
// that no crash makes a report or sends a mail twice for having forgotten the first.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <optional>
#include <string>

#include "mailer.hpp"
#include "records.hpp"

namespace ephor::reporter {

inline constexpr std::string_view kReportTopic = "ephor.report";
inline constexpr std::string_view kDeliveryTopic = "ephor.report_delivery";

// [any]
class EffectLog {
 public:
  explicit EffectLog(const Host& host) : host_(host), source_("ephor/" + host.instance()) {}

  // Throws what the journal refused with. A record of the same id that is there already stays: the
  // result says 0 then, else the sequence.
  std::uint64_t put(const ReportRecord& record) const;
  void put(const OutboxItem& item, const Outcome& outcome, std::int64_t time_ns) const;

  struct Known {
    std::optional<ReportRecord> record;
    std::optional<DeliveryRecord> delivery;  // the latest of `recipient`
  };
  Known find(const std::string& report_id, const std::string& recipient = {}) const;

  bool is_own(const Event& event) const { return host_.source_name(event.source) == source_; }

 private:
  std::uint64_t ingest(std::string_view topic, const std::string& id, const std::string& report_id,
                       std::int64_t time_ns, const Json& data) const;

  Host host_;
  std::string source_;
};

// The data member of one of our events.
Json data_of(const Event& event);
DeliveryRecord delivery_from(const Json& data);

}  // namespace ephor::reporter
