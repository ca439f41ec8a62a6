// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::simulator {
namespace {

constexpr double kJitterMedianMs = 25.0;  // between the market's tick and the cycle's start
constexpr double kSlippageScale = 0.00001;
constexpr std::size_t kRelativeStrength = 6;  // rsi_14 is bounded, volatilities are not negative
constexpr std::size_t kVolatilityShort = 4;
constexpr std::size_t kVolatilityLong = 5;
constexpr std::size_t kRange = 7;

double bounded(std::size_t feature, double value) {
  if (feature == kRelativeStrength) return std::clamp(value, 0.0, 100.0);
  const bool is_positive =
      feature == kVolatilityShort || feature == kVolatilityLong || feature == kRange;
  return is_positive ? std::max(0.0, value) : value;
}

std::int64_t jittered(const SessionSettings& settings, std::uint64_t step, std::int64_t time_ns) {
  Random random(settings.seed, Stream::latency, ~step);
  const double jitter_ms = std::min(200.0, random.log_normal(kJitterMedianMs, 0.5));
  return time_ns + static_cast<std::int64_t>(jitter_ms * 1e6);
}

std::string correlation_of(const SessionSettings& settings, std::uint64_t step) {
  Random random(settings.seed, Stream::identity, ~step);
  return "corr-" + settings.epoch + "-" + std::to_string(step) + "-" + to_hex(random.next(), 8);
}

}  // namespace

std::string prediction_id(const SessionSettings& settings, std::size_t model, std::uint64_t step) {
  return std::string(kModels[model].id) + ":" + settings.epoch + "-" + std::to_string(step);
}
std::string decision_id(const SessionSettings& settings, std::uint64_t step) {
  return "decision:" + settings.epoch + "-" + std::to_string(step);
}

Session::Session(SessionSettings settings)
    : settings_(std::move(settings)),
      market_(settings_.seed, settings_.start_price),
      account_(settings_.initial_equity) {
  window_.add(market_.candle());
  while (!window_.is_full()) observe();
}

void Session::observe() {
  const double before = market_.candle().close;
  market_.advance();
  window_.add(market_.candle());
  filter_.update(std::log(market_.candle().close / before));
}

Cycle Session::step(std::int64_t time_ns) {
  observe();
  Cycle cycle;
  cycle.step = step_++;
  cycle.time_ns = last_time_ns_ = time_ns;
  cycle.candle = market_.candle();
  cycle.regime = filter_;
  cycle.resolved = resolve(time_ns);
  cycle.correlation_id = correlation_of(settings_, cycle.step);
  // A trace id of its own for each epoch: two runs of one seed must not share their traces.
  std::uint64_t trace_seed = settings_.seed;
  for (const char character : settings_.epoch) {
    trace_seed = (trace_seed ^ static_cast<unsigned char>(character)) * 0x100000001B3u;
  }
  cycle.trace =
      trace_cycle(trace_seed, cycle.step, jittered(settings_, cycle.step, time_ns), faults_);
  cycle.traceparent = "00-" + cycle.trace.trace_id + "-" + cycle.trace.root().span_id + "-01";

  predict_all(cycle);
  if (cycle.trace.has_done(Operation::predict)) {
    const Probability blend = ensemble_.blend(cycle.predictions);
    cycle.decision = decide(cycle, blend);
    open_.push_back({cycle.step, time_ns, cycle.correlation_id, cycle.traceparent,
                     cycle.candle.close, blend, cycle.decision.consensus, cycle.predictions});
  }
  trade(cycle);
  cycle.equity = account_.equity_at(cycle.candle.close);
  cycle.exposure = account_.exposure_at(cycle.candle.close);
  return cycle;
}

std::optional<Resolved> Session::resolve(std::int64_t time_ns) {
  if (open_.empty() || open_.front().step + Market::kHorizon != step_ - 1) return std::nullopt;
  Resolved resolved;
  resolved.prediction = std::move(open_.front());
  open_.pop_front();
  const double change = market_.candle().close / resolved.prediction.close - 1.0;
  resolved.realized_return = std::round(change * 1e8) / 1e8;
  resolved.actual = label_of(resolved.realized_return);
  resolved.horizon_s = static_cast<double>(time_ns - resolved.prediction.time_ns) / 1e9;
  ensemble_.learn(resolved.prediction.predictions, resolved.actual);
  meta_.learn(resolved.prediction.blend, resolved.prediction.consensus, resolved.actual);
  return resolved;
}

void Session::predict_all(Cycle& cycle) {
  const Features truth = window_.compute();
  const RegimeLaw& law = law_of(cycle.candle.regime);
  constexpr auto kSteps = static_cast<double>(Market::kHorizon);
  Random random(settings_.seed, Stream::models, cycle.step);
  Outlook outlook{market_.future_return(),
                  kSteps * law.drift,
                  std::sqrt(kSteps) * law.volatility,
                  random.normal(),
                  {}};
  for (std::size_t feature = 0; feature < kFeatureCount; ++feature) {
    cycle.features[feature] = truth[feature];
    if (const Fault* drift =
            fault(FaultKind::feature_drift, kFeatureNames[feature], cycle.time_ns)) {
      const double shift = drift->factor * kFeatureScales[feature];
      cycle.features[feature] = bounded(feature, truth[feature] + shift);
      outlook.feature_error[feature] =
          (cycle.features[feature] - truth[feature]) / kFeatureScales[feature];
    }
  }
  for (std::size_t model = 0; model < kModelCount; ++model) {
    const ModelLaw& model_law = kModels[model];
    // Drawn in any case: a fault must not move the luck of the next model.
    Probability said = predict(model_law, outlook, random);
    const Probability shuffled = shuffle(said, random);
    cycle.is_broken[model] = fault(FaultKind::broken_model, model_law.id, cycle.time_ns) != nullptr;
    cycle.is_deployed[model] = cycle.is_broken[model] != was_broken_[model];
    was_broken_[model] = cycle.is_broken[model];
    if (cycle.is_broken[model]) said = shuffled;
    if (const Fault* sure = fault(FaultKind::overconfidence, model_law.id, cycle.time_ns)) {
      said = sharpen(said, sure->factor);
    }
    const bool is_stale = fault(FaultKind::stale_output, model_law.id, cycle.time_ns) != nullptr;
    if (is_stale && said_[model] != Probability{}) said = said_[model];
    cycle.predictions[model] = said_[model] = said;
  }
}

Decision Session::decide(const Cycle& cycle, const Probability& blend) const {
  Decision decision;
  decision.weights = ensemble_.weights();
  decision.primary = best_of(blend);
  decision.confidence = blend[static_cast<std::size_t>(decision.primary)];
  decision.consensus = consensus(cycle.predictions, decision.primary);
  decision.disagreement = disagreement(cycle.predictions, blend);
  const Probability second = meta_.predict(blend, decision.consensus);
  decision.meta = best_of(second);
  decision.meta_confidence = second[static_cast<std::size_t>(decision.meta)];
  decision.threshold = cycle.regime.regime() == Regime::high_volatility
                           ? kConfidenceThresholdVolatile
                           : kConfidenceThreshold;
  if (decision.primary == Label::hold) {
    decision.verdict = "the blend says hold";
  } else if (decision.confidence < decision.threshold) {
    decision.verdict = "confidence is below the threshold";
  } else if (decision.consensus < kConsensusThreshold) {
    decision.verdict = "too few models agree";
  } else if (decision.meta != decision.primary && decision.meta != Label::hold) {
    decision.verdict = "the meta learner says the opposite";
  } else {
    decision.final_label = decision.primary;
    decision.verdict = "all checks passed";
  }
  return decision;
}

void Session::trade(Cycle& cycle) {
  const bool is_decided = cycle.trace.has_done(Operation::risk_check);
  const Label signal = is_decided ? cycle.decision.final_label : Label::hold;
  Random random(settings_.seed, Stream::trading, cycle.step);
  const double slippage_close = kSlippageScale * std::abs(random.normal());
  const double slippage_open = kSlippageScale * std::abs(random.normal());
  cycle.closed = account_.manage(cycle.candle, cycle.step, signal, slippage_close);

  const bool is_approved = cycle.trace.has_done(Operation::approve);
  if (!is_approved || signal == Label::hold || account_.position() != nullptr) return;
  Position position;
  position.trade_id = "trade_" + settings_.epoch + "_" + std::to_string(cycle.step);
  position.decision_id = decision_id(settings_, cycle.step);
  position.correlation_id = cycle.correlation_id;
  position.regime = cycle.regime.regime();
  position.side = signal == Label::buy ? 1 : -1;
  position.open_time_ns = cycle.trace.root().end_ns;
  position.open_step = cycle.step;
  account_.open(std::move(position), cycle.candle.close, slippage_open);
  if (account_.position() != nullptr) cycle.opened = *account_.position();
}

bool Session::is_sound() const {
  // Far from both ends of 64 bits, so that times can be added and subtracted.
  const auto is_time = [](std::int64_t time_ns) {
    return time_ns >= 0 && time_ns < std::int64_t{1} << 62;
  };
  const auto is_good_fault = [](const Fault& fault) {
    return std::abs(fault.factor) <= 100.0 && fault.rate >= 0.0 && fault.rate <= 1.0;
  };
  const auto is_good_open = [&](const OpenPrediction& open) {
    return open.close > 0.0 && is_time(open.time_ns);
  };
  return market_.is_sound() && window_.is_sound() && account_.is_sound() &&
         is_time(last_time_ns_) && open_.size() <= Market::kHorizon &&
         std::all_of(faults_.begin(), faults_.end(), is_good_fault) &&
         std::all_of(open_.begin(), open_.end(), is_good_open);
}

}  // namespace ephor::simulator
