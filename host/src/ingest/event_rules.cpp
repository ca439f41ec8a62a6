// SPDX-License-Identifier: Apache-2.0
#include "ingest/event_rules.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;
using enum FieldKind;

// One type of the table: "name:kind" lists; `required` fields, or one whole alternative ("a+b|c")
// of each group in `one_of`.
struct TypeRow {
  std::string_view type;
  std::string_view required;
  std::string_view one_of;
  std::string_view optional;
};

struct KindName {
  std::string_view name;
  FieldKind kind;
};

constexpr KindName kKindNames[] = {
    {"any", any},
    {"id", id},
    {"text", text},
    {"name", title},
    {"number", number},
    {"integer", integer},
    {"ns", integer_text},
    {"amount", non_negative},
    {"price", positive},
    {"label", label_or_number},
    {"object", object},
    {"array", array},
    {"list", object_or_array},
    {"numbers", number_map},
    {"weights", weight_map},
    {"importance", number_map_or_array},
    {"side", side},
    {"trade_status", trade_status},
    {"order_status", order_status},
    {"span_status", span_status},
    {"metric_kind", metric_kind},
    {"retrain_status", retrain_status},
};

// Dimensions that any built-in type may carry.
constexpr std::string_view kDimensions =
    "account:id strategy:id environment:id currency:id symbol:id exchange:id timeframe:label";

constexpr TypeRow kTypes[] = {
    {"ephor.span",
     "trace_id:id span_id:id component:id operation:name start_time_unix_nano:ns "
     "end_time_unix_nano:ns",
     "",
     "parent_span_id:id status:span_status error_message:text kind:label attributes:object "
     "events:array links:array"},
    {"ephor.metric", "name:id value:number", "",
     "unit:id labels:object kind:metric_kind buckets:list"},
    {"ephor.metric_batch", "tables:array", "", ""},
    {"ephor.features", "features:numbers", "", "prediction_id:id model_id:id"},
    {"ephor.prediction", "prediction_id:id model_id:id prediction:label", "",
     "model_type:id model_version:label ensemble_id:id decision_id:id confidence:number "
     "probability:weights features:list feature_importance:importance regime:id"},
    {"ephor.outcome", "actual:label", "prediction_id:id|decision_id:id",
     "model_id:id realized_return:number horizon_s:amount weight:amount"},
    {"ephor.feature_importance", "model_id:id importance:importance", "", "method:id regime:id"},
    {"ephor.ensemble_decision", "decision_id:id ensemble_id:id",
     "final_decision:label|primary_prediction:label",
     "ensemble_type:id individual_predictions:list ensemble_weights:weights "
     "primary_confidence:number meta_learner_prediction:label meta_learner_confidence:number "
     "consensus_level:number disagreement_score:number regime:id"},
    {"ephor.regime", "regime_type:id", "",
     "decision_id:id regime_confidence:number regime_probabilities:weights regime_duration:amount "
     "regime_transition_probability:number regime_indicators:object"},
    {"ephor.decision_path", "decision_id:id", "",
     "decision_steps:array decision_reasons:array decision_weights:list "
     "decision_thresholds:object decision_sequence:array final_decision:label metadata:object"},
    {"ephor.trade",
     "trade_id:id symbol:id side:side quantity:amount price:price status:trade_status", "",
     "decision_id:id execution_id:id order_id:id order_type:id close_price:price close_reason:text "
     "pnl:number fees:number slippage:number stop_loss:number take_profit:number "
     "risk_metrics:object market_conditions:object execution_metadata:object regime:id "
     "ensemble_decision:object regime_analysis:object decision_path:object model_behaviors:array"},
    {"ephor.model_behavior", "model_id:id", "",
     "model_type:id prediction_consistency:number prediction_bias:number "
     "prediction_variance:number confidence_trend:array feature_importance_stability:number "
     "prediction_drift:number adaptation_speed:number error_patterns:list "
     "model_performance_metrics:object last_retraining:label"},
    {"ephor.market", "symbol:id", "price:price|open:price+high:price+low:price+close:price",
     "volume:amount bid:price ask:price"},
    {"ephor.order", "order_id:id symbol:id side:side quantity:amount status:order_status", "",
     "execution_id:id decision_id:id trade_id:id order_type:id price:amount limit_price:amount "
     "fee:number fee_asset:id liquidity:id executed_quantity:amount "
     "average_execution_price:amount execution_time_ms:amount max_favorable_excursion:number "
     "max_adverse_excursion:number slippage:number"},
    {"ephor.fill", "order_id:id price:price quantity:amount", "",
     "symbol:id side:side status:order_status execution_id:id decision_id:id trade_id:id "
     "order_type:id limit_price:amount fee:number fee_asset:id liquidity:id "
     "executed_quantity:amount average_execution_price:amount execution_time_ms:amount "
     "max_favorable_excursion:number max_adverse_excursion:number slippage:number"},
    {"ephor.log", "severity:label body:any", "",
     "logger:id attributes:object severity_number:integer trace_id:label span_id:label"},
    {"ephor.reference", "", "", "model_id:id trained_at:label model_version:label"},
    {"ephor.benchmark", "name:id", "return:number|price:price", "period:label"},
    {"ephor.deployment", "model_id:id model_version:label", "",
     "commit:id config_hash:id metrics:object note:text"},
    {"ephor.retrain_status", "retrain_id:id status:retrain_status", "",
     "model_id:id model_version:label commit:id config_hash:id metrics:object note:text"},
    {"ephor.correlation_request", "correlation_id:id", "",
     "request_timestamp:id response_timestamp:id component_path:array total_duration_ms:amount "
     "status:id metadata:object"},
    {"ephor.regime_transition", "from_regime:id to_regime:id", "", "transition_id:id"},
    {"ephor.trade_outcome", "trade_id:id", "",
     "decision_id:id execution_id:id entry_price:number exit_price:number pnl_percentage:number "
     "pnl_absolute:number prediction_accuracy:label confidence_calibration:label "
     "what_worked:array what_failed:array"},
    {"ephor.model_performance", "model_id:id", "", "model_type:id model_version:label"},
    {"ephor.drift_alert", "", "", "model_id:id feature:id message:text"},
};

constexpr std::string_view kSides[] = {"buy",        "sell",        "long",      "short",
                                       "enter_long", "enter_short", "exit_long", "exit_short",
                                       "hold",       "cancel_order"};
constexpr std::string_view kTradeStatuses[] = {"pending",   "open",     "closed",
                                               "cancelled", "canceled", "failed"};
constexpr std::string_view kOrderStatuses[] = {"pending",  "open",      "partially_filled",
                                               "filled",   "cancelled", "canceled",
                                               "rejected", "expired",   "failed"};
constexpr std::string_view kSpanStatuses[] = {"ok", "error", "unset"};
constexpr std::string_view kMetricKinds[] = {"gauge", "counter", "histogram", "delta"};
constexpr std::string_view kRetrainStatuses[] = {"requested", "running", "done", "failed"};

std::span<const std::string_view> words_of(FieldKind kind) {
  switch (kind) {
    case side:
      return kSides;
    case trade_status:
      return kTradeStatuses;
    case order_status:
      return kOrderStatuses;
    case span_status:
      return kSpanStatuses;
    case metric_kind:
      return kMetricKinds;
    case retrain_status:
      return kRetrainStatuses;
    default:
      return {};
  }
}

std::string expected_of(FieldKind kind) {
  switch (kind) {
    case any:
      return "a value";
    case id:
      return "text of 1 to 256 bytes without control characters";
    case text:
      return "text of at most 65536 bytes";
    case title:
      return "text of 1 to 65536 bytes";
    case number:
      return "a finite number";
    case integer:
      return "an integer";
    case integer_text:
      return "an integer, or its decimal digits as text";
    case non_negative:
      return "a number >= 0";
    case positive:
      return "a number > 0";
    case label_or_number:
      return "a number, or a label of 1 to 256 bytes without control characters";
    case object:
      return "an object";
    case array:
      return "an array";
    case object_or_array:
      return "an object or an array";
    case number_map:
      return "an object of numbers";
    case weight_map:
      return "an object of numbers >= 0";
    case number_map_or_array:
      return "an object of numbers, or an array";
    default:
      break;
  }
  std::string expected = "one of ";
  for (const std::string_view word : words_of(kind)) {
    if (!expected.ends_with(' ')) expected += ", ";
    expected += word;
  }
  return expected;
}

bool equals_ignoring_case(std::string_view found, std::string_view lower) {
  if (found.size() != lower.size()) return false;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const char c = found[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != lower[i]) return false;
  }
  return true;
}

bool is_id(std::string_view value) {
  return !value.empty() && value.size() <= kIdBytesMax && !has_control_character(value);
}

bool is_number(dom::element_type type) {
  return type == dom::element_type::DOUBLE || type == dom::element_type::INT64 ||
         type == dom::element_type::UINT64;
}

bool is_decimal_integer(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() && !digits.empty();
}

// A value inside an object field that is not what its kind wants.
bool check_map(dom::object map, bool is_weight, Fault& fault, std::string_view field) {
  for (const auto [key, value] : map) {
    const dom::element_type type = value.type();
    bool is_good = is_number(type);
    if (is_good && is_weight) is_good = double(value) >= 0;
    if (!is_good && type == dom::element_type::NULL_VALUE && !is_weight) is_good = true;
    if (is_good) continue;
    fault.json_pointer = "/data";
    append_pointer_token(fault.json_pointer, field);
    append_pointer_token(fault.json_pointer, key);
    fault.reason =
        "found " + shown(value) + ", expected " + (is_weight ? "a number >= 0" : "a finite number");
    return false;
  }
  return true;
}

enum class Verdict { good, bad, explained };  // explained: `fault` is already filled

Verdict check_value(FieldKind kind, std::string_view field, dom::element value,
                    dom::element_type type, Fault& fault) {
  const auto verdict = [](bool is_good) { return is_good ? Verdict::good : Verdict::bad; };
  const auto map_verdict = [&](bool is_weight) {
    return check_map(dom::object(value), is_weight, fault, field) ? Verdict::good
                                                                  : Verdict::explained;
  };
  switch (kind) {
    case any:
      return Verdict::good;
    case id:
      return verdict(type == dom::element_type::STRING && is_id(std::string_view(value)));
    case text:
      return verdict(type == dom::element_type::STRING &&
                     std::string_view(value).size() <= kTextBytesMax);
    case title:
      return verdict(type == dom::element_type::STRING && !std::string_view(value).empty() &&
                     std::string_view(value).size() <= kTextBytesMax);
    case number:
      return verdict(is_number(type));
    case integer:
      return verdict(type == dom::element_type::INT64 || type == dom::element_type::UINT64);
    case integer_text:
      return verdict(
          type == dom::element_type::INT64 ||
          (type == dom::element_type::STRING && is_decimal_integer(std::string_view(value))));
    case non_negative:
      return verdict(is_number(type) && double(value) >= 0);
    case positive:
      return verdict(is_number(type) && double(value) > 0);
    case label_or_number:
      return verdict(is_number(type) ||
                     (type == dom::element_type::STRING && is_id(std::string_view(value))));
    case object:
      return verdict(type == dom::element_type::OBJECT);
    case array:
      return verdict(type == dom::element_type::ARRAY);
    case object_or_array:
      return verdict(type == dom::element_type::OBJECT || type == dom::element_type::ARRAY);
    case number_map:
    case weight_map:
      if (type != dom::element_type::OBJECT) return Verdict::bad;
      return map_verdict(kind == weight_map);
    case number_map_or_array:
      if (type == dom::element_type::ARRAY) return Verdict::good;
      if (type != dom::element_type::OBJECT) return Verdict::bad;
      return map_verdict(false);
    default:
      break;
  }
  if (type != dom::element_type::STRING) return Verdict::bad;
  const std::string_view found(value);
  return verdict(std::ranges::any_of(
      words_of(kind), [&](std::string_view word) { return equals_ignoring_case(found, word); }));
}

std::size_t slot_of(std::string_view name) {
  const auto byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(name[at]));
  };
  return (name.size() * 29 + byte(0) * 7 + byte(name.size() / 2) * 3 + byte(name.size() - 1)) & 127;
}

bool put_fault(Fault& fault, std::string_view field, std::string reason) {
  fault.json_pointer = "/data";
  if (!field.empty()) append_pointer_token(fault.json_pointer, field);
  fault.reason = std::move(reason);
  return false;
}

std::int64_t integer_of(dom::element value) {
  if (std::int64_t number_value = 0; value.get(number_value) == simdjson::SUCCESS) {
    return number_value;
  }
  std::int64_t parsed = 0;
  if (std::string_view digits; value.get(digits) == simdjson::SUCCESS) {
    std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
  }
  return parsed;
}

bool check_span_times(dom::object span, Fault& fault) {
  const std::int64_t start = integer_of(span["start_time_unix_nano"].value_unsafe());
  const std::int64_t end = integer_of(span["end_time_unix_nano"].value_unsafe());
  if (end >= start) return true;
  return put_fault(fault, "end_time_unix_nano",
                   "found " + std::to_string(end) + ", expected at least start_time_unix_nano " +
                       std::to_string(start));
}

template <typename Each>
void for_each_word(std::string_view text, char separator, Each&& each) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) each(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::pair<std::string_view, FieldKind> field_of(std::string_view word) {
  const std::size_t colon = word.find(':');
  const std::string_view kind_name = word.substr(colon + 1);
  for (const KindName& known : kKindNames) {
    if (known.name == kind_name) return {word.substr(0, colon), known.kind};
  }
  return {word.substr(0, colon), any};
}

std::optional<JoinKind> join_of(std::string_view field) {
  if (field == "decision_id") return JoinKind::decision;
  if (field == "execution_id") return JoinKind::execution;
  if (field == "order_id") return JoinKind::order;
  if (field == "trade_id") return JoinKind::trade;
  return std::nullopt;
}

std::optional<JoinKind> join_of_attribute(std::string_view key) {
  if (key == "decision.id") return JoinKind::decision;
  if (key == "execution.id") return JoinKind::execution;
  if (key == "order.id") return JoinKind::order;
  if (key == "trade.id") return JoinKind::trade;
  return join_of(key);
}

constexpr std::string_view kJoinFields[] = {"decision_id", "execution_id", "order_id", "trade_id"};

}  // namespace

// Eight bytes at a time: a byte below 0x20 borrows into its high bit, 0x7F is zero after the XOR.
bool has_control_character(std::string_view text) {
  constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
  constexpr std::uint64_t kHighs = 0x8080808080808080ULL;
  const auto has_one = [](std::uint64_t word) {
    const std::uint64_t deleted = word ^ (kOnes * 0x7F);
    return ((((word - kOnes * 0x20) & ~word) | ((deleted - kOnes) & ~deleted)) & kHighs) != 0;
  };
  const auto load = [&](std::size_t at, std::size_t size) {
    std::uint64_t word = kOnes * ' ';
    std::memcpy(&word, text.data() + at, size);
    return word;
  };
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    if (has_one(load(at, 8))) return true;
  }
  if (at == text.size()) return false;
  return text.size() >= 8 ? has_one(load(text.size() - 8, 8)) : has_one(load(at, text.size() - at));
}

std::vector<std::uint64_t> JoinKeys::take_sorted() {
  std::vector<std::uint64_t> keys = std::move(keys_);
  keys_.clear();
  recent_.fill(0);
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

const TypeRules::Field* TypeRules::find(std::string_view name, std::size_t& index) const {
  if (name.empty()) return nullptr;
  for (std::size_t slot = slot_of(name);; slot = (slot + 1) & 127) {
    if (slots_[slot] == 0) return nullptr;
    index = slots_[slot] - 1U;
    if (fields_[index].name == name) return &fields_[index];
  }
}

std::size_t TypeRules::add(std::string_view name, FieldKind kind) {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].name == name) return i;
  }
  fields_.push_back({std::string(name), kind, join_of(name)});
  return fields_.size() - 1;
}

void TypeRules::compile() {
  slots_.fill(0);
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    std::size_t slot = slot_of(fields_[i].name);
    while (slots_[slot] != 0) slot = (slot + 1) & 127;
    slots_[slot] = static_cast<std::uint8_t>(i + 1);
  }
}

// As of an OTLP span (otlp_span.cpp): decision.id or decision_id and the like, and what the
// configuration names; texts that are ids, and integers.
void TypeRules::add_attribute_joins(dom::element attributes, JoinKeys& joins) const {
  dom::object object;
  if (attributes.get(object) != simdjson::SUCCESS) return;
  for (const auto [key, value] : object) {
    std::optional<JoinKind> kind = join_of_attribute(key);
    if (!kind) {
      std::size_t index = 0;
      const Field* field = find(key, index);
      if (field != nullptr && field->join == JoinKind::attribute) kind = field->join;
    }
    if (!kind) continue;
    std::string_view id;
    std::int64_t number_id = 0;
    if (value.get(id) == simdjson::SUCCESS) {
      if (is_id(id)) joins.add(*kind, hash64(id));
    } else if (value.get(number_id) == simdjson::SUCCESS) {
      joins.add(*kind, hash64(std::to_string(number_id)));
    }
  }
}

bool TypeRules::check(dom::object data, JoinKeys& joins, Fault& fault) const {
  std::uint64_t seen = 0;
  bool has_summary = false;  // ephor.reference: a member that is an object
  for (const auto [key, value] : data) {
    std::size_t index = 0;
    const Field* field = find(key, index);
    if (field == nullptr) {
      has_summary = has_summary || (is_reference_ && value.is_object());
      continue;
    }
    const dom::element_type type = value.type();
    const std::uint64_t bit = std::uint64_t{1} << index;
    const bool is_required = (required_ & bit) != 0;
    if (type == dom::element_type::NULL_VALUE && !is_required) continue;
    const bool is_text = type == dom::element_type::STRING;
    if (is_text && !is_required && std::string_view(value).empty()) continue;
    const Verdict verdict = check_value(field->kind, key, value, type, fault);
    if (verdict == Verdict::explained) return false;
    if (verdict == Verdict::bad) {
      return put_fault(fault, key,
                       "found " + shown(value) + ", expected " + expected_of(field->kind));
    }
    seen |= bit;
    if (is_span_ && key == "attributes") add_attribute_joins(value, joins);
    if (field->join && is_text) joins.add(*field->join, hash64(std::string_view(value)));
  }
  if (const std::uint64_t missing = required_ & ~seen; missing != 0) {
    const Field& field = fields_[static_cast<std::size_t>(__builtin_ctzll(missing))];
    return put_fault(fault, field.name, "found nothing, expected " + expected_of(field.kind));
  }
  for (const OneOf& group : one_of_) {
    const bool is_met = std::ranges::any_of(
        group.alternatives, [seen](std::uint64_t mask) { return (seen & mask) == mask; });
    if (!is_met) return put_fault(fault, "", "found none of them, expected " + group.expected);
  }
  if (is_reference_ && !has_summary && (seen & 1) == 0) {
    return put_fault(fault, "", "found neither, expected model_id or feature summaries (objects)");
  }
  return !is_span_ || check_span_times(data, fault);
}

EventRules::EventRules(const std::vector<std::string>& join_attributes) {
  const auto add_joins = [&](TypeRules& rules) {
    for (const std::string_view field : kJoinFields) rules.add(field, any);
    for (const std::string& name : join_attributes) {
      if (rules.fields_.size() >= 64) break;
      const std::size_t index = rules.add(name, any);
      if (!rules.fields_[index].join) rules.fields_[index].join = JoinKind::attribute;
    }
    rules.compile();
  };
  for (const TypeRow& row : kTypes) {
    TypeRules rules;
    rules.is_open_ = false;
    rules.is_span_ = row.type == "ephor.span";
    rules.is_reference_ = row.type == "ephor.reference";
    const auto add = [&](std::string_view word) {
      const auto [name, kind] = field_of(word);
      return std::uint64_t{1} << rules.add(name, kind);
    };
    // ephor.reference counts on model_id being the first field.
    for_each_word(row.required, ' ', [&](std::string_view word) { rules.required_ |= add(word); });
    if (!row.one_of.empty()) {
      TypeRules::OneOf group;
      for_each_word(row.one_of, '|', [&](std::string_view alternative) {
        std::uint64_t mask = 0;
        if (!group.expected.empty()) group.expected += " or ";
        std::string names;
        for_each_word(alternative, '+', [&](std::string_view word) {
          mask |= add(word);
          if (!names.empty()) names += ", ";
          names += field_of(word).first;
        });
        group.expected += names;
        group.alternatives.push_back(mask);
      });
      rules.one_of_.push_back(std::move(group));
    }
    for_each_word(row.optional, ' ', add);
    for_each_word(kDimensions, ' ', add);
    add_joins(rules);
    types_.emplace(row.type, std::move(rules));
  }
  add_joins(open_);
}

const TypeRules& EventRules::of(std::string_view type) const {
  const auto found = types_.find(type);
  return found == types_.end() ? open_ : found->second;
}

}  // namespace ephor::host
