// SPDX-License-Identifier: Apache-2.0
#include "render.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "json_text.hpp"

namespace ephor::simulator {
namespace {

constexpr std::uint64_t kMetricEvery = 5;        // steps
constexpr std::uint64_t kPathEvery = 10;         // steps; every step that is not a hold, too
constexpr std::uint64_t kImportanceEvery = 120;  // steps
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::string_view kEnsembleId = "main";

struct Line {
  std::int64_t time_ns;
  std::string text;
};

class CycleText {
 public:
  CycleText(const SessionSettings& settings, const Cycle& cycle, Tally& tally)
      : settings_(settings), cycle_(cycle), tally_(tally) {}

  std::vector<Line> lines() {
    market();
    deployments();
    outcomes();
    for (const Span& span : cycle_.trace.spans) add_span(span);
    if (cycle_.trace.has_done(Operation::build_features)) features();
    if (cycle_.trace.has_done(Operation::predict)) predictions();
    if (cycle_.trace.has_done(Operation::blend)) regime();
    if (cycle_.trace.has_done(Operation::risk_check)) decision();
    trades();
    if (cycle_.step % kMetricEvery == 0) metrics();
    if (cycle_.step % kImportanceEvery == 0) importance();
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const Line& a, const Line& b) { return a.time_ns < b.time_ns; });
    return std::move(lines_);
  }

 private:
  struct Context {
    std::string_view correlation_id;
    std::string_view traceparent;
  };
  Context own() const { return {cycle_.correlation_id, cycle_.traceparent}; }

  // Writes one line; `body` adds the members of its data.
  template <typename Body>
  void add(EventType type, std::string_view source, std::int64_t time_ns, Context context,
           Body&& body) {
    const auto index = static_cast<std::size_t>(type);
    ++tally_.events[index];
    Line line{time_ns, {}};
    line.text.reserve(512);
    ObjectText event(line.text);
    event.text("specversion", "1.0");
    event.text("id", settings_.epoch + "-" + std::to_string(cycle_.step) + "-" + to_hex(index, 1) +
                         "-" + std::to_string(used_[index]++));
    event.text("type", kEventTypeNames[index]).text("source", source);
    event.text("time", time_text(time_ns));
    if (!context.correlation_id.empty()) event.text("correlationid", context.correlation_id);
    if (!context.traceparent.empty()) event.text("traceparent", context.traceparent);
    ObjectText data(event.member("data"));
    body(data);
    data.close();
    event.close();
    line.text += '\n';
    lines_.push_back(std::move(line));
  }

  void market() {
    add(EventType::market, "exchange", cycle_.time_ns, {}, [&](ObjectText& data) {
      const Candle& candle = cycle_.candle;
      data.text("symbol", settings_.symbol)
          .number("open", candle.open, 2)
          .number("high", candle.high, 2)
          .number("low", candle.low, 2)
          .number("close", candle.close, 2)
          .number("volume", candle.volume, 3);
    });
  }

  void deployments() {
    for (std::size_t model = 0; model < kModelCount; ++model) {
      if (!cycle_.is_deployed[model]) continue;
      add(EventType::deployment, "supervisor", cycle_.time_ns, {}, [&](ObjectText& data) {
        data.text("model_id", kModels[model].id)
            .text("model_version", version_of(model))
            .text("note", cycle_.is_broken[model] ? "rolled out" : "rolled back");
      });
    }
  }

  std::string_view version_of(std::size_t model) const {
    return cycle_.is_broken[model] ? kBrokenVersion : kHealthyVersion;
  }

  void outcomes() {
    if (!cycle_.resolved) return;
    const Resolved& resolved = *cycle_.resolved;
    const Context context{resolved.prediction.correlation_id, resolved.prediction.traceparent};
    for (std::size_t model = 0; model < kModelCount; ++model) {
      ++tally_.outcomes[model];
      if (best_of(resolved.prediction.predictions[model]) == resolved.actual) {
        ++tally_.correct[model];
      }
      add(EventType::outcome, "supervisor", cycle_.time_ns + kMillisecond, context,
          [&](ObjectText& data) {
            data.text("prediction_id", prediction_id(settings_, model, resolved.prediction.step))
                .text("model_id", kModels[model].id)
                .text("actual", name_of(resolved.actual))
                .number("realized_return", resolved.realized_return, 8)
                .number("horizon_s", resolved.horizon_s, 3);
          });
    }
  }

  void add_span(const Span& span) {
    if (!span.error.empty()) ++tally_.error_spans;
    add(EventType::span, span.component, span.end_ns, own(), [&](ObjectText& data) {
      data.text("trace_id", cycle_.trace.trace_id).text("span_id", span.span_id);
      if (span.parent_id.empty()) {
        data.null("parent_span_id");
      } else {
        data.text("parent_span_id", span.parent_id);
      }
      data.text("component", span.component)
          .text("operation", span.operation)
          .integer("start_time_unix_nano", span.start_ns)
          .integer("end_time_unix_nano", span.end_ns)
          .text("status", span.error.empty() ? "ok" : "error");
      if (!span.error.empty()) data.text("error_message", span.error);
      if (span.parent_id.empty()) {
        ObjectText attributes(data.member("attributes"));
        attributes.text("symbol", settings_.symbol).text("exchange", "SIMULATED").close();
      }
    });
  }

  void features() {
    const std::int64_t time_ns = cycle_.trace.end_of(Operation::build_features);
    add(EventType::features, "analyst", time_ns, own(), [&](ObjectText& data) {
      data.text("symbol", settings_.symbol);
      ObjectText values(data.member("features"));
      for (std::size_t feature = 0; feature < kFeatureCount; ++feature) {
        values.number(kFeatureNames[feature], cycle_.features[feature], 8);
      }
      values.close();
    });
  }

  static double confidence_of(const Probability& probability) {
    return *std::max_element(probability.begin(), probability.end());
  }

  void predictions() {
    const std::int64_t time_ns = cycle_.trace.end_of(Operation::predict);
    for (std::size_t model = 0; model < kModelCount; ++model) {
      const Probability& said = cycle_.predictions[model];
      add(EventType::prediction, "analyst", time_ns, own(), [&](ObjectText& data) {
        data.text("prediction_id", prediction_id(settings_, model, cycle_.step))
            .text("model_id", kModels[model].id)
            .text("model_type", kModels[model].type)
            .text("model_version", version_of(model))
            .text("ensemble_id", kEnsembleId)
            .text("symbol", settings_.symbol)
            .text("prediction", name_of(best_of(said)))
            .number("confidence", confidence_of(said), 5);
        ObjectText probability(data.member("probability"));
        for (std::size_t label = 0; label < kLabelCount; ++label) {
          probability.number(kLabelNames[label], said[label], 5);
        }
        probability.close();
        data.text("regime", name_of(cycle_.regime.regime()));
      });
    }
  }

  void regime() {
    const std::int64_t time_ns = cycle_.trace.end_of(Operation::blend);
    add(EventType::regime, "strategist", time_ns, own(), [&](ObjectText& data) {
      data.text("symbol", settings_.symbol)
          .text("regime_type", name_of(cycle_.regime.regime()))
          .number("regime_confidence", cycle_.regime.confidence(), 5);
      ObjectText probability(data.member("regime_probabilities"));
      for (std::size_t regime = 0; regime < kRegimeCount; ++regime) {
        probability.number(kRegimeNames[regime], cycle_.regime.probability()[regime], 5);
      }
      probability.close();
      data.integer("regime_duration", static_cast<std::int64_t>(cycle_.regime.duration()));
      ObjectText indicators(data.member("regime_indicators"));
      indicators.number("volatility", cycle_.features[4], 8)
          .number("trend_strength", cycle_.features[9], 8)
          .close();
    });
  }

  void decision() {
    const std::int64_t time_ns = cycle_.trace.end_of(Operation::risk_check);
    add(EventType::ensemble_decision, "strategist", time_ns, own(),
        [&](ObjectText& data) { describe_decision(data); });
    const Decision& decision = cycle_.decision;
    if (decision.final_label == Label::hold && cycle_.step % kPathEvery != 0) return;
    add(EventType::decision_path, "strategist", time_ns, own(),
        [&](ObjectText& data) { describe_path(data); });
  }

  void describe_decision(ObjectText& data) {
    const Decision& decision = cycle_.decision;
    data.text("decision_id", decision_id(settings_, cycle_.step))
        .text("ensemble_id", kEnsembleId)
        .text("ensemble_type", "weighted_blend")
        .text("symbol", settings_.symbol)
        .text("primary_prediction", name_of(decision.primary))
        .number("primary_confidence", decision.confidence, 5);
    ObjectText individual(data.member("individual_predictions"));
    for (std::size_t model = 0; model < kModelCount; ++model) {
      const Probability& said = cycle_.predictions[model];
      ObjectText one(individual.member(kModels[model].id));
      one.text("prediction", name_of(best_of(said)))
          .number("confidence", confidence_of(said), 5)
          .close();
    }
    individual.close();
    ObjectText weights(data.member("ensemble_weights"));
    for (std::size_t model = 0; model < kModelCount; ++model) {
      weights.number(kModels[model].id, decision.weights[model], 6);
    }
    weights.close();
    data.text("meta_learner_prediction", name_of(decision.meta))
        .number("meta_learner_confidence", decision.meta_confidence, 5)
        .number("consensus_level", decision.consensus, 2)
        .number("disagreement_score", decision.disagreement, 5)
        .text("final_decision", name_of(decision.final_label))
        .text("regime", name_of(cycle_.regime.regime()));
  }

  void describe_path(ObjectText& data) {
    const Decision& decision = cycle_.decision;
    const auto votes = static_cast<int>(std::lround(decision.consensus * kModelCount));
    data.text("decision_id", decision_id(settings_, cycle_.step))
        .raw("decision_steps", R"(["blend","consensus","meta_check","risk_check","final"])");
    std::string& reasons = data.member("decision_reasons");
    const std::string texts[] = {
        "the blend favours " + std::string(name_of(decision.primary)),
        std::to_string(votes) + " of " + std::to_string(kModelCount) + " models agree",
        "the meta learner says " + std::string(name_of(decision.meta)),
        "regime " + std::string(name_of(cycle_.regime.regime())),
        std::string(name_of(decision.final_label)) + ": " + std::string(decision.verdict)};
    for (const std::string& text : texts) {
      reasons += &text == texts ? '[' : ',';
      append_quoted(reasons, text);
    }
    reasons += ']';
    std::string& weights = data.member("decision_weights");
    const double values[] = {decision.confidence, decision.consensus, decision.meta_confidence,
                             cycle_.regime.confidence(), decision.confidence};
    for (const double& value : values) {
      weights += &value == values ? '[' : ',';
      append_number(weights, value, 5);
    }
    weights += ']';
    ObjectText thresholds(data.member("decision_thresholds"));
    thresholds.number("confidence", decision.threshold, 3)
        .number("consensus", kConsensusThreshold, 3)
        .close();
    data.text("final_decision", name_of(decision.final_label));
  }

  void trades() {
    const std::int64_t time_ns = cycle_.trace.root().end_ns;
    if (cycle_.closed) {
      const ClosedTrade& closed = *cycle_.closed;
      const Position& position = closed.position;
      // No traceparent: the cycle that opened it ended long ago.
      add(EventType::trade, "tactician", time_ns, {position.correlation_id, {}},
          [&](ObjectText& data) {
            describe_position(data, position, "closed");
            data.text("open_time", time_text(position.open_time_ns))
                .number("close_price", closed.close_price, 2)
                .text("close_reason", closed.reason)
                .number("pnl", closed.pnl, 6)
                .number("fees", closed.fees, 6)
                .number("slippage", closed.slippage, 6);
          });
    }
    if (cycle_.opened) {
      const Position& position = *cycle_.opened;
      // Index 0 is kept for a close, whether or not there was one.
      used_[static_cast<std::size_t>(EventType::trade)] = 1;
      add(EventType::trade, "tactician", time_ns, own(), [&](ObjectText& data) {
        describe_position(data, position, "open");
        data.number("stop_loss", position.stop_loss, 2)
            .number("take_profit", position.take_profit, 2);
        ObjectText risk(data.member("risk_metrics"));
        risk.number("exposure", std::abs(cycle_.exposure), 6).close();
      });
    }
  }

  void describe_position(ObjectText& data, const Position& position, std::string_view status) {
    data.text("trade_id", position.trade_id)
        .text("decision_id", position.decision_id)
        .text("symbol", settings_.symbol)
        .text("side", position.side > 0 ? "buy" : "sell")
        .number("quantity", position.quantity, 6)
        .number("price", position.entry_price, 2)
        .text("status", status)
        .text("order_type", "market")
        .text("regime", name_of(position.regime));
  }

  void metric(std::string_view name, double value, int digits, std::string_view unit) {
    const std::int64_t time_ns = cycle_.trace.root().end_ns + kMillisecond;
    add(EventType::metric, "ares", time_ns, {}, [&](ObjectText& data) {
      data.text("name", name).number("value", value, digits).text("unit", unit);
      ObjectText labels(data.member("labels"));
      labels.text("symbol", settings_.symbol).close();
      data.text("kind", "gauge");
    });
  }

  void metrics() {
    metric("portfolio.equity", cycle_.equity, 6, "USD");
    metric("portfolio.exposure", cycle_.exposure, 6, "1");
    metric("market.price", cycle_.candle.close, 2, "USD");
    metric("trades.open", cycle_.exposure == 0.0 ? 0.0 : 1.0, 0, "1");
    if (!cycle_.trace.has_done(Operation::route_order)) return;
    for (const Span& span : cycle_.trace.spans) {
      if (span.operation != "route_order") continue;
      metric("exchange.latency", static_cast<double>(span.end_ns - span.start_ns) / 1e6, 6, "ms");
    }
  }

  void importance() {
    const std::int64_t time_ns = cycle_.trace.root().end_ns + kMillisecond;
    Random random(settings_.seed, Stream::importance, cycle_.step);
    for (std::size_t model = 0; model < kModelCount; ++model) {
      add(EventType::feature_importance, "analyst", time_ns, own(), [&](ObjectText& data) {
        data.text("model_id", kModels[model].id).text("method", "permutation");
        ObjectText values(data.member("importance"));
        for (std::size_t feature = 0; feature < kFeatureCount; ++feature) {
          // A permutation estimate of the sensitivity, with the noise such an estimate has.
          const double estimate = kModels[model].sensitivity[feature] + 0.01 * random.normal();
          values.number(kFeatureNames[feature], estimate, 6);
        }
        values.close();
      });
    }
  }

  const SessionSettings& settings_;
  const Cycle& cycle_;
  Tally& tally_;
  std::array<int, kEventTypeCount> used_{};  // ids of each type so far
  std::vector<Line> lines_;
};

}  // namespace

std::uint64_t Tally::total() const {
  return std::accumulate(events.begin(), events.end(), std::uint64_t{0});
}

Rendered render(const SessionSettings& settings, const Cycle& cycle, std::string& out,
                Tally& tally) {
  const std::vector<Line> lines = CycleText(settings, cycle, tally).lines();
  for (const Line& line : lines) out += line.text;
  return {lines.back().time_ns};
}

}  // namespace ephor::simulator
