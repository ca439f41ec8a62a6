// SPDX-License-Identifier: Apache-2.0
//
// Has one operation become slower than it usually is?
//
// What is watched is the logarithm of the self time (what its children took is theirs), averaged
// over batches of about `batch_ns` of traffic, so that a moment's hiccup is one value however many
// spans it holds. The reference is a ring of the latest healthy batches; its centre and scale are
// Huber's (1964, "Robust Estimation of a Location Parameter", proposal 2), so the clipped score of
// a healthy batch has mean 0 and variance 1 whatever the tails. The scores feed a one-sided CUSUM
// (Page 1954) tuned to the least factor worth a finding, with the threshold that Siegmund's
// approximation (1985, "Sequential Analysis") gives for the wanted run length between false alarms.
// Lag-1 correlation of the reference widens the scale as it widens the variance of sums.
//
// A batch joins the reference only when the CUSUM has returned to zero behind it (or, where it
// stays in between without ever being a regression, after kPendingMax more): so the reference
// follows slow change and never learns the fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

namespace ephor::tracer {

struct LatencySettings {
  double factor_min = 1.5;                             // least ratio of typical self times
  double increase_min_ns = 100'000.0;                  // and least difference
  double false_alarm_batches = 1e8;                    // mean run length without a regression
  std::size_t warmup_batches = 40;                     // before anything is judged
  std::int64_t batch_ns = 30'000'000'000;              // of traffic in one batch
  std::int64_t persistence_ns = 30'000'000'000;        // a regression has lasted at least that long
  std::int64_t accept_after_ns = 604'800'000'000'000;  // then it is the new normal
};

enum class WatchChange : std::uint8_t { none, opened, recovered, accepted };

// Figures of a regression. Typical: geometric mean over batches, which is near the median.
struct LatencyCase {
  std::int64_t onset_ns = 0;
  std::int64_t recovered_ns = 0;  // 0: not
  double self_before_ns = 0.0;
  double self_after_ns = 0.0;  // since onset; median of batches at detection
  double total_before_ns = 0.0;
  double total_after_ns = 0.0;
  double log_spread = 0.0;  // of healthy batches
  double correlation = 0.0;
  double statistic = 0.0;
  double threshold = 0.0;
  std::uint64_t batches_before = 0;
  std::uint64_t batches_after = 0;
  std::uint64_t spans_after = 0;
  std::uint64_t spans_per_batch = 1;
  double factor() const { return self_before_ns > 0.0 ? self_after_ns / self_before_ns : 0.0; }
};

class LatencyWatch {
 public:
  static constexpr std::size_t kReferenceMax = 256;
  static constexpr std::size_t kPendingMax = 64;
  static constexpr std::size_t kBatchesMin = 5;  // slow ones behind the onset, before a finding

  // A successful span; `time_ns` in the order of the log.
  WatchChange add(const LatencySettings& settings, std::int64_t time_ns, std::int64_t self_ns,
                  std::int64_t total_ns);

  bool is_open() const { return is_open_; }
  // The CUSUM is above its threshold, be it a finding or not.
  bool is_raised() const { return is_ready_ && statistic_ > threshold_; }
  // The open case, or the last one; valid behind a change.
  const LatencyCase& latest() const { return case_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Batch {
    std::int64_t time_ns = 0;  // of its first span
    double self_log = 0.0;
    double total_log = 0.0;
    std::uint32_t spans = 0;
  };

  WatchChange close_batch(const LatencySettings& settings, const Batch& batch,
                          std::int64_t time_ns);
  void warm_up(const LatencySettings& settings, const Batch& batch);
  WatchChange watch(const LatencySettings& settings, const Batch& batch, std::int64_t time_ns);
  WatchChange watch_recovery(const LatencySettings& settings, const Batch& batch,
                             std::int64_t time_ns);
  bool open_case(const LatencySettings& settings, std::int64_t time_ns);
  double score_of(double self_log) const;
  void admit(const LatencySettings& settings, const Batch& batch);
  void calibrate(const LatencySettings& settings);
  void forget();

  std::uint64_t batch_size_ = 0;  // spans; 0: the traffic is not known yet
  Batch batch_;                   // sums of the one in hand
  std::vector<float> reference_;  // logs, a ring once it is full; before that in order
  std::size_t next_ = 0;
  std::size_t until_calibration_ = 0;
  bool is_ready_ = false;
  double centre_ = 0.0;
  double spread_ = 0.0;  // of a batch
  double scale_ = 1.0;   // spread, widened by what is not known and by correlation
  double correlation_ = 0.0;
  double total_centre_ = 0.0;
  std::uint64_t admitted_ = 0;
  double drift_ = 0.5;      // the CUSUM's k
  double threshold_ = 0.0;  // its h
  double statistic_ = 0.0;
  std::vector<Batch> pending_;  // since the statistic left zero
  bool is_open_ = false;
  double recovery_ = 0.0;
  double recovery_threshold_ = 0.0;
  std::int64_t recovering_since_ns_ = 0;
  double open_self_log_ = 0.0;  // sums while open, less what looks recovered
  double open_total_log_ = 0.0;
  double recovering_self_log_ = 0.0;
  double recovering_total_log_ = 0.0;
  std::uint64_t open_batches_ = 0;
  std::uint64_t open_spans_ = 0;
  std::uint64_t recovering_batches_ = 0;
  std::uint64_t recovering_spans_ = 0;
  LatencyCase case_;
};

// h of a one-sided CUSUM of standard normal scores less k with this mean run length (Siegmund).
double cusum_threshold(double k, double run_length);

}  // namespace ephor::tracer
