// SPDX-License-Identifier: Apache-2.0
#include "check/config_maker.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/schema.hpp"

namespace ephor::host::check {
namespace {

using Json = nlohmann::json;

// Short, so that a name, a unit or a number is among them; no path and no address, which create
// could follow.
constexpr std::array kTexts{"a",    "alpha",   "two words", "0",   "-1",   "ümläut",
                            "日本", "A_B-c.d", "{}",        "\"",  "\t",   "%s%n",
                            "x:y",  "*",       ">",         "1e9", "true", "null"};
// Control characters, quotes, what has to be escaped, characters of two code units of UTF-16.
constexpr const char* kUnusual = "\"\\/\x01\x1f\t\n\u00e9\u2028\U0001F600";
constexpr int kDepthMax = 6;
constexpr std::uint64_t kLengthMax = 40;  // of random texts and arrays, where the schema lets more

double limit_of(const Json& schema, const char* keyword, double otherwise) {
  const auto found = schema.find(keyword);
  return found != schema.end() && found->is_number() ? found->get<double>() : otherwise;
}

std::uint64_t size_of(const Json& schema, const char* keyword, std::uint64_t otherwise) {
  const auto found = schema.find(keyword);
  return found != schema.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                              : otherwise;
}

std::size_t length_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

struct Range {
  double least;
  double most;
};

Range range_of(const Json& schema, bool is_integer) {
  constexpr double kFar = 1e6;
  double least = limit_of(schema, "minimum", -INFINITY);
  double most = limit_of(schema, "maximum", INFINITY);
  const double above = limit_of(schema, "exclusiveMinimum", -INFINITY);
  const double under = limit_of(schema, "exclusiveMaximum", INFINITY);
  if (above >= least) least = is_integer ? std::floor(above) + 1 : std::nextafter(above, INFINITY);
  if (under <= most) most = is_integer ? std::ceil(under) - 1 : std::nextafter(under, -INFINITY);
  if (std::isinf(least)) least = std::isinf(most) ? -kFar : std::min(-kFar, most - kFar);
  if (std::isinf(most)) most = std::max(kFar, least + kFar);
  if (is_integer) {
    least = std::ceil(least);
    most = std::floor(most);
  }
  return {least, most};
}

Json number_json(double value, bool is_integer) {
  if (is_integer && std::abs(value) < 9e15) return static_cast<std::int64_t>(value);
  return value;
}

std::string shortened(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

}  // namespace

std::string main_type(const Json& schema) {
  const auto found = schema.find("type");
  if (found == schema.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  for (const Json& one : *found) {
    if (one != "null") return one.get<std::string>();
  }
  return "null";
}

bool ConfigMaker::takes(const Json& schema, const Json& value) const {
  Json copy = value;
  std::vector<SchemaError> errors;
  apply_schema(schema, copy, "", errors);
  return errors.empty();
}

Json ConfigMaker::number_of(const Json& schema, bool is_integer) {
  const Range range = range_of(schema, is_integer);
  switch (below(6)) {
    case 0:
      return number_json(range.least, is_integer);
    case 1:
      return number_json(range.most, is_integer);
    case 2:  // small values, where wide ranges hide what differs
      return number_json(
          std::clamp(is_integer ? static_cast<double>(below(10)) : 0.5, range.least, range.most),
          is_integer);
    default:
      break;
  }
  const double part = static_cast<double>(random_() >> 11) * 0x1p-53;
  double value = range.least + part * (range.most - range.least);
  if (is_integer) value = std::floor(value);
  return number_json(std::clamp(value, range.least, range.most), is_integer);
}

Json ConfigMaker::text_of(const Json& schema) {
  const std::uint64_t least = size_of(schema, "minLength", 0);
  const std::uint64_t most = size_of(schema, "maxLength", std::max(least, kLengthMax));
  // A pattern is met by an example or by luck.
  for (int attempt = 0; attempt < 60; ++attempt) {
    std::string text;
    if (const auto examples = schema.find("examples");
        examples != schema.end() && !examples->empty() && below(2) == 0) {
      const Json& one = (*examples)[below(examples->size())];
      if (one.is_string()) text = one.get<std::string>();
    } else {
      text = kTexts[below(kTexts.size())];
    }
    while (length_of(text) < least) text += static_cast<char>('a' + below(26));
    if (length_of(text) > most) continue;
    if (takes(schema, text)) return text;
  }
  if (schema.contains("default") && schema["default"].is_string()) return schema["default"];
  return nullptr;  // none was found; the key is left as it is
}

Json ConfigMaker::array_of(const Json& schema, int depth) {
  const std::uint64_t least = size_of(schema, "minItems", 0);
  const std::uint64_t most = std::min<std::uint64_t>(size_of(schema, "maxItems", 4), least + 4);
  const std::uint64_t size = least + below(most - least + 1);
  Json out = Json::array();
  static const Json kAny = Json::object();
  const auto items = schema.find("items");
  for (std::uint64_t i = 0; i < size; ++i) {
    const Json one = value_of(items != schema.end() ? *items : kAny, depth + 1);
    if (one.is_null() && items != schema.end() && !takes(*items, one)) break;
    out.push_back(one);
  }
  return out;
}

Json ConfigMaker::object_of(const Json& schema, int depth) {
  Json out = Json::object();
  const Json required = schema.value("required", Json::array());
  if (const auto properties = schema.find("properties"); properties != schema.end()) {
    for (const auto& [name, property] : properties->items()) {
      const bool is_required = std::find(required.begin(), required.end(), name) != required.end();
      if (!is_required && (depth > kDepthMax || below(2) == 0)) continue;
      Json value = value_of(property, depth + 1);
      if (takes(property, value)) out[name] = std::move(value);
    }
  }
  const auto additional = schema.find("additionalProperties");
  if (additional != schema.end() && additional->is_object() && depth <= kDepthMax) {
    for (std::uint64_t i = below(3); i > 0; --i) {
      Json value = value_of(*additional, depth + 1);
      if (takes(*additional, value)) out["key_" + std::to_string(i)] = std::move(value);
    }
  }
  return out;
}

Json ConfigMaker::value_of(const Json& schema, int depth) {
  if (!schema.is_object()) return nullptr;
  if (const auto found = schema.find("const"); found != schema.end()) return *found;
  if (const auto found = schema.find("enum"); found != schema.end()) {
    return (*found)[below(found->size())];
  }
  if (schema.contains("default") && below(5) == 0) return schema["default"];
  const std::string type = main_type(schema);
  if (type == "object") return object_of(schema, depth);
  if (type == "array") return array_of(schema, depth);
  if (type == "string") return text_of(schema);
  if (type == "integer") return number_of(schema, true);
  if (type == "number") return number_of(schema, false);
  if (type == "boolean") return below(2) == 0;
  return nullptr;
}

Json ConfigMaker::random_valid() {
  const auto properties = schema_.find("properties");
  Json out = base_;
  if (properties == schema_.end() || properties->empty()) return out;
  // Mostly few changes: what two keys do together is then seen beside what each does alone.
  const std::uint64_t one_in = 1 + below(6);
  for (const auto& [name, property] : properties->items()) {
    if (below(one_in) != 0) continue;
    Json value = value_of(property);
    if (takes(property, value)) out[name] = std::move(value);
  }
  std::vector<SchemaError> errors;
  apply_schema(schema_, out, "", errors);
  return errors.empty() ? out : base_;
}

void ConfigMaker::add_valid(std::vector<Case>& cases, const std::string& key, const Json& value,
                            const char* which) {
  Json config = base_;
  config[key] = value;
  std::vector<SchemaError> errors;
  apply_schema(schema_, config, "", errors);
  if (!errors.empty()) return;  // a pattern, an enum
  cases.push_back({"/" + key + " = " + shortened(value) + " (" + which + ")", std::move(config)});
}

std::vector<ConfigMaker::Case> ConfigMaker::at_bounds() {
  std::vector<Case> out;
  const Json properties = schema_.value("properties", Json::object());
  for (const auto& [key, property] : properties.items()) {
    if (!property.is_object()) continue;
    if (const auto choices = property.find("enum"); choices != property.end()) {
      for (const Json& choice : *choices) add_valid(out, key, choice, "a choice");
      continue;
    }
    const std::string type = main_type(property);
    if (type == "integer" || type == "number") {
      const Range range = range_of(property, type == "integer");
      add_valid(out, key, number_json(range.least, type == "integer"), "the least");
      add_valid(out, key, number_json(range.most, type == "integer"), "the greatest");
      add_valid(out, key, 0, "zero");
    } else if (type == "boolean") {
      add_valid(out, key, true, "true");
      add_valid(out, key, false, "false");
    } else if (type == "string") {
      add_valid(out, key, "", "empty");
      add_valid(out, key, kUnusual, "unusual characters");
      constexpr std::uint64_t kHugeBytes = 100'000;
      add_valid(out, key,
                std::string(std::min(kHugeBytes, size_of(property, "maxLength", kHugeBytes)), 'x'),
                "the longest");
    } else if (type == "array") {
      add_valid(out, key, Json::array(), "empty");
      constexpr std::uint64_t kMany = 100;
      Json many = Json::array();
      const Json one = value_of(property.value("items", Json::object()));
      for (std::uint64_t i = std::min(kMany, size_of(property, "maxItems", kMany)); i > 0; --i) {
        many.push_back(one);
      }
      add_valid(out, key, many, "many");
    } else if (type == "object") {
      add_valid(out, key, Json::object(), "empty");
    }
    for (const Json& example : property.value("examples", Json::array())) {
      add_valid(out, key, example, "an example");
    }
  }
  return out;
}

std::vector<ConfigMaker::Case> ConfigMaker::refused() {
  std::vector<Case> out;
  const auto add = [&](const std::string& key, const Json& value, const char* which) {
    Json config = base_;
    config[key] = value;
    std::vector<SchemaError> errors;
    Json copy = config;
    apply_schema(schema_, copy, "", errors);
    if (errors.empty()) return;
    out.push_back({"/" + key + " = " + shortened(value) + " (" + which + ")", std::move(config)});
  };
  const Json properties = schema_.value("properties", Json::object());
  for (const auto& [key, property] : properties.items()) {
    if (!property.is_object()) continue;
    for (const Json& other :
         {Json(nullptr), Json(true), Json(-1), Json(1.5), Json("text"), Json::array({1}),
          Json{{"key", "value"}}, Json(1e300), Json(UINT64_MAX)}) {
      add(key, other, "another type or beyond its bounds");
    }
    const std::string type = main_type(property);
    if (type == "integer" || type == "number") {
      const Range range = range_of(property, type == "integer");
      add(key, range.least - 1, "below the least");
      add(key, range.most + 1, "above the greatest");
    }
    if (type == "string") add(key, std::string(1U << 20, 'x'), "too long");
    if (type == "array") {
      add(key, Json::array({nullptr, Json::object(), Json::array()}), "other items");
    }
  }
  for (const Json& name : schema_.value("required", Json::array())) {
    Json config = base_;
    config.erase(name.get<std::string>());
    out.push_back({"without the required " + name.get<std::string>(), std::move(config)});
  }
  add("no_such_key_anywhere", 1, "an unknown key");
  return out;
}

}  // namespace ephor::host::check
