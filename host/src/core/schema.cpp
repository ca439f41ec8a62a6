// SPDX-License-Identifier: Apache-2.0
#include "core/schema.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <regex>
#include <string_view>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

std::string shortened(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  if (type == "integer") {
    if (value.is_number_integer()) return true;
    // Up to 2^53, where a double is exact; nothing larger can be meant, and casting it is
    // undefined.
    return value.is_number_float() && std::abs(value.get<double>()) <= 9007199254740992.0 &&
           std::trunc(value.get<double>()) == value.get<double>();
  }
  return true;
}

std::string child_pointer(std::string pointer, std::string_view key) {
  append_pointer_token(pointer, key);
  return pointer;
}

// Code points of UTF-8.
std::size_t length_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string nearest_key(const std::string& key, const Json& properties) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, key.size() / 3) + 1;
  for (const auto& [name, unused] : properties.items()) {
    if (const std::size_t distance = edit_distance(key, name); distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

std::string keys_of(const Json& properties) {
  std::string out;
  for (const auto& [name, unused] : properties.items()) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "no keys" : "one of " + out;
}

class Walk {
 public:
  explicit Walk(std::vector<SchemaError>& errors) : errors_(errors) {}

  void apply(const Json& schema, Json& value, const std::string& pointer) {
    if (!schema.is_object()) return;
    if (!check_type(schema, value, pointer)) return;
    if (const auto choices = schema.find("enum"); choices != schema.end()) {
      if (std::find(choices->begin(), choices->end(), value) == choices->end()) {
        fail(pointer, value, "one of " + shortened(*choices));
      }
    }
    if (const auto wanted = schema.find("const"); wanted != schema.end() && *wanted != value) {
      fail(pointer, value, shortened(*wanted));
    }
    if (value.is_number()) check_number(schema, value, pointer);
    if (value.is_string()) check_text(schema, value, pointer);
    if (value.is_array()) apply_array(schema, value, pointer);
    if (value.is_object()) apply_object(schema, value, pointer);
  }

 private:
  void fail(const std::string& pointer, const Json& found, const std::string& expected) {
    errors_.push_back({pointer, "found " + shortened(found) + ", expected " + expected});
  }

  bool check_type(const Json& schema, const Json& value, const std::string& pointer) {
    const auto type = schema.find("type");
    if (type == schema.end()) return true;
    const Json types = type->is_array() ? *type : Json::array({*type});
    for (const Json& one : types) {
      if (has_type(value, one.get_ref<const std::string&>())) return true;
    }
    std::string expected;
    for (const Json& one : types)
      expected += (expected.empty() ? "" : " or ") + one.get<std::string>();
    fail(pointer, value, expected);
    return false;
  }

  void check_number(const Json& schema, const Json& value, const std::string& pointer) {
    const double number = value.get<double>();
    const auto bound = [&](const char* keyword, auto is_outside, const char* words) {
      const auto limit = schema.find(keyword);
      if (limit != schema.end() && is_outside(number, limit->get<double>())) {
        fail(pointer, value, std::string("a number ") + words + " " + limit->dump());
      }
    };
    bound("minimum", std::less<>(), ">=");
    bound("maximum", std::greater<>(), "<=");
    bound("exclusiveMinimum", std::less_equal<>(), ">");
    bound("exclusiveMaximum", std::greater_equal<>(), "<");
  }

  void check_text(const Json& schema, const Json& value, const std::string& pointer) {
    const auto& text = value.get_ref<const std::string&>();
    if (length_of(text) < schema.value("minLength", std::size_t{0})) {
      fail(pointer, value, "at least " + schema["minLength"].dump() + " characters");
    }
    if (length_of(text) > schema.value("maxLength", std::string::npos)) {
      fail(pointer, value, "at most " + schema["maxLength"].dump() + " characters");
    }
    if (const auto pattern = schema.find("pattern"); pattern != schema.end()) {
      // std::regex takes stack for every character.
      constexpr std::size_t kMatchedBytesMax = 4096;
      if (text.size() > kMatchedBytesMax ||
          !std::regex_search(text, std::regex(pattern->get<std::string>()))) {
        fail(pointer, value, "text like " + pattern->get<std::string>());
      }
    }
  }

  void apply_array(const Json& schema, Json& value, const std::string& pointer) {
    if (value.size() < schema.value("minItems", std::size_t{0})) {
      fail(pointer, value, "at least " + schema["minItems"].dump() + " items");
    }
    if (value.size() > schema.value("maxItems", std::string::npos)) {
      fail(pointer, value, "at most " + schema["maxItems"].dump() + " items");
    }
    if (const auto items = schema.find("items"); items != schema.end()) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        apply(*items, value[i], pointer + "/" + std::to_string(i));
      }
    }
  }

  void apply_object(const Json& schema, Json& value, const std::string& pointer) {
    static const Json kNone = Json::object();
    const auto found = schema.find("properties");
    const Json& properties = found != schema.end() ? *found : kNone;
    for (const auto& [name, property] : properties.items()) {
      if (!value.contains(name) && property.is_object() && property.contains("default")) {
        value[name] = property["default"];
      }
    }
    for (const Json& name : schema.value("required", Json::array())) {
      if (!value.contains(name.get_ref<const std::string&>())) {
        errors_.push_back({pointer, "found no key " + name.get<std::string>() + ", expected it"});
      }
    }
    const auto additional = schema.find("additionalProperties");
    for (auto& [name, member] : value.items()) {
      const std::string child = child_pointer(pointer, name);
      if (const auto property = properties.find(name); property != properties.end()) {
        apply(*property, member, child);
      } else if (additional != schema.end() && additional->is_boolean() &&
                 !additional->get<bool>()) {
        const std::string near = nearest_key(name, properties);
        errors_.push_back({child, "found an unknown key, expected " +
                                      (near.empty() ? keys_of(properties)
                                                    : "a known one (did you mean " + near + "?)")});
      } else if (additional != schema.end() && additional->is_object()) {
        apply(*additional, member, child);
      }
    }
  }

  std::vector<SchemaError>& errors_;
};

}  // namespace

void apply_schema(const Json& schema, Json& value, const std::string& pointer,
                  std::vector<SchemaError>& errors) {
  Walk(errors).apply(schema, value, pointer);
}

}  // namespace ephor::host
