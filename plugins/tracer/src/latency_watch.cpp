// SPDX-License-Identifier: Apache-2.0
#include "latency_watch.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace ephor::tracer {
namespace {

constexpr double kClip = 3.0;            // scores
constexpr double kSelfFloorNs = 1000.0;  // below it clocks say little
constexpr double kSpreadMin = 0.05;      // 5 %: less is no change anyone would feel
constexpr double kDriftMin = 0.1;
constexpr double kDriftMax = 1.5;
constexpr double kOfTotalMin =
    0.1;  // an increase below this share of the whole is nobody's trouble
constexpr double kTotalShareMin = 0.5;
constexpr std::size_t kCalibrateEvery = 32;
constexpr std::uint64_t kBatchSpansMax = 65'536;
constexpr std::int64_t kBatchAgeMax = 4;  // in batch_ns

double clipped(double score) { return std::clamp(score, -kClip, kClip); }

// The lower one of an even number: of as many slow as usual ones the usual one stands.
double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

using ScoreHistogram = std::array<std::uint32_t, 24>;
constexpr double kBinWidth = 2.0 * kClip / 24.0;

std::size_t bin_of(double score) {
  return static_cast<std::size_t>(std::clamp((score + kClip) / kBinWidth, 0.0, 23.0));
}

// The exponent at which excursions of a CUSUM of such scores die out: the root t > 0 of
// E exp(t (score - drift)) = 1 (Lundberg). 2 drift for normal scores; less where the right tail is
// heavier, and the threshold must be higher in proportion. At most 2 drift, at least a quarter of
// it.
double adjustment_exponent(const ScoreHistogram& scores, double drift) {
  double at = 2.0 * drift;
  for (int i = 0; i < 6; ++i) {
    double sum = 0.0;
    double slope = 0.0;
    double count = 0.0;
    for (std::size_t bin = 0; bin < scores.size(); ++bin) {
      if (scores[bin] == 0) continue;
      const double excess = (static_cast<double>(bin) + 0.5) * kBinWidth - kClip - drift;
      const double weight = scores[bin] * std::exp(at * excess);
      sum += weight;
      slope += weight * excess;
      count += scores[bin];
    }
    // Newton on log E, which is convex: from the right it comes down on the root.
    const double value = std::log(sum / count);
    if (!(value > 1e-3) || !(slope > 0.0)) break;
    at -= value * sum / slope;
  }
  return std::clamp(at, drift / 2.0, 2.0 * drift);
}

}  // namespace

double cusum_threshold(double k, double run_length) {
  double shifted = 5.0 / k;  // h + 1.166: a fixed point of the formula
  for (int i = 0; i < 20; ++i) {
    shifted = std::log(1.0 + 2.0 * k * shifted + 2.0 * k * k * run_length) / (2.0 * k);
  }
  return std::max(0.5, shifted - 1.166);
}

WatchChange LatencyWatch::add(const LatencySettings& settings, std::int64_t time_ns,
                              std::int64_t self_ns, std::int64_t total_ns) {
  if (batch_.spans == 0) batch_.time_ns = time_ns;
  batch_.self_log += std::log(std::max(static_cast<double>(self_ns), kSelfFloorNs));
  batch_.total_log += std::log(std::max(static_cast<double>(total_ns), kSelfFloorNs));
  ++batch_.spans;
  const bool is_full = batch_.spans >= std::max<std::uint64_t>(batch_size_, 1) ||
                       time_ns - batch_.time_ns > kBatchAgeMax * settings.batch_ns;
  if (!is_full) return WatchChange::none;
  Batch done = batch_;
  done.self_log /= done.spans;
  done.total_log /= done.spans;
  batch_ = {};
  return close_batch(settings, done, time_ns);
}

WatchChange LatencyWatch::close_batch(const LatencySettings& settings, const Batch& batch,
                                      std::int64_t time_ns) {
  if (!is_ready_) {
    warm_up(settings, batch);
    return WatchChange::none;
  }
  return is_open_ ? watch_recovery(settings, batch, time_ns) : watch(settings, batch, time_ns);
}

void LatencyWatch::warm_up(const LatencySettings& settings, const Batch& batch) {
  pending_.push_back(batch);
  const std::size_t wanted = std::clamp<std::size_t>(settings.warmup_batches, 8, kPendingMax);
  if (pending_.size() < wanted) return;
  if (batch_size_ == 0) {
    // Single spans so far: they tell the traffic, and thereby how many make a batch.
    const auto lasted = static_cast<double>(
        std::max<std::int64_t>(1, pending_.back().time_ns - pending_.front().time_ns));
    const double per_batch =
        static_cast<double>(pending_.size() - 1) * static_cast<double>(settings.batch_ns) / lasted;
    batch_size_ = static_cast<std::uint64_t>(
        std::clamp(std::round(per_batch), 1.0, static_cast<double>(kBatchSpansMax)));
    if (batch_size_ > 1) {
      pending_.clear();
      return;
    }
  }
  std::vector<double> logs;
  for (const Batch& seen : pending_) logs.push_back(seen.self_log);
  centre_ = median(logs);
  for (double& log : logs) log = std::abs(log - centre_);
  spread_ = std::max(1.4826 * median(logs), kSpreadMin);
  is_ready_ = true;
  for (const Batch& seen : pending_) admit(settings, seen);
  pending_.clear();
  calibrate(settings);
}

void LatencyWatch::admit(const LatencySettings& settings, const Batch& batch) {
  const auto log = static_cast<float>(batch.self_log);
  if (reference_.size() < kReferenceMax) {
    reference_.push_back(log);
  } else {
    reference_[next_] = log;
    next_ = (next_ + 1) % kReferenceMax;
  }
  ++admitted_;
  total_centre_ += (batch.total_log - total_centre_) /
                   static_cast<double>(std::min<std::uint64_t>(admitted_, kReferenceMax));
  if (++until_calibration_ >= kCalibrateEvery) calibrate(settings);
}

// Huber's proposal 2 over the ring, warm from the last time.
void LatencyWatch::calibrate(const LatencySettings& settings) {
  until_calibration_ = 0;
  const std::size_t count = reference_.size();
  const auto n = static_cast<double>(count);
  for (int pass = 0; pass < 3; ++pass) {
    double sum = 0.0;
    double squares = 0.0;
    for (const float log : reference_) {
      const double score = clipped((log - centre_) / spread_);
      sum += score;
      squares += score * score;
    }
    const double mean = sum / n;
    centre_ += spread_ * mean;
    spread_ = std::max(spread_ * std::sqrt(std::max(0.0, squares / n - mean * mean)), kSpreadMin);
  }
  ScoreHistogram histogram{};
  double products = 0.0;
  double squares = 0.0;
  double previous = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double score = clipped((reference_[(next_ + i) % count] - centre_) / spread_);
    ++histogram[bin_of(score)];
    products += previous * score;
    squares += score * score;
    previous = score;
  }
  const double uncertain = 1.0 / std::sqrt(n);
  const double found = squares > 0.0 ? products / squares : 0.0;
  correlation_ = found > uncertain ? std::min(found + uncertain / 2.0, 0.9) : 0.0;
  scale_ = spread_ * (1.0 + uncertain * std::sqrt(0.5)) *
           std::sqrt((1.0 + correlation_) / (1.0 - correlation_));
  const double step = std::log(settings.factor_min) / scale_;
  drift_ = std::clamp(step / 2.0, kDriftMin, kDriftMax) + uncertain;
  const double skew = 2.0 * drift_ / adjustment_exponent(histogram, drift_);
  threshold_ = cusum_threshold(drift_, settings.false_alarm_batches) * skew;
  recovery_threshold_ = cusum_threshold(drift_, settings.false_alarm_batches / 1000.0);
}

double LatencyWatch::score_of(double self_log) const {
  return clipped((self_log - centre_) / scale_);
}

WatchChange LatencyWatch::watch(const LatencySettings& settings, const Batch& batch,
                                std::int64_t time_ns) {
  // Capped, so that a long excursion that is no regression is left as quickly as a short one.
  statistic_ = std::clamp(statistic_ + score_of(batch.self_log) - drift_, 0.0, 2.0 * threshold_);
  if (statistic_ == 0.0) {
    for (const Batch& seen : pending_) admit(settings, seen);
    pending_.clear();
    admit(settings, batch);
    return WatchChange::none;
  }
  if (pending_.size() == kPendingMax) {
    admit(settings, pending_.front());
    pending_.erase(pending_.begin());
  }
  pending_.push_back(batch);
  if (statistic_ <= threshold_ || !open_case(settings, time_ns)) return WatchChange::none;
  return WatchChange::opened;
}

// Fills `case_` if what is pending makes a regression.
bool LatencyWatch::open_case(const LatencySettings& settings, std::int64_t time_ns) {
  if (pending_.size() < kBatchesMin) return false;
  // The onset: the most likely place of a shift of unknown size, by the likelihood ratio of all
  // that is behind it.
  std::size_t onset = 0;
  double best = 0.0;
  double sum = 0.0;
  for (std::size_t i = pending_.size(); i-- > 0;) {
    sum += score_of(pending_[i].self_log);
    const double ratio = sum * std::abs(sum) / static_cast<double>(pending_.size() - i);
    if (ratio <= best) continue;
    best = ratio;
    onset = i;
  }
  std::vector<double> self_logs;
  std::vector<double> total_logs;
  std::uint64_t spans = 0;
  for (std::size_t i = onset; i < pending_.size(); ++i) {
    self_logs.push_back(pending_[i].self_log);
    total_logs.push_back(pending_[i].total_log);
    spans += pending_[i].spans;
  }
  const double shift = median(self_logs) - centre_;
  const double midway = centre_ + std::max(shift, std::log(settings.factor_min)) / 2.0;
  const auto slow_count =
      std::count_if(self_logs.begin(), self_logs.end(), [&](double log) { return log > midway; });
  if (slow_count < static_cast<std::ptrdiff_t>(kBatchesMin) ||
      time_ns - pending_[onset].time_ns < settings.persistence_ns) {
    return false;
  }
  const double before = std::exp(centre_);
  const double after = std::exp(centre_ + shift);
  const double total_before = std::exp(total_centre_);
  const double total_after = std::exp(median(total_logs));
  const double increase = after - before;
  if (after < before * settings.factor_min || increase < settings.increase_min_ns) return false;
  // Where only the self time grew, children have stopped to be reported: nothing got slower.
  if (increase < kOfTotalMin * total_before ||
      total_after - total_before < kTotalShareMin * increase) {
    return false;
  }
  case_ = {};
  case_.onset_ns = pending_[onset].time_ns;
  case_.self_before_ns = before;
  case_.self_after_ns = after;
  case_.total_before_ns = total_before;
  case_.total_after_ns = total_after;
  case_.log_spread = spread_;
  case_.correlation = correlation_;
  case_.statistic = statistic_;
  case_.threshold = threshold_;
  case_.batches_before = reference_.size();
  case_.batches_after = self_logs.size();
  case_.spans_after = spans;
  case_.spans_per_batch = batch_size_;
  is_open_ = true;
  recovery_ = 0.0;
  recovering_since_ns_ = 0;
  open_self_log_ = open_total_log_ = recovering_self_log_ = recovering_total_log_ = 0.0;
  open_batches_ = open_spans_ = recovering_batches_ = recovering_spans_ = 0;
  for (std::size_t i = onset; i < pending_.size(); ++i) {
    open_self_log_ += pending_[i].self_log;
    open_total_log_ += pending_[i].total_log;
    open_spans_ += pending_[i].spans;
    ++open_batches_;
  }
  pending_.clear();
  statistic_ = 0.0;
  return true;
}

WatchChange LatencyWatch::watch_recovery(const LatencySettings& settings, const Batch& batch,
                                         std::int64_t time_ns) {
  // Half way (in logarithms) to the least factor: nearer to the reference than to a regression.
  const double limit = centre_ + std::log(settings.factor_min) / 2.0;
  recovery_ = std::max(0.0, recovery_ + clipped((limit - batch.self_log) / scale_));
  if (recovery_ == 0.0) {
    open_self_log_ += recovering_self_log_ + batch.self_log;
    open_total_log_ += recovering_total_log_ + batch.total_log;
    open_batches_ += recovering_batches_ + 1;
    open_spans_ += recovering_spans_ + batch.spans;
    recovering_self_log_ = recovering_total_log_ = 0.0;
    recovering_batches_ = recovering_spans_ = 0;
  } else {
    if (recovering_batches_ == 0) recovering_since_ns_ = batch.time_ns;
    recovering_self_log_ += batch.self_log;
    recovering_total_log_ += batch.total_log;
    ++recovering_batches_;
    recovering_spans_ += batch.spans;
  }
  const bool has_recovered =
      recovery_ > recovery_threshold_ && time_ns - recovering_since_ns_ >= settings.persistence_ns;
  const bool is_accepted = time_ns - case_.onset_ns >= settings.accept_after_ns;
  if (!has_recovered && !is_accepted) return WatchChange::none;
  const auto batches = static_cast<double>(std::max<std::uint64_t>(open_batches_, 1));
  case_.self_after_ns = std::exp(open_self_log_ / batches);
  case_.total_after_ns = std::exp(open_total_log_ / batches);
  case_.batches_after = open_batches_;
  case_.spans_after = open_spans_;
  is_open_ = false;
  if (has_recovered) {
    case_.recovered_ns = recovering_since_ns_;
    return WatchChange::recovered;
  }
  forget();
  return WatchChange::accepted;
}

void LatencyWatch::forget() {
  is_ready_ = false;
  batch_size_ = 0;
  reference_.clear();
  pending_.clear();
  next_ = until_calibration_ = 0;
  admitted_ = 0;
  total_centre_ = statistic_ = 0.0;
}

void LatencyWatch::write(StateWriter& out) const {
  const auto write_batch = [&](const Batch& batch) {
    out.i64(batch.time_ns).f64(batch.self_log).f64(batch.total_log).varint(batch.spans);
  };
  out.varint(batch_size_);
  write_batch(batch_);
  out.varint(reference_.size());
  for (const float log : reference_) out.u32(std::bit_cast<std::uint32_t>(log));
  out.varint(next_).varint(until_calibration_).boolean(is_ready_);
  for (const double value : {centre_, spread_, scale_, correlation_, total_centre_, drift_,
                             threshold_, statistic_, recovery_, recovery_threshold_, open_self_log_,
                             open_total_log_, recovering_self_log_, recovering_total_log_}) {
    out.f64(value);
  }
  out.varint(admitted_).boolean(is_open_).i64(recovering_since_ns_);
  out.varint(open_batches_).varint(open_spans_);
  out.varint(recovering_batches_).varint(recovering_spans_);
  out.varint(pending_.size());
  for (const Batch& batch : pending_) write_batch(batch);
  out.i64(case_.onset_ns).i64(case_.recovered_ns);
  for (const double value :
       {case_.self_before_ns, case_.self_after_ns, case_.total_before_ns, case_.total_after_ns,
        case_.log_spread, case_.correlation, case_.statistic, case_.threshold}) {
    out.f64(value);
  }
  out.varint(case_.batches_before).varint(case_.batches_after);
  out.varint(case_.spans_after).varint(case_.spans_per_batch);
}

void LatencyWatch::read(StateReader& in) {
  const auto read_batch = [&] {
    Batch batch;
    batch.time_ns = in.i64();
    batch.self_log = in.f64();
    batch.total_log = in.f64();
    batch.spans = static_cast<std::uint32_t>(in.varint());
    return batch;
  };
  batch_size_ = in.varint();
  batch_ = read_batch();
  reference_.clear();
  for (std::size_t left = in.count(4); left > 0; --left) {
    reference_.push_back(std::bit_cast<float>(in.u32()));
  }
  next_ = static_cast<std::size_t>(in.varint());
  until_calibration_ = static_cast<std::size_t>(in.varint());
  is_ready_ = in.boolean();
  if (reference_.size() > kReferenceMax || next_ >= kReferenceMax ||
      (is_ready_ && reference_.empty())) {
    throw Error(EPHOR_INVALID, "latency reference out of range");
  }
  for (double* value : {&centre_, &spread_, &scale_, &correlation_, &total_centre_, &drift_,
                        &threshold_, &statistic_, &recovery_, &recovery_threshold_, &open_self_log_,
                        &open_total_log_, &recovering_self_log_, &recovering_total_log_}) {
    *value = in.f64();
  }
  admitted_ = in.varint();
  is_open_ = in.boolean();
  recovering_since_ns_ = in.i64();
  open_batches_ = in.varint();
  open_spans_ = in.varint();
  recovering_batches_ = in.varint();
  recovering_spans_ = in.varint();
  pending_.clear();
  for (std::size_t left = in.count(25); left > 0; --left) pending_.push_back(read_batch());
  case_.onset_ns = in.i64();
  case_.recovered_ns = in.i64();
  for (double* value :
       {&case_.self_before_ns, &case_.self_after_ns, &case_.total_before_ns, &case_.total_after_ns,
        &case_.log_spread, &case_.correlation, &case_.statistic, &case_.threshold}) {
    *value = in.f64();
  }
  case_.batches_before = in.varint();
  case_.batches_after = in.varint();
  case_.spans_after = in.varint();
  case_.spans_per_batch = in.varint();
}

}  // namespace ephor::tracer
