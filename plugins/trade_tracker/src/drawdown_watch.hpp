// SPDX-License-Identifier: Apache-2.0
//
// The configured limit of drawdown. Follows equity in the order of the log: the highest value so
// far against the present one. Open at the limit, closed at half of it, so it does not flap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/findings.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <utility>

namespace ephor::trade_tracker {

struct DrawdownLimits {
  std::optional<double> share;   // of the peak
  std::optional<double> amount;  // in the account's currency
  bool is_set() const { return share || amount; }
};

class DrawdownWatch {
 public:
  DrawdownWatch(DrawdownLimits limits, std::string instance, std::size_t findings_max)
      : limits_(limits), findings_(std::move(instance), "ephor.finding", findings_max) {}

  // `equity`: its present value, of which a share can be told if `is_whole` (else it is a P&L that
  // began at 0).
  void update(std::int64_t time_ns, double equity, bool is_whole);

  // What has opened or closed waits there to be published.
  Findings& findings() { return findings_; }
  const Findings& findings() const { return findings_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::string summary(double equity, bool is_closed) const;
  Json evidence(double equity) const;

  DrawdownLimits limits_;
  bool has_peak_ = false;
  bool was_whole_ = false;
  double peak_ = 0.0;
  std::int64_t peak_ns_ = 0;
  bool is_open_ = false;
  double deepest_ = 0.0;  // while open
  double open_peak_ = 0.0;
  std::int64_t onset_ns_ = 0;
  Findings findings_;
};

}  // namespace ephor::trade_tracker
