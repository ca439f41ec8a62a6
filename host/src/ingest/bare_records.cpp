// SPDX-License-Identifier: Apache-2.0
#include "ingest/bare_records.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "event/hash.hpp"
#include "event/times.hpp"
#include "ingest/envelope.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;

constexpr std::string_view kTimeExpected =
    "a time like 2025-03-28T06:00:00Z, or seconds since 1970";

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return out;
}

// "ComponentType.ANALYST" -> "analyst": the client's enumerations print their class first.
std::string component_of(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  return lower(dot == std::string_view::npos ? text : text.substr(dot + 1));
}

std::string content_hash(std::string_view record) {
  const Hash128 hash = hash128(record);
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(hash.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(hash.low >> (56 - 8 * i));
  }
  return hex(bytes);
}

// Epoch times carry no unit; seconds reach 1e11 in the year 5138, milliseconds were there in 1973.
std::optional<std::int64_t> epoch_ns(double value) {
  const double size = std::abs(value);
  if (size < 1e11) {
    if (size > 9.2e9) return std::nullopt;
    // A double holds today's epoch to a quarter of a microsecond.
    return std::llround(value * 1e6) * 1000;
  }
  if (size < 1e14) return std::llround(value * 1e3) * 1000;
  if (size < 1e17) return std::llround(value) * 1000;
  if (size < 9.2e18) return static_cast<std::int64_t>(value);
  return std::nullopt;
}

struct FoundTime {
  std::int64_t ns = 0;  // UTC
  std::string text;     // RFC 3339, or the client's own text, which may be naive
};

std::optional<FoundTime> time_of(dom::element value, std::int64_t assumed_offset_ns) {
  if (std::string_view text; value.get(text) == simdjson::SUCCESS) {
    const auto parsed = parse_time(text);
    if (!parsed) return std::nullopt;
    return FoundTime{parsed->ns - (parsed->is_naive ? assumed_offset_ns : 0), std::string(text)};
  }
  std::optional<std::int64_t> ns;
  if (std::int64_t whole = 0;
      value.get(whole) == simdjson::SUCCESS && whole > 100'000'000'000'000'000) {
    ns = whole;  // already ns: exact where a double is not
  } else if (double number = 0; value.get(number) == simdjson::SUCCESS) {
    ns = epoch_ns(number);
  }
  if (!ns) return std::nullopt;
  return FoundTime{*ns, format_time(*ns)};
}

void append_importance(std::string& out, dom::element entry) {
  std::string_view name;
  dom::element score;
  if (entry["feature_name"].get(name) != simdjson::SUCCESS &&
      entry["feature"].get(name) != simdjson::SUCCESS) {
    return;
  }
  if (entry["importance_score"].get(score) != simdjson::SUCCESS &&
      entry["importance"].get(score) != simdjson::SUCCESS &&
      entry["score"].get(score) != simdjson::SUCCESS) {
    return;
  }
  if (out.size() > 1) out += ',';
  append_json_string(out, name);
  out += ':';
  append_json(out, score);
}

// A list of scored features as {name: score}; what is no such list stays as it is.
std::string importance_of(dom::element value) {
  std::string out = "{";
  if (dom::array list; value.get(list) == simdjson::SUCCESS) {
    for (const dom::element entry : list) append_importance(out, entry);
  } else if (value["feature_name"].error() == simdjson::SUCCESS) {
    append_importance(out, value);
  } else {
    out.clear();
    append_json(out, value);
    return out;
  }
  return out + '}';
}

bool is_root(const std::vector<std::string>& path) {
  return path.empty() || (path.size() == 1 && path[0].empty());
}

}  // namespace

BareConversion::BareConversion(const BareRecord& mapping, std::string_view type, dom::element root,
                               const BareContext& context)
    : mapping_(mapping), type_(type), root_(root), context_(context) {}

BareConversion::Value BareConversion::at_path(dom::element from,
                                              const std::vector<std::string>& path,
                                              std::string_view pointer) const {
  Value value;
  value.pointer = pointer;
  value.element = from;
  if (!is_root(path)) {
    for (const std::string& name : path) {
      dom::element next;
      if (value.element[name].get(next) != simdjson::SUCCESS) return {};
      value.element = next;
      append_pointer_token(value.pointer, name);
    }
  }
  if (value.element.is_null()) return {};
  if (std::string_view text; value.element.get(text) == simdjson::SUCCESS && text.empty())
    return {};
  value.kind = Value::Kind::element;
  return value;
}

bool BareConversion::append_scalar(std::string& out, const Value& value) {
  if (value.kind == Value::Kind::text) {
    out += value.text;
    return true;
  }
  if (value.kind != Value::Kind::element || value.element.is_object() || value.element.is_array()) {
    return false;
  }
  if (std::string_view text; value.element.get(text) == simdjson::SUCCESS) {
    out += text;
  } else {
    append_json(out, value.element);
  }
  return true;
}

void BareConversion::append_value(std::string& out, const Value& value) {
  switch (value.kind) {
    case Value::Kind::element:
      return append_json(out, value.element);
    case Value::Kind::text:
      return append_json_string(out, value.text);
    case Value::Kind::json:
      out += value.text;
      return;
    case Value::Kind::none:
      out += "null";
      return;
  }
}

BareConversion::Value BareConversion::transformed(BareTransform transform, Value value,
                                                  Fault& fault) const {
  const auto as_text = [&](std::string text) {
    value.kind = Value::Kind::text;
    value.text = std::move(text);
  };
  std::string scalar;
  const bool is_scalar = append_scalar(scalar, value);
  switch (transform) {
    case BareTransform::none:
      break;
    case BareTransform::text:
      if (is_scalar) as_text(std::move(scalar));
      break;
    case BareTransform::scalar:
      if (!is_scalar) value = {};
      break;
    case BareTransform::component:
      if (is_scalar) as_text(component_of(scalar));
      break;
    case BareTransform::components: {
      dom::array items;
      if (value.kind != Value::Kind::element || value.element.get(items) != simdjson::SUCCESS)
        break;
      std::string out = "[";
      for (const dom::element item : items) {
        if (out.size() > 1) out += ',';
        std::string_view text;
        if (item.get(text) == simdjson::SUCCESS) {
          append_json_string(out, component_of(text));
        } else {
          append_json(out, item);
        }
      }
      value.kind = Value::Kind::json;
      value.text = out + ']';
      break;
    }
    case BareTransform::trace_id:
      if (is_scalar) as_text(hex(trace_id_of(scalar)));
      break;
    case BareTransform::span_id:
      if (is_scalar) as_text(span_id_of(scalar));
      break;
    case BareTransform::nanoseconds:
    case BareTransform::time: {
      if (value.kind != Value::Kind::element) break;
      const auto time = time_of(value.element, context_.assumed_offset_ns);
      if (!time) {
        fault = {value.pointer,
                 "found " + shown(value.element) + ", expected " + std::string(kTimeExpected)};
        return {};
      }
      if (transform == BareTransform::time) {
        as_text(format_time(time->ns));
      } else {
        value.kind = Value::Kind::json;
        value.text = std::to_string(time->ns);
      }
      break;
    }
    case BareTransform::importance:
      if (value.kind != Value::Kind::element) break;
      value.text = importance_of(value.element);
      value.kind = Value::Kind::json;
      break;
  }
  return value;
}

BareConversion::Value BareConversion::find(const BareSource& source, const Scope& scope,
                                           Fault& fault) const {
  if (source.condition) {
    const Value condition = find(*source.condition, scope, fault);
    if (condition.kind == Value::Kind::none) return {};
    if (!source.condition_values.empty()) {
      std::string found;
      if (!append_scalar(found, condition)) return {};
      if (std::ranges::find(source.condition_values, lower(found)) ==
          source.condition_values.end()) {
        return {};
      }
    }
  }
  Value value;
  switch (source.kind) {
    case BareSource::Kind::path:
      value = at_path(root_, source.path, "");
      break;
    case BareSource::Kind::item_path:
      value = at_path(scope.item != nullptr ? *scope.item : root_, source.path, scope.item_pointer);
      break;
    case BareSource::Kind::item_key:
      if (!scope.item_key.empty()) {
        value.kind = Value::Kind::text;
        value.text = scope.item_key;
        value.pointer = scope.item_pointer;
      }
      break;
    case BareSource::Kind::variable:
      if (source.text == "content") {
        value.kind = Value::Kind::text;
        value.text = content_hash(context_.record);
        break;
      }
      for (const auto& [name, known] : variables_) {
        if (name == source.text) value = known;
      }
      break;
    case BareSource::Kind::pattern:
      value.kind = Value::Kind::text;
      for (const auto& [before, piece] : source.pieces) {
        value.text += before;
        if (!piece) continue;
        const Value part = find(*piece, scope, fault);
        if (part.kind == Value::Kind::none || !append_scalar(value.text, part)) return {};
        if (value.pointer.empty()) value.pointer = part.pointer;
      }
      break;
    case BareSource::Kind::constant:
      value.kind = Value::Kind::text;
      value.text = source.text;
      break;
  }
  if (value.kind == Value::Kind::none || source.transform == BareTransform::none) return value;
  return transformed(source.transform, std::move(value), fault);
}

BareConversion::Value BareConversion::find(const BareSources& sources, const Scope& scope,
                                           Fault& fault) const {
  for (const BareSource& source : sources) {
    Value value = find(source, scope, fault);
    if (!fault.reason.empty() || value.kind != Value::Kind::none) return value;
  }
  return {};
}

bool BareConversion::write_data(const BareEvent& rule, const Scope& scope, std::string& out,
                                Fault& fault) const {
  std::vector<std::string_view> written;
  char separator = '{';
  const auto put_name = [&](std::string_view name) {
    out += separator;
    separator = ',';
    append_json_string(out, name);
    out += ':';
    written.push_back(name);
  };
  for (const BareField& field : rule.fields) {
    const Value value = find(field.sources, scope, fault);
    if (!fault.reason.empty()) return false;
    if (value.kind == Value::Kind::none) continue;
    put_name(field.name);
    append_value(out, value);
  }
  const auto is_taken = [&](std::string_view name) {
    return std::ranges::find(written, name) != written.end() ||
           std::ranges::find(rule.omit, name) != rule.omit.end() ||
           std::ranges::any_of(rule.fields,
                               [&](const BareField& field) { return field.name == name; });
  };
  for (const BareSource& source : rule.copy) {
    const Value from = find(source, scope, fault);
    dom::object members;
    if (from.kind != Value::Kind::element || from.element.get(members) != simdjson::SUCCESS)
      continue;
    for (const auto [name, member] : members) {
      if (is_taken(name)) continue;
      put_name(name);
      append_json(out, member);
    }
  }
  out += separator == '{' ? "{}" : "}";
  return true;
}

bool BareConversion::add_draft(const BareEvent& rule, const Scope& scope,
                               std::vector<BareDraft>& drafts, Fault& fault) {
  if (!rule.when.empty() && find(rule.when, scope, fault).kind == Value::Kind::none) {
    return fault.reason.empty();
  }
  BareDraft draft;
  draft.rule = &rule;
  if (scope.item != nullptr) draft.item = *scope.item;
  draft.item_key = scope.item_key;
  draft.item_pointer = scope.item_pointer;

  std::string topic;
  append_scalar(topic, find(rule.topic, scope, fault));
  std::string id;
  if (!append_scalar(id, find(rule.id, scope, fault))) {
    id = std::string(type_) + ":" + content_hash(context_.record);
    if (&rule != &mapping_.primary) {
      id += "/" + topic + std::string(scope.item_pointer);
    }
  }
  std::string& out = draft.text;
  out = R"({"specversion":"1.0","id":)";
  append_json_string(out, id);
  out += R"(,"source":)";
  std::string_view source;
  if (root_["source"].get(source) != simdjson::SUCCESS || source.empty()) {
    source = context_.default_source.empty() ? "unknown" : context_.default_source;
  }
  append_json_string(out, source);
  out += R"(,"type":)";
  append_json_string(out, topic);
  if (const Value value = find(rule.time, scope, fault); value.kind == Value::Kind::element) {
    const auto time = time_of(value.element, context_.assumed_offset_ns);
    if (!time) {
      fault = {value.pointer,
               "found " + shown(value.element) + ", expected " + std::string(kTimeExpected)};
      return false;
    }
    out += R"(,"time":)";
    append_json_string(out, time->text);
  }
  std::string correlation;
  if (append_scalar(correlation, find(rule.correlation, scope, fault))) {
    out += R"(,"correlationid":)";
    append_json_string(out, correlation);
  }
  out += R"(,"data":)";
  if (!write_data(rule, scope, out, fault)) return false;
  out += '}';
  drafts.push_back(std::move(draft));
  return true;
}

bool BareConversion::convert(std::vector<BareDraft>& drafts, Fault& fault) {
  fault = {};
  variables_.clear();
  for (const BareField& variable : mapping_.variables) {
    Value value = find(variable.sources, {}, fault);
    if (!fault.reason.empty()) return false;
    variables_.emplace_back(variable.name, std::move(value));
  }
  if (!add_draft(mapping_.primary, {}, drafts, fault)) return false;
  for (const BareEvent& part : mapping_.parts) {
    if (!part.at.empty()) {
      const Value found = at_path(root_, part.at, "");
      if (found.kind != Value::Kind::element) continue;
      if (!found.element.is_object()) {
        fault = {found.pointer, "found " + shown(found.element) + ", expected an object"};
        return false;
      }
      if (!add_draft(part, {&found.element, {}, found.pointer}, drafts, fault)) return false;
      continue;
    }
    const Value found = at_path(root_, part.each, "");
    if (found.kind != Value::Kind::element) continue;
    const auto add_item = [&](std::string_view key, dom::element item) {
      std::string pointer = found.pointer;
      append_pointer_token(pointer, key);
      return add_draft(part, {&item, key, pointer}, drafts, fault);
    };
    if (dom::array items; found.element.get(items) == simdjson::SUCCESS) {
      std::size_t index = 0;
      for (const dom::element item : items) {
        if (!add_item(std::to_string(index++), item)) return false;
      }
    } else if (dom::object members; found.element.get(members) == simdjson::SUCCESS) {
      for (const auto [key, member] : members) {
        if (!add_item(key, member)) return false;
      }
    } else {
      fault = {found.pointer, "found " + shown(found.element) + ", expected an array or an object"};
      return false;
    }
  }
  return true;
}

Fault BareConversion::trace_back(const BareDraft& draft, Fault fault) const {
  const BareEvent& rule = *draft.rule;
  Scope scope{draft.item ? &*draft.item : nullptr, draft.item_key, draft.item_pointer};
  Fault ignored;
  std::string_view pointer = fault.json_pointer;
  const auto envelope_source = [&]() -> const BareSources* {
    if (pointer == "/id") return &rule.id;
    if (pointer == "/time") return &rule.time;
    if (pointer == "/correlationid") return &rule.correlation;
    return nullptr;
  };
  if (const BareSources* sources = envelope_source()) {
    fault.json_pointer = find(*sources, scope, ignored).pointer;
    return fault;
  }
  constexpr std::string_view kData = "/data/";
  if (!pointer.starts_with(kData)) {
    if (pointer == "/data") fault.json_pointer = draft.item_pointer;
    return fault;
  }
  pointer.remove_prefix(kData.size());
  const std::size_t slash = std::min(pointer.find('/'), pointer.size());
  const std::string name(pointer.substr(0, slash));
  const std::string rest(pointer.substr(slash));
  for (const BareField& field : rule.fields) {
    if (field.name != name) continue;
    const Value value = find(field.sources, scope, ignored);
    if (value.kind == Value::Kind::none || value.pointer.empty()) break;
    // A transformed value has no inner structure of the client's.
    fault.json_pointer = value.kind == Value::Kind::element ? value.pointer + rest : value.pointer;
    return fault;
  }
  for (const BareSource& source : rule.copy) {
    const Value from = find(source, scope, ignored);
    dom::element member;
    if (from.kind != Value::Kind::element || from.element[name].get(member) != simdjson::SUCCESS) {
      continue;
    }
    fault.json_pointer = from.pointer + "/" + name + rest;
    return fault;
  }
  fault.json_pointer = draft.item_pointer + "/" + name;
  return fault;
}

}  // namespace ephor::host
