// SPDX-License-Identifier: Apache-2.0
//
// Typed reading of the built-in events (docs/events.md) with simdjson's DOM, for hot paths. Text
// members are views into the reader: valid until its next call. An absent member is an empty view,
// an empty optional or an empty list; the door has checked types and ranges of what is present.
#pragma once

#include <ephor/abi.h>
#include <ephor/otlp.hpp>
#include <ephor/plugin.hpp>

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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

// The value of one attribute of a span, whatever the span's encoding. `other`: an array, a map,
// bytes or null, whose JSON to_text() gives.
struct AttributeValue {
  enum class Kind { text, integer, number, boolean, other };
  Kind kind = Kind::other;
  std::string_view text;
  std::int64_t integer = 0;
  double number = 0.0;
  bool boolean = false;

  // A text as it is, anything else as JSON writes it.
  std::string to_text() const {
    std::string out;
    switch (kind) {
      case Kind::text:
        out = text;
        break;
      case Kind::integer:
        otlp::append_integer(out, integer);
        break;
      case Kind::number:
        otlp::append_number(out, number);
        if (out.front() == '"') out = out.substr(1, out.size() - 2);  // NaN, Infinity
        break;
      case Kind::boolean:
        out = boolean ? "true" : "false";
        break;
      case Kind::other:
        if (json) {
          out = simdjson::minify(*json);
        } else {
          otlp::append_value(out, otlp);
        }
        break;
    }
    return out;
  }

  static AttributeValue of(simdjson::dom::element value) {
    AttributeValue out;
    out.json = value;
    if (value.get(out.text) == simdjson::SUCCESS) {
      out.kind = Kind::text;
    } else if (value.get(out.boolean) == simdjson::SUCCESS) {
      out.kind = Kind::boolean;
    } else if (value.get(out.integer) == simdjson::SUCCESS) {
      out.kind = Kind::integer;
    } else if (value.get(out.number) == simdjson::SUCCESS) {
      out.kind = Kind::number;
    }
    return out;
  }
  static AttributeValue of(const otlp::Value& value) {
    AttributeValue out;
    out.otlp = value;
    switch (value.kind) {
      case otlp::Value::Kind::text:
        out.kind = Kind::text;
        out.text = value.text;
        break;
      case otlp::Value::Kind::boolean:
        out.kind = Kind::boolean;
        out.boolean = value.boolean;
        break;
      case otlp::Value::Kind::integer:
        out.kind = Kind::integer;
        out.integer = value.integer;
        break;
      case otlp::Value::Kind::number:
        out.kind = Kind::number;
        out.number = value.number;
        break;
      default:
        break;
    }
    return out;
  }

  // What it was made of; for to_text().
  std::optional<simdjson::dom::element> json;
  otlp::Value otlp;
};

// Attributes of a span, of one of its events or links: views into the reader or the record.
class AttributeList {
 public:
  AttributeList() = default;
  explicit AttributeList(simdjson::dom::element object) : json_(object) {}
  // The KeyValues in `field` of an OTLP message.
  AttributeList(std::string_view message, std::uint32_t field) : message_(message), field_(field) {}

  // visit(std::string_view name, const AttributeValue&), in the order in which they came.
  template <class Visit>
  void for_each_attribute(Visit&& visit) const {
    simdjson::dom::object object;
    if (json_ && json_->get(object) == simdjson::SUCCESS) {
      for (const auto& [name, value] : object) visit(name, AttributeValue::of(value));
    }
    if (field_ == 0) return;
    otlp::for_each_attribute(message_, field_,
                             [&](std::string_view name, const otlp::Value& value) {
                               visit(name, AttributeValue::of(value));
                             });
  }
  // The first one of that name. O(attributes).
  std::optional<AttributeValue> attribute(std::string_view name) const {
    simdjson::dom::element found;
    if (json_ && (*json_)[name].get(found) == simdjson::SUCCESS) return AttributeValue::of(found);
    if (field_ == 0) return std::nullopt;
    ProtoReader in(message_);
    while (in.next()) {
      if (!in.is(field_, WireType::bytes)) continue;
      const otlp::KeyValue one = otlp::key_value_of(in.bytes());
      if (one.key == name) return AttributeValue::of(otlp::value_of(one.value));
    }
    return std::nullopt;
  }

 private:
  std::optional<simdjson::dom::element> json_;
  std::string_view message_;
  std::uint32_t field_ = 0;
};

struct SpanEvent {
  std::string_view name;
  std::int64_t time_ns = 0;
  AttributeList attributes;
};

struct SpanLink {
  std::string_view trace_id;  // hexadecimal digits
  std::string_view span_id;
  AttributeList attributes;
};

struct Span {                 // ephor.span, of either encoding
  std::string_view trace_id;  // 32 and 16 hexadecimal digits; a client's own ids as it sent them
  std::string_view span_id;
  std::string_view parent_span_id;
  std::string_view service;    // service.name of the resource, of the attributes, else the source
  std::string_view component;  // OTLP: the attribute component, else the service
  std::string_view operation;
  std::string_view kind;
  std::string_view status;  // ok, error, unset
  std::string_view error_message;
  std::string_view correlation_id;  // empty if it has none
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::optional<simdjson::dom::element> attributes;  // of JSON; see for_each_attribute

  std::int64_t duration_ns() const { return end_ns - start_ns; }
  bool is_error() const { return status == "error"; }

  // visit(std::string_view name, const AttributeValue&)
  template <class Visit>
  void for_each_attribute(Visit&& visit) const {
    all_attributes.for_each_attribute(visit);
  }
  std::optional<AttributeValue> attribute(std::string_view name) const {
    return all_attributes.attribute(name);
  }
  // visit(const SpanEvent&), visit(const SpanLink&); their views die with the visit.
  template <class Visit>
  void for_each_event(Visit&& visit) const;
  template <class Visit>
  void for_each_link(Visit&& visit) const;

  AttributeList all_attributes;
  std::optional<simdjson::dom::element> events;  // of JSON; see for_each_event
  std::optional<simdjson::dom::element> links;
  std::string_view otlp_record;  // the protobuf span; empty: it came as JSON
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
  EventReader() = default;
  // Knows the sources of `host`, which Span.service and the resource of OTLP spans need.
  explicit EventReader(const Host& host) : host_(host) {}
  // The same for who has no host: `source_name` gives the text behind ephor_event.source.
  explicit EventReader(std::function<std::string_view(std::uint32_t)> source_name)
      : source_name_(std::move(source_name)) {}

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

  // Either encoding. Of an OTLP span that is damaged, what stands before the damage.
  Span span(const Event& event) {
    return event.encoding == EPHOR_ENCODING_OTLP ? otlp_span(event) : json_span(event);
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
  Span json_span(const Event& event) {
    Span out;
    std::optional<simdjson::dom::element> resource;
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
      else if (key == "events")
        out.events = value;
      else if (key == "links")
        out.links = value;
      else if (key == "resource")
        resource = value;
    }
    if (out.attributes) out.all_attributes = AttributeList(*out.attributes);
    simdjson::dom::element service;
    if (out.attributes && (*out.attributes)["service.name"].get(service) == simdjson::SUCCESS) {
      out.service = text(service);
    }
    if (out.service.empty() && resource &&
        (*resource)["service.name"].get(service) == simdjson::SUCCESS) {
      out.service = text(service);
    }
    if (out.service.empty()) out.service = source(event).service;
    out.correlation_id = json_correlation_id(event);
    return out;
  }

  Span otlp_span(const Event& event) {
    otlp::Span read;
    otlp::read({event.record, event.record_length}, read);
    const otlp::SourceFacts& from = source(event);
    const otlp::OwnIds own = otlp::own_ids(read.record, correlation_digits_);
    Span out;
    out.trace_id = hex(read.trace_id, trace_digits_);
    out.span_id = hex(read.span_id, span_digits_);
    out.parent_span_id = hex(read.parent_span_id, parent_digits_);
    out.service = from.service;
    out.component = own.component.empty() ? out.service : own.component;
    out.operation = read.name.empty() ? otlp::kUnnamed : read.name;
    out.kind = otlp::kind_name(read.kind);
    out.status = otlp::status_name(read.status);
    out.error_message = otlp::error_message_of(read);
    if (event.correlation != 0) {
      out.correlation_id =
          own.correlation_id.empty() ? std::string_view(from.correlation_id) : own.correlation_id;
    }
    out.start_ns = static_cast<std::int64_t>(read.start_ns);
    out.end_ns = static_cast<std::int64_t>(read.end_ns);
    out.all_attributes = AttributeList(read.record, otlp::kSpanAttributes);
    out.otlp_record = read.record;
    return out;
  }

  template <std::size_t Size>
  static std::string_view hex(std::string_view bytes, std::array<char, Size>& digits) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    if (bytes.size() * 2 != Size) return {};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      digits[2 * i] = kDigits[static_cast<unsigned char>(bytes[i]) >> 4];
      digits[2 * i + 1] = kDigits[static_cast<unsigned char>(bytes[i]) & 15];
    }
    return {digits.data(), Size};
  }

  // Read once for each source; forgotten when they are many.
  const otlp::SourceFacts& source(const Event& event) {
    constexpr std::size_t kSourcesKept = 4096;
    if (const auto found = sources_.find(event.source); found != sources_.end()) {
      return found->second;
    }
    if (sources_.size() >= kSourcesKept) sources_.clear();
    std::string_view name;
    if (source_name_) {
      name = source_name_(event.source);
    } else if (host_) {
      name = host_->source_name(event.source);
    }
    return sources_.emplace(event.source, otlp::facts_of(name)).first->second;
  }

  // Where the extension stands plain in front of data; the parser is busy with data.
  std::string_view json_correlation_id(const Event& event);

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
  std::optional<Host> host_;
  std::function<std::string_view(std::uint32_t)> source_name_;
  std::unordered_map<std::uint32_t, otlp::SourceFacts> sources_;
  std::array<char, 32> trace_digits_{};
  std::array<char, 16> span_digits_{};
  std::array<char, 16> parent_digits_{};
  otlp::Digits correlation_digits_;
  std::string correlation_scratch_;
};

template <class Visit>
void Span::for_each_event(Visit&& visit) const {
  simdjson::dom::array array;
  if (events && events->get(array) == simdjson::SUCCESS) {
    for (const simdjson::dom::element one : array) {
      SpanEvent event;
      simdjson::dom::element member;
      if (one["name"].get(member) == simdjson::SUCCESS) event.name = EventReader::text(member);
      if (one["time_unix_nano"].get(member) == simdjson::SUCCESS) {
        event.time_ns = EventReader::nanoseconds(member);
      }
      if (one["attributes"].get(member) == simdjson::SUCCESS) {
        event.attributes = AttributeList(member);
      }
      visit(static_cast<const SpanEvent&>(event));
    }
  }
  otlp::for_each_message(otlp_record, otlp::kSpanEvents, [&](std::string_view message) {
    SpanEvent event;
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(1, WireType::fixed64)) event.time_ns = static_cast<std::int64_t>(in.fixed64());
      if (in.is(2, WireType::bytes)) event.name = in.bytes();
    }
    event.attributes = AttributeList(message, otlp::kEventAttributes);
    visit(static_cast<const SpanEvent&>(event));
  });
}

template <class Visit>
void Span::for_each_link(Visit&& visit) const {
  simdjson::dom::array array;
  if (links && links->get(array) == simdjson::SUCCESS) {
    for (const simdjson::dom::element one : array) {
      SpanLink link;
      simdjson::dom::element member;
      if (one["trace_id"].get(member) == simdjson::SUCCESS) {
        link.trace_id = EventReader::text(member);
      }
      if (one["span_id"].get(member) == simdjson::SUCCESS) {
        link.span_id = EventReader::text(member);
      }
      if (one["attributes"].get(member) == simdjson::SUCCESS) {
        link.attributes = AttributeList(member);
      }
      visit(static_cast<const SpanLink&>(link));
    }
  }
  otlp::for_each_message(otlp_record, otlp::kSpanLinks, [&](std::string_view message) {
    SpanLink link;
    std::string trace_digits;
    std::string span_digits;
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(1, WireType::bytes)) otlp::append_hex(trace_digits, in.bytes());
      if (in.is(2, WireType::bytes)) otlp::append_hex(span_digits, in.bytes());
    }
    link.trace_id = trace_digits;
    link.span_id = span_digits;
    link.attributes = AttributeList(message, otlp::kLinkAttributes);
    visit(static_cast<const SpanLink&>(link));
  });
}

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
// in front of data, otherwise parsed into `scratch`. Empty if there is none. JSON events only: an
// OTLP span's is in Span.correlation_id.
inline std::string_view correlation_id(const Event& event, std::string& scratch) {
  if (event.correlation == 0 || event.encoding != EPHOR_ENCODING_JSON) return {};
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

inline std::string_view EventReader::json_correlation_id(const Event& event) {
  return ephor::correlation_id(event, correlation_scratch_);
}

}  // namespace ephor
