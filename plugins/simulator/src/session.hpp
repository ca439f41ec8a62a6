// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ensemble.hpp"
#include "faults.hpp"
#include "features.hpp"
#include "market.hpp"
#include "models.hpp"
#include "regime_filter.hpp"
#include "trace.hpp"
#include "trading.hpp"

namespace ephor::simulator {

struct SessionSettings {
  std::string epoch;  // part of every id: two runs with different epochs never collide
  std::uint64_t seed = 1;
  std::string symbol = "BTCUSDT";
  double start_price = 60000.0;
  double initial_equity = 10000.0;

  template <typename Archive>
  void visit(Archive& archive) {
    archive(epoch, seed, symbol, start_price, initial_equity);
  }
};

inline constexpr double kConfidenceThreshold = 0.4;
inline constexpr double kConfidenceThresholdVolatile = 0.48;
inline constexpr double kConsensusThreshold = 0.4;
inline constexpr std::string_view kHealthyVersion = "1.0.0";
inline constexpr std::string_view kBrokenVersion = "1.1.0";

struct Decision {
  std::array<double, kModelCount> weights{};
  Label primary = Label::hold;
  double confidence = 0.0;
  Label meta = Label::hold;
  double meta_confidence = 0.0;
  double consensus = 0.0;
  double disagreement = 0.0;
  double threshold = 0.0;  // that `confidence` had to reach
  Label final_label = Label::hold;
  std::string_view verdict;  // why `final_label` is what it is
};

// What was predicted at one step and is not resolved yet.
struct OpenPrediction {
  std::uint64_t step = 0;
  std::int64_t time_ns = 0;
  std::string correlation_id;
  std::string traceparent;
  double close = 0.0;
  Probability blend{};
  double consensus = 0.0;
  Predictions predictions{};

  template <typename Archive>
  void visit(Archive& archive) {
    archive(step, time_ns, correlation_id, traceparent, close, blend, consensus, predictions);
  }
};

struct Resolved {
  OpenPrediction prediction;
  double realized_return = 0.0;  // rounded to 8 digits, as printed
  Label actual = Label::hold;
  double horizon_s = 0.0;
};

// Everything that happened at one step. Members behind an operation are valid if the trace has done
// it: features (build_features), predictions (predict), regime (blend), decision (risk_check).
struct Cycle {
  std::uint64_t step = 0;
  std::int64_t time_ns = 0;
  Candle candle;
  std::string correlation_id;
  std::string traceparent;
  CycleTrace trace;
  Features features{};  // as observed, drift included
  Predictions predictions{};
  std::array<bool, kModelCount> is_broken{};
  std::array<bool, kModelCount> is_deployed{};  // its version changed at this step
  RegimeFilter regime;
  Decision decision;
  std::optional<Resolved> resolved;
  std::optional<ClosedTrade> closed;
  std::optional<Position> opened;
  double equity = 0.0;    // marked to market
  double exposure = 0.0;  // signed notional / equity
};

// A trading system and its market, one cycle per step. Everything follows from the settings, the
// times it is given and the faults; the market of a seed is the same whatever the faults.
class Session {
 public:
  explicit Session(SessionSettings settings);

  // `time_ns` must grow from call to call.
  Cycle step(std::int64_t time_ns);

  const SessionSettings& settings() const { return settings_; }
  const Account& account() const { return account_; }
  const Ensemble& ensemble() const { return ensemble_; }
  double price() const { return market_.candle().close; }
  std::uint64_t steps() const { return step_; }
  std::int64_t last_time_ns() const { return last_time_ns_; }  // 0 before the first step
  std::vector<Fault>& faults() { return faults_; }
  const std::vector<Fault>& faults() const { return faults_; }

  template <typename Archive>
  void visit(Archive& archive) {
    archive(settings_, step_, last_time_ns_, market_, window_, filter_, ensemble_, meta_, account_,
            faults_, open_, said_, was_broken_);
  }
  // Of what was loaded: false if the fields contradict each other.
  bool is_sound() const;

 private:
  void observe();
  std::optional<Resolved> resolve(std::int64_t time_ns);
  void predict_all(Cycle& cycle);
  Decision decide(const Cycle& cycle, const Probability& blend) const;
  void trade(Cycle& cycle);
  const Fault* fault(FaultKind kind, std::string_view target, std::int64_t time_ns) const {
    return active_fault(faults_, kind, target, time_ns);
  }

  SessionSettings settings_;
  std::uint64_t step_ = 0;  // of the next cycle
  std::int64_t last_time_ns_ = 0;
  Market market_;
  FeatureWindow window_;
  RegimeFilter filter_;
  Ensemble ensemble_;
  MetaLearner meta_;
  Account account_;
  std::vector<Fault> faults_;
  std::deque<OpenPrediction> open_;              // at most Market::kHorizon, oldest first
  std::array<Probability, kModelCount> said_{};  // last, for stale output
  std::array<bool, kModelCount> was_broken_{};
};

std::string prediction_id(const SessionSettings& settings, std::size_t model, std::uint64_t step);
std::string decision_id(const SessionSettings& settings, std::uint64_t step);

}  // namespace ephor::simulator
