// SPDX-License-Identifier: Apache-2.0
//
// schema/*: the JSON Schema of the configuration.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <regex>
#include <set>

#include "check/check.hpp"
#include "check/context.hpp"
#include "core/schema.hpp"

namespace ephor::host::check {
namespace {

// Keywords that the host enforces (core/schema.hpp).
constexpr std::array kEnforced{"type",
                               "enum",
                               "const",
                               "properties",
                               "required",
                               "additionalProperties",
                               "items",
                               "minItems",
                               "maxItems",
                               "minimum",
                               "maximum",
                               "exclusiveMinimum",
                               "exclusiveMaximum",
                               "minLength",
                               "maxLength",
                               "pattern"};
// Keywords that say something and forbid nothing.
constexpr std::array kAnnotations{"$schema",        "$id",       "$comment", "title",
                                  "description",    "default",   "examples", "deprecated",
                                  "readOnly",       "writeOnly", "format",   "contentMediaType",
                                  "contentEncoding"};

std::string place(const std::string& pointer) { return pointer.empty() ? "/" : pointer; }

std::string token(std::string_view key) {
  std::string out;
  for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

// Every schema in it: of properties, items and additional properties.
void visit(const Json& schema, const std::string& pointer,
           const std::function<void(const Json&, const std::string&)>& visitor) {
  if (!schema.is_object()) return;
  visitor(schema, pointer);
  if (const auto found = schema.find("properties"); found != schema.end() && found->is_object()) {
    for (const auto& [name, property] : found->items()) {
      visit(property, pointer + "/properties/" + token(name), visitor);
    }
  }
  for (const char* keyword : {"items", "additionalProperties"}) {
    if (const auto found = schema.find(keyword); found != schema.end()) {
      visit(*found, pointer + "/" + keyword, visitor);
    }
  }
}

void is_json(Context& context) {
  const std::string_view text = to_text(context.info().config_schema);
  Context::expect(!text.empty(), "an empty config_schema", R"(at least {"type":"object"})");
  try {
    // Both parts of a key that stands twice look right, and one of them is without effect.
    std::vector<std::set<std::string>> keys;
    const Json parsed = Json::parse(text, [&](int, Json::parse_event_t event, Json& value) {
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key) {
        const auto name = value.get<std::string>();
        Context::expect(keys.back().insert(name).second, "the key " + name + " twice in one object",
                        "it once");
      }
      return true;
    });
    Context::expect(parsed.is_object(), "a schema that is no object", "an object");
  } catch (const Json::exception& failure) {
    Context::fail("config_schema: " + std::string(failure.what()));
  }
}

void dialect(Context& context) {
  const auto found = context.schema().find("$schema");
  if (found == context.schema().end()) return;
  Context::expect(*found == "https://json-schema.org/draft/2020-12/schema",
                  "$schema " + found->dump(),
                  "https://json-schema.org/draft/2020-12/schema, or none");
}

void keywords_are_known(Context& context) {
  visit(context.schema(), "", [](const Json& schema, const std::string& pointer) {
    for (const auto& member : schema.items()) {
      const std::string& keyword = member.key();
      const auto is_in = [&](const auto& list) {
        return std::find(list.begin(), list.end(), keyword) != list.end();
      };
      if (is_in(kEnforced) || is_in(kAnnotations) || keyword.starts_with("x-")) continue;
      Context::fail("the keyword " + keyword + " at " + place(pointer),
                    "one that the host enforces, an annotation, or x-...");
    }
  });
}

void check_type(const Json& type, const std::string& at) {
  static const std::set<std::string> kTypes{"object",  "array",   "string", "number",
                                            "integer", "boolean", "null"};
  const Json list = type.is_array() ? type : Json::array({type});
  Context::expect(!list.empty(), "an empty list of types at " + at, "a type");
  for (const Json& one : list) {
    Context::expect(one.is_string() && kTypes.contains(one.get<std::string>()),
                    "type " + one.dump() + " at " + at, "one of JSON Schema");
  }
}

void keywords_are_used_rightly(Context& context) {
  visit(context.schema(), "", [](const Json& schema, const std::string& pointer) {
    const auto at = [&](const char* keyword) { return place(pointer + "/" + keyword); };
    const auto when = [&](const char* keyword, const auto& look) {
      if (const auto found = schema.find(keyword); found != schema.end()) look(*found, at(keyword));
    };
    when("type", [](const Json& value, const std::string& where) { check_type(value, where); });
    for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
      when(keyword, [](const Json& value, const std::string& where) {
        Context::expect(value.is_number(), value.dump() + " at " + where, "a number");
      });
    }
    for (const char* keyword : {"minLength", "maxLength", "minItems", "maxItems"}) {
      when(keyword, [](const Json& value, const std::string& where) {
        Context::expect(value.is_number_unsigned(), value.dump() + " at " + where,
                        "an integer from 0");
      });
    }
    for (const char* keyword : {"title", "description", "$comment", "format"}) {
      when(keyword, [](const Json& value, const std::string& where) {
        Context::expect(value.is_string(), value.dump() + " at " + where, "text");
      });
    }
    when("enum", [](const Json& value, const std::string& where) {
      Context::expect(value.is_array() && !value.empty(), value.dump() + " at " + where,
                      "an array with a value");
    });
    when("examples", [](const Json& value, const std::string& where) {
      Context::expect(value.is_array(), value.dump() + " at " + where, "an array");
    });
    when("properties", [](const Json& value, const std::string& where) {
      Context::expect(value.is_object(), value.dump() + " at " + where, "an object");
      for (const auto& [name, property] : value.items()) {
        Context::expect(property.is_object() || property.is_boolean(),
                        property.dump() + " at " + where + "/" + name, "a schema");
      }
    });
    for (const char* keyword : {"items", "additionalProperties"}) {
      when(keyword, [](const Json& value, const std::string& where) {
        Context::expect(value.is_object() || value.is_boolean(), value.dump() + " at " + where,
                        "a schema or a boolean");
      });
    }
    when("required", [](const Json& value, const std::string& where) {
      Context::expect(value.is_array(), value.dump() + " at " + where, "an array of names");
      std::set<Json> seen;
      for (const Json& name : value) {
        Context::expect(name.is_string() && seen.insert(name).second, name.dump() + " at " + where,
                        "names that differ");
      }
    });
    when("pattern", [](const Json& value, const std::string& where) {
      Context::expect(value.is_string(), value.dump() + " at " + where, "a regular expression");
      try {
        const std::regex compiled(value.get<std::string>());
        (void)compiled;
      } catch (const std::regex_error& failure) {
        Context::fail("the pattern " + value.dump() + " at " + where + " (" + failure.what() + ")",
                      "an ECMAScript regular expression");
      }
    });
  });
}

void root_is_an_object(Context& context) {
  const Json type = context.schema().value("type", Json());
  Context::expect(type == "object", "type " + type.dump() + " at /", R"("object")");
}

void bounds_leave_room(Context& context) {
  visit(context.schema(), "", [](const Json& schema, const std::string& pointer) {
    const auto number = [&](const char* keyword) -> std::optional<double> {
      const auto found = schema.find(keyword);
      if (found == schema.end() || !found->is_number()) return std::nullopt;
      return found->get<double>();
    };
    const auto not_above = [&](const char* low, const char* high, bool is_open) {
      const auto least = number(low);
      const auto most = number(high);
      if (!least || !most) return;
      Context::expect(is_open ? *least < *most : *least <= *most,
                      std::string(low) + " " + Json(*least).dump() + " with " + high + " " +
                          Json(*most).dump() + " at " + place(pointer),
                      "bounds with a value between them");
    };
    not_above("minimum", "maximum", false);
    not_above("minimum", "exclusiveMaximum", true);
    not_above("exclusiveMinimum", "maximum", true);
    not_above("exclusiveMinimum", "exclusiveMaximum", true);
    not_above("minLength", "maxLength", false);
    not_above("minItems", "maxItems", false);
  });
}

std::string wrong_with(const Json& schema, Json value) {
  std::vector<SchemaError> errors;
  apply_schema(schema, value, "", errors);
  if (errors.empty()) return {};
  return (errors[0].pointer.empty() ? "" : errors[0].pointer + ": ") + errors[0].message;
}

// The keywords must be right before values are measured by them.
const Json& usable_schema(Context& context) {
  try {
    keywords_are_used_rightly(context);
  } catch (const Failed&) {
    Context::blocked_by("schema/keywords_are_used_rightly");
  }
  return context.schema();
}

void enums_fit_their_type(Context& context) {
  visit(usable_schema(context), "", [](const Json& schema, const std::string& pointer) {
    if (!schema.contains("enum")) return;
    Json without = schema;
    without.erase("enum");
    for (const Json& value : schema["enum"]) {
      const std::string wrong = wrong_with(without, value);
      Context::expect(wrong.empty(),
                      "the choice " + value.dump() + " at " + place(pointer) + " (" + wrong + ")",
                      "one that the rest of its schema takes");
    }
  });
}

void defaults_are_valid(Context& context) {
  visit(usable_schema(context), "", [](const Json& schema, const std::string& pointer) {
    if (!schema.contains("default")) return;
    const std::string wrong = wrong_with(schema, schema["default"]);
    Context::expect(
        wrong.empty(),
        "the default " + schema["default"].dump() + " at " + place(pointer) + " (" + wrong + ")",
        "one that its schema takes");
  });
}

void examples_are_valid(Context& context) {
  std::size_t count = 0;
  visit(usable_schema(context), "", [&](const Json& schema, const std::string& pointer) {
    if (!schema.contains("examples")) return;
    for (const Json& example : schema["examples"]) {
      ++count;
      const std::string wrong = wrong_with(schema, example);
      Context::expect(
          wrong.empty(),
          "the example " + example.dump() + " at " + place(pointer) + " (" + wrong + ")",
          "one that its schema takes");
    }
  });
  if (count == 0) Context::skip("the schema has no examples");
  context.note(std::to_string(count) + " examples");
}

void required_is_declared(Context& context) {
  visit(usable_schema(context), "", [](const Json& schema, const std::string& pointer) {
    const Json properties = schema.value("properties", Json::object());
    for (const Json& name : schema.value("required", Json::array())) {
      Context::expect(properties.contains(name.get<std::string>()),
                      name.dump() + " required at " + place(pointer) + " and not described",
                      "a property");
    }
  });
}

void properties_are_described(Context& context) {
  visit(usable_schema(context), "", [](const Json& schema, const std::string& pointer) {
    if (!schema.contains("properties")) return;
    for (const auto& [name, property] : schema["properties"].items()) {
      const std::string text = property.is_object() ? property.value("description", "") : "";
      Context::expect(!text.empty(), "no description of " + name + " at " + place(pointer),
                      "a line that says what it does, and its unit");
    }
  });
}

void properties_have_types(Context& context) {
  visit(usable_schema(context), "", [](const Json& schema, const std::string& pointer) {
    if (!schema.contains("properties")) return;
    for (const auto& [name, property] : schema["properties"].items()) {
      const bool has_type =
          property.is_object() &&
          (property.contains("type") || property.contains("enum") || property.contains("const"));
      Context::expect(has_type, "no type of " + name + " at " + place(pointer),
                      "a type, enum or const");
    }
  });
}

void unknown_keys_are_decided(Context& context) {
  visit(usable_schema(context), "", [](const Json& schema, const std::string& pointer) {
    if (!schema.contains("properties")) return;
    Context::expect(schema.contains("additionalProperties"),
                    "properties without additionalProperties at " + place(pointer),
                    "false (a misspelt key is then an error), or true if others are meant");
  });
}

void is_small(Context& context) {
  constexpr std::size_t kBytesMax = 1U << 20;
  constexpr std::size_t kDepthMax = 64;
  const std::size_t bytes = to_text(context.info().config_schema).size();
  Context::expect(bytes <= kBytesMax, std::to_string(bytes) + " bytes of schema", "at most 1 MiB");
  visit(context.schema(), "", [](const Json&, const std::string& pointer) {
    const auto depth = static_cast<std::size_t>(std::count(pointer.begin(), pointer.end(), '/'));
    Context::expect(depth <= kDepthMax, "a schema " + std::to_string(depth) + " levels deep",
                    "at most " + std::to_string(kDepthMax));
  });
}

}  // namespace

std::vector<Check> schema_checks() {
  return {
      {"schema/is_json", "Its configuration schema is one JSON object, no key twice.",
       "The host cannot read, check or show a configuration otherwise.", &is_json},
      {"schema/dialect", "It is of JSON Schema 2020-12.",
       "Editors and the host must read the keywords in the same way.", &dialect},
      {"schema/keywords_are_known", "It uses keywords that the host enforces, and annotations.",
       "A keyword that the host does not know forbids nothing: create gets what it excludes.",
       &keywords_are_known},
      {"schema/keywords_are_used_rightly", "The values of its keywords are what they must be.",
       "A wrong one makes every configuration fail, or none.", &keywords_are_used_rightly},
      {"schema/root_is_an_object", "It describes an object.",
       "A configuration is an object, always.", &root_is_an_object},
      {"schema/bounds_leave_room", "No lower bound lies above its upper one.",
       "No configuration with that key could be valid.", &bounds_leave_room},
      {"schema/enums_fit_their_type", "Every choice is one that the rest of its schema takes.",
       "Who picks it from the documentation gets an error.", &enums_fit_their_type},
      {"schema/defaults_are_valid", "Every default is valid.",
       "The host fills defaults in: create would get an invalid configuration.",
       &defaults_are_valid},
      {"schema/examples_are_valid", "Every example is valid.", "People begin with the examples.",
       &examples_are_valid},
      {"schema/required_is_declared", "Every required key is described.",
       "The user is told that a key is missing, and nothing about it.", &required_is_declared},
      {"schema/properties_are_described", "Every key has a description.",
       "`ephor schema` is the reference of the configuration.", &properties_are_described},
      {"schema/properties_have_types", "Every key has a type or a list of choices.",
       "Anything is valid for it otherwise, and create must cope with it.", &properties_have_types},
      {"schema/unknown_keys_are_decided", "It says whether unknown keys are allowed.",
       "A misspelt key is otherwise taken silently, and the default used.",
       &unknown_keys_are_decided},
      {"schema/is_small", "It is of a size that can be shown.",
       "It is printed, sent to editors and walked at every start.", &is_small},
  };
}

}  // namespace ephor::host::check
