// SPDX-License-Identifier: Apache-2.0
//
// Has one operation begun to fail more often than it usually does?
//
// Each span is one trial: failed or not (failures handed up by a child are nobody's trial here).
// Three Bernoulli CUSUM charts (Reynolds & Stoumbos 1999, J. Quality Technology 31(1)) compare the
// usual rate with a small, a middle and a large one, so that both a slow leak and a sudden outage
// are met by a chart of their size. The usual rate is the upper end of a one-sigma Wilson interval
// of what was healthy: the less is known, the more it takes. Failures that come in clusters while
// healthy (dispersion above 1) raise the threshold in proportion.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <ephor/wilson.hpp>
#include <vector>

#include "latency_watch.hpp"

namespace ephor::tracer {

struct ErrorSettings {
  double rise_min = 0.03;            // least rise of the rate
  double factor_min = 3.0;           // and least ratio
  std::uint64_t errors_min = 2;      // behind the onset
  double false_alarm_spans = 5e5;    // mean run length without a burst, roughly
  std::uint64_t warmup_spans = 100;  // before anything is judged
  std::int64_t persistence_ns = 30'000'000'000;
  std::int64_t accept_after_ns = 604'800'000'000'000;
};

struct ErrorCase {
  std::int64_t onset_ns = 0;      // the first failure of the burst
  std::int64_t recovered_ns = 0;  // the first success since, 0: not
  std::uint64_t errors_before = 0;
  std::uint64_t spans_before = 0;
  std::uint64_t errors_after = 0;
  std::uint64_t spans_after = 0;
  double statistic = 0.0;
  double threshold = 0.0;
  double dispersion = 1.0;
  std::uint64_t message_group = 0;  // the most frequent one since onset, 0: none
  std::uint64_t message_count = 0;
  double rate_before() const { return rate(errors_before, spans_before); }
  double rate_after() const { return rate(errors_after, spans_after); }
  static double rate(std::uint64_t errors, std::uint64_t spans) {
    return spans == 0 ? 0.0 : static_cast<double>(errors) / static_cast<double>(spans);
  }
};

class ErrorWatch {
 public:
  static constexpr std::size_t kCharts = 3;
  static constexpr std::uint64_t kEpochSpans = 50'000;  // the reference is one to two of them
  static constexpr std::uint64_t kPendingSpans = 2000;  // raised that long without a burst: usual
  static constexpr std::size_t kMessagesMax = 8;

  // `message_group`: fingerprint of the failure's group.
  WatchChange add(const ErrorSettings& settings, std::int64_t time_ns, bool is_error,
                  std::uint64_t message_group);

  bool is_open() const { return is_open_; }
  const ErrorCase& latest() const { return case_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Chart {
    double on_error = 0.0;  // log likelihood ratios
    double on_success = 0.0;
    double statistic = 0.0;
    std::int64_t onset_ns = 0;
    std::uint64_t errors = 0;  // since it left zero
    std::uint64_t spans = 0;
  };
  struct Message {
    std::uint64_t group = 0;
    std::uint64_t count = 0;
  };
  struct Counts {
    std::uint64_t errors = 0;
    std::uint64_t spans = 0;
  };

  bool is_at_rest() const;
  void admit(std::uint64_t errors, std::uint64_t spans, const ErrorSettings& settings);
  void calibrate(const ErrorSettings& settings);
  void measure_dispersion(std::uint64_t errors, std::uint64_t spans);
  void count_message(std::uint64_t group);
  bool open_case(const ErrorSettings& settings, std::int64_t time_ns);
  WatchChange watch_recovery(const ErrorSettings& settings, std::int64_t time_ns, bool is_error);
  Counts reference() const {
    return {earlier_.errors + current_.errors, earlier_.spans + current_.spans};
  }

  Counts earlier_;  // the reference: an epoch that is over and the one that runs
  Counts current_;
  std::uint64_t until_calibration_ = 0;
  bool is_ready_ = false;
  double usual_ = 0.0;  // upper bound of the usual rate
  Counts block_;        // for the dispersion
  double dispersion_ = 1.0;
  std::array<Chart, kCharts> charts_;
  Counts pending_;
  std::vector<Message> messages_;
  bool is_open_ = false;
  double recovery_ = 0.0;
  std::int64_t recovering_since_ns_ = 0;
  Counts recovering_;
  ErrorCase case_;
};

}  // namespace ephor::tracer
