// SPDX-License-Identifier: Apache-2.0
//
// Typed reading of the built-in events (docs/events.md) with simdjson's DOM, for hot paths. Text
// members are views into the reader: valid until its next call. An absent member is an empty view,
// an empty optional or an empty list; the door has checked types and ranges of what is present.
#pragma once

#include <ephor/abi.h>
#include <ephor/plugin.hpp>

#include <simdjson.h>

#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor {

// A label ("buy") or a number (0.7): what a model predicts, or what came true.
struct LabelOrNumber {
  std::string_view label;
  std::optional<double> number;
  bool has_value() const { return !label.empty() || number.has_value(); }
};

struct NamedNumber {
  std::string_view name;
  double value = 0.0;
};

struct Span {  // ephor.span
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view parent_span_id;
  std::string_view component;
  std::string_view operation;
  std::string_view kind;
  std::string_view status;  // ok, error, unset
  std::string_view error_message;
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::optional<simdjson::dom::element> attributes;

  std::int64_t duration_ns() const { return end_ns - start_ns; }
  bool is_error() const { return status == "error"; }
};

struct Prediction {  // ephor.prediction
  std::string_view prediction_id;
  std::string_view decision_id;
  std::string_view model_id;
  std::string_view model_type;
  std::string_view model_version;
  std::string_view ensemble_id;
  std::string_view symbol;
  std::string_view timeframe;
  std::string_view regime;
  LabelOrNumber prediction;
  std::optional<double> confidence;
  std::vector<NamedNumber> probability;
};

struct Outcome {  // ephor.outcome
  std::string_view prediction_id;
  std::string_view decision_id;
  std::string_view model_id;
  LabelOrNumber actual;
  std::optional<double> realized_return;
  std::optional<double> horizon_s;
};

struct MemberPrediction {
  std::string_view model_id;
  LabelOrNumber prediction;
  std::optional<double> confidence;
};

struct EnsembleDecision {  // ephor.ensemble_decision
  std::string_view decision_id;
  std::string_view ensemble_id;
  std::string_view symbol;
  std::string_view regime;
  LabelOrNumber final_decision;  // final_decision, else primary_prediction
  LabelOrNumber primary_prediction;
  LabelOrNumber meta_learner_prediction;
  std::optional<double> primary_confidence;
  std::optional<double> meta_learner_confidence;
  std::optional<double> consensus_level;
  std::optional<double> disagreement_score;
  std::vector<MemberPrediction> members;
  std::vector<NamedNumber> weights;
};

struct Trade {  // ephor.trade
  std::string_view trade_id;
  std::string_view decision_id;
  std::string_view execution_id;
  std::string_view order_id;
  std::string_view symbol;
  std::string_view side;
  std::string_view status;
  std::string_view close_reason;
  std::string_view regime;
  std::string_view open_time;   // RFC 3339, as sent
  std::string_view close_time;  // close_time or close_timestamp: RFC 3339, as sent
  std::optional<double> quantity;
  std::optional<double> price;
  std::optional<double> close_price;
  std::optional<double> pnl;
  std::optional<double> fees;
  std::optional<double> slippage;
  std::optional<double> stop_loss;
  std::optional<double> take_profit;
};

// One per thread that reads; keeps its buffers. Cost: about 0.3 us for an event of 250 bytes.
class EventReader {
 public:
  // The data member's value. Throws ephor::Error (EPHOR_NOT_FOUND, EPHOR_INVALID) if there is none
  // or the record is no JSON.
  simdjson::dom::element data(const Event& event) {
    const std::string_view whole(event.record, event.record_length);
    if (event.data_offset >= whole.size()) {
      throw Error(EPHOR_NOT_FOUND, "event " + std::to_string(event.sequence) + " has no data");
    }
    // data is nearly always the last member: then the rest of the record less its closing brace is
    // the value. Where it is not, trailing text makes the parser refuse, and the record is parsed.
    const std::size_t last = whole.find_last_of('}');
    if (last != std::string_view::npos && last > event.data_offset) {
      simdjson::dom::element value;
      const auto error =
          parser_.parse(whole.data() + event.data_offset, last - event.data_offset, false)
              .get(value);
      if (error == simdjson::SUCCESS) return value;
      if (error == simdjson::MEMALLOC) out_of_memory();
    }
    simdjson::dom::element value;
    if (const auto error = record(event)["data"].get(value)) {
      throw Error(EPHOR_INVALID, "event " + std::to_string(event.sequence) + ": " +
                                     simdjson::error_message(error));
    }
    return value;
  }

  // The whole CloudEvents object.
  simdjson::dom::element record(const Event& event) {
    simdjson::dom::element value;
    if (const auto error = parser_.parse(event.record, event.record_length, false).get(value)) {
      if (error == simdjson::MEMALLOC) out_of_memory();
      throw Error(EPHOR_INVALID, "event " + std::to_string(event.sequence) + ": " +
                                     simdjson::error_message(error));
    }
    return value;
  }

  // The data member as an object, which every built-in type has.
  simdjson::dom::object object(const Event& event) {
    simdjson::dom::object value;
    if (const auto error = data(event).get(value)) {
      throw Error(EPHOR_INVALID, "event " + std::to_string(event.sequence) +
                                     ": data: " + simdjson::error_message(error));
    }
    return value;
  }

  Span span(const Event& event) {
    Span out;
    for (const auto& [key, value] : members(event)) {
      if (key == "trace_id")
        out.trace_id = text(value);
      else if (key == "span_id")
        out.span_id = text(value);
      else if (key == "parent_span_id")
        out.parent_span_id = text(value);
      else if (key == "component")
        out.component = text(value);
      else if (key == "operation")
        out.operation = text(value);
      else if (key == "start_time_unix_nano")
        out.start_ns = nanoseconds(value);
      else if (key == "end_time_unix_nano")
        out.end_ns = nanoseconds(value);
      else if (key == "status")
        out.status = text(value);
      else if (key == "error_message")
        out.error_message = text(value);
      else if (key == "kind")
        out.kind = text(value);
      else if (key == "attributes")
        out.attributes = value;
    }
    return out;
  }

  Prediction prediction(const Event& event) {
    Prediction out;
    for (const auto& [key, value] : members(event)) {
      if (key == "prediction_id")
        out.prediction_id = text(value);
      else if (key == "decision_id")
        out.decision_id = text(value);
      else if (key == "model_id")
        out.model_id = text(value);
      else if (key == "model_type")
        out.model_type = text(value);
      else if (key == "model_version")
        out.model_version = text(value);
      else if (key == "ensemble_id")
        out.ensemble_id = text(value);
      else if (key == "symbol")
        out.symbol = text(value);
      else if (key == "timeframe")
        out.timeframe = text(value);
      else if (key == "regime")
        out.regime = text(value);
      else if (key == "prediction")
        out.prediction = label_or_number(value);
      else if (key == "confidence")
        out.confidence = number(value);
      else if (key == "probability")
        out.probability = named_numbers(value);
    }
    return out;
  }

  Outcome outcome(const Event& event) {
    Outcome out;
    for (const auto& [key, value] : members(event)) {
      if (key == "prediction_id")
        out.prediction_id = text(value);
      else if (key == "decision_id")
        out.decision_id = text(value);
      else if (key == "model_id")
        out.model_id = text(value);
      else if (key == "actual")
        out.actual = label_or_number(value);
      else if (key == "realized_return")
        out.realized_return = number(value);
      else if (key == "horizon_s")
        out.horizon_s = number(value);
    }
    return out;
  }

  EnsembleDecision decision(const Event& event) {
    EnsembleDecision out;
    for (const auto& [key, value] : members(event)) {
      if (key == "decision_id")
        out.decision_id = text(value);
      else if (key == "ensemble_id")
        out.ensemble_id = text(value);
      else if (key == "symbol")
        out.symbol = text(value);
      else if (key == "regime")
        out.regime = text(value);
      else if (key == "final_decision")
        out.final_decision = label_or_number(value);
      else if (key == "primary_prediction")
        out.primary_prediction = label_or_number(value);
      else if (key == "primary_confidence")
        out.primary_confidence = number(value);
      else if (key == "meta_learner_prediction")
        out.meta_learner_prediction = label_or_number(value);
      else if (key == "meta_learner_confidence")
        out.meta_learner_confidence = number(value);
      else if (key == "consensus_level")
        out.consensus_level = number(value);
      else if (key == "disagreement_score")
        out.disagreement_score = number(value);
      else if (key == "individual_predictions")
        out.members = member_predictions(value);
      else if (key == "ensemble_weights")
        out.weights = named_numbers(value);
    }
    if (!out.final_decision.has_value()) out.final_decision = out.primary_prediction;
    return out;
  }

  Trade trade(const Event& event) {
    Trade out;
    for (const auto& [key, value] : members(event)) {
      if (key == "trade_id")
        out.trade_id = text(value);
      else if (key == "decision_id")
        out.decision_id = text(value);
      else if (key == "execution_id")
        out.execution_id = text(value);
      else if (key == "order_id")
        out.order_id = text(value);
      else if (key == "symbol")
        out.symbol = text(value);
      else if (key == "side")
        out.side = text(value);
      else if (key == "status")
        out.status = text(value);
      else if (key == "close_reason")
        out.close_reason = text(value);
      else if (key == "regime")
        out.regime = text(value);
      else if (key == "open_time")
        out.open_time = text(value);
      else if (key == "close_time" || key == "close_timestamp")
        out.close_time = text(value);
      else if (key == "quantity" || key == "size")
        out.quantity = number(value);
      else if (key == "price")
        out.price = number(value);
      else if (key == "close_price")
        out.close_price = number(value);
      else if (key == "pnl")
        out.pnl = number(value);
      else if (key == "fees")
        out.fees = number(value);
      else if (key == "slippage")
        out.slippage = number(value);
      else if (key == "stop_loss")
        out.stop_loss = number(value);
      else if (key == "take_profit")
        out.take_profit = number(value);
    }
    return out;
  }

  static std::string_view text(simdjson::dom::element value) {
    std::string_view out;
    return value.get(out) == simdjson::SUCCESS ? out : std::string_view();
  }
  static std::optional<double> number(simdjson::dom::element value) {
    double out = 0.0;
    if (value.get(out) == simdjson::SUCCESS) return out;
    return std::nullopt;
  }
  // A JSON integer, or a decimal string as OTLP/JSON writes 64-bit integers; 0 otherwise.
  static std::int64_t nanoseconds(simdjson::dom::element value) {
    std::int64_t out = 0;
    if (value.get(out) == simdjson::SUCCESS) return out;
    for (const char digit : text(value)) {
      if (digit < '0' || digit > '9') return 0;
      out = out * 10 + (digit - '0');
    }
    return out;
  }
  static LabelOrNumber label_or_number(simdjson::dom::element value) {
    return {text(value), number(value)};
  }
  static std::vector<NamedNumber> named_numbers(simdjson::dom::element value) {
    std::vector<NamedNumber> out;
    simdjson::dom::object object;
    if (value.get(object) != simdjson::SUCCESS) return out;
    for (const auto& [key, member] : object) {
      if (const auto found = number(member)) out.push_back({key, *found});
    }
    return out;
  }

 private:
  // Named, because a range-for over a temporary's range dangles in C++20.
  simdjson::dom::object members(const Event& event) { return object(event); }

  // {model: {prediction, confidence}}, {model: number or label} or [{model_id, prediction, ..}].
  static std::vector<MemberPrediction> member_predictions(simdjson::dom::element value) {
    std::vector<MemberPrediction> out;
    if (value.is_object()) {
      const simdjson::dom::object object = value.get_object().value_unsafe();
      for (const auto& [key, member] : object) out.push_back(member_prediction(key, member));
    } else if (value.is_array()) {
      const simdjson::dom::array array = value.get_array().value_unsafe();
      for (const simdjson::dom::element member : array) {
        out.push_back(member_prediction({}, member));
      }
    }
    return out;
  }
  static MemberPrediction member_prediction(std::string_view model_id,
                                            simdjson::dom::element value) {
    MemberPrediction out{model_id, {}, std::nullopt};
    if (!value.is_object()) {
      out.prediction = label_or_number(value);
      return out;
    }
    const simdjson::dom::object object = value.get_object().value_unsafe();
    for (const auto& [key, member] : object) {
      if (key == "model_id")
        out.model_id = text(member);
      else if (key == "prediction")
        out.prediction = label_or_number(member);
      else if (key == "confidence")
        out.confidence = number(member);
    }
    return out;
  }

  // A parser that did not get its memory must not parse again.
  [[noreturn]] void out_of_memory() {
    parser_ = simdjson::dom::parser();
    throw std::bad_alloc();
  }

  simdjson::dom::parser parser_;
};

namespace detail {

// The plain text value of the member `name` that begins at `at` (behind its opening quote), if the
// text before and behind looks like a member of the envelope. Empty otherwise.
inline std::string_view plain_member(std::string_view envelope, std::size_t at,
                                     std::size_t name_size) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  if (at == 0 || envelope[at - 1] != '"') return {};
  std::size_t before = at - 1;
  while (before > 0 && is_blank(envelope[before - 1])) --before;
  if (before == 0 || (envelope[before - 1] != ',' && envelope[before - 1] != '{')) return {};
  std::size_t next = at + name_size;
  for (const char wanted : {'"', ':', '"'}) {
    while (next < envelope.size() && is_blank(envelope[next])) ++next;
    if (next == envelope.size() || envelope[next++] != wanted) return {};
  }
  const std::string_view rest = envelope.substr(next);
  const std::size_t end = rest.find('"');
  if (end == std::string_view::npos || rest.substr(0, end).find('\\') != std::string_view::npos)
    return {};
  return rest.substr(0, end);
}

}  // namespace detail

// The text of the CloudEvents extension correlationid: a view into the record where it stands plain
// in front of data, otherwise parsed into `scratch`. Empty if there is none.
inline std::string_view correlation_id(const Event& event, std::string& scratch) {
  if (event.correlation == 0) return {};
  constexpr std::string_view kName = "correlationid";
  const std::string_view envelope(event.record, event.data_offset);
  if (const std::size_t at = envelope.find(kName); at != std::string_view::npos) {
    if (const auto found = detail::plain_member(envelope, at, kName.size()); !found.empty())
      return found;
  }
  EventReader reader;
  std::string_view found;
  if (reader.record(event)["correlationid"].get(found) == simdjson::SUCCESS)
    scratch = found;
  else
    scratch.clear();
  return scratch;
}

}  // namespace ephor
