// SPDX-License-Identifier: Apache-2.0
#include "check/suppressions.hpp"

#include <ephor/abi.h>

#include <algorithm>

#include <fnmatch.h>

#include <nlohmann/json.hpp>

#include "core/config.hpp"
#include "core/schema.hpp"
#include "event/error.hpp"

namespace ephor::host::check {
namespace {

constexpr const char* kSchema = R"({
  "type": "object", "additionalProperties": false, "required": ["suppressions"],
  "properties": {
    "suppressions": {"type": "array",
      "items": {"type": "object", "additionalProperties": false,
        "required": ["check", "plugin", "reason"],
        "properties": {
          "check": {"type": "string", "minLength": 1},
          "plugin": {"type": "string", "minLength": 1},
          "reason": {"type": "string", "pattern": "[^ \t\n]"}}}}}})";

}  // namespace

std::vector<Suppression> read_suppressions(const std::filesystem::path& file) {
  std::vector<ConfigError> faults;
  const Config config = Config::load(file, {}, faults);
  std::string wrong;
  for (const ConfigError& fault : faults) wrong += fault.text() + "\n";
  nlohmann::json tree = config.tree();
  if (faults.empty()) {
    std::vector<SchemaError> errors;
    apply_schema(nlohmann::json::parse(kSchema), tree, "", errors);
    for (const SchemaError& error : errors) {
      wrong += file.string() + ": " + (error.pointer.empty() ? "/" : error.pointer) + ": " +
               error.message + "\n";
    }
  }
  if (!wrong.empty()) {
    wrong.pop_back();
    throw HostError(EPHOR_INVALID, wrong);
  }
  std::vector<Suppression> out;
  for (const auto& one : tree["suppressions"]) {
    out.push_back({one["check"], one["plugin"], one["reason"], false});
  }
  return out;
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

void apply(std::vector<Suppression>& suppressions, const std::string& plugin,
           std::vector<Result>& results) {
  for (Suppression& one : suppressions) {
    if (!matches(plugin, {one.plugin})) continue;
    for (Result& result : results) {
      if (!result.is_bad() || !matches(std::string(result.check->name), {one.check})) continue;
      result.suppressed_by = one.reason;
      one.is_used = true;
    }
  }
}

}  // namespace ephor::host::check
