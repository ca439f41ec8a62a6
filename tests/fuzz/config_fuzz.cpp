// SPDX-License-Identifier: Apache-2.0
//
// Configurations: "YAML or JSON\0override\0override...". Environment and files are made up here, so
// that no input reaches the machine's own. Secrets must never be seen again.
#include <ephor/plugin.hpp>

#include <exception>
#include <vector>

#include "core/config.hpp"
#include "core/plugin_loader.hpp"
#include "core/settings.hpp"
#include "fuzz.hpp"

namespace {

using namespace ephor::host;
using Json = nlohmann::json;

// Every keyword the schema reader knows, and keys of the user's block.
class Configured final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "Has a configuration";
  static constexpr std::string_view kConfigSchema = R"json({
    "type": "object", "additionalProperties": false, "required": ["name"], "properties": {
      "name": {"type": "string", "minLength": 2, "maxLength": 20, "pattern": "^[a-z]+(-[a-z]+)*$",
               "default": "some-name"},
      "rate": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5,
               "x-ephor-from": "monitoring.advanced_tracer.trace_sampling_rate"},
      "count": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10,
                "x-ephor-from": "monitoring.advanced_tracer.max_trace_history"},
      "mode": {"enum": ["fast", "slow"], "default": "fast"},
      "fixed": {"const": 7, "default": 7},
      "password": {"type": ["string", "null"], "default": null,
                   "x-ephor-from": "monitoring.report_scheduler.password"},
      "list": {"type": "array", "minItems": 1, "maxItems": 3, "default": ["a"],
               "items": {"type": "object", "additionalProperties": {"type": "boolean"},
                         "properties": {"to": {"type": "string"}}}}}})json";
  Configured(ephor::Host, std::string_view) {}
};
constexpr std::string_view kSecret = "s3cr3t";

ConfigSources made_up_sources() {
  return {[](const std::string& name) -> std::optional<std::string> {
            if (name == "SECRET") return "s3cr3t, expected s3cr3t";
            if (name == "BYTES") return "\xC3\x28";
            if (name == "EMPTY") return "";
            return std::nullopt;
          },
          [](const std::filesystem::path& file) -> std::optional<std::string> {
            if (file == "secret") return "s3cr3t \n\n";
            if (file == "bytes") return std::string("a\0\xFF", 3);
            return std::nullopt;
          }};
}

void check_errors(const std::vector<ConfigError>& errors, bool may_name_secret) {
  for (const ConfigError& error : errors) {
    EPHOR_PROMISE(!error.place.empty(), "an error has a place");
    EPHOR_PROMISE(!error.message.empty(), "an error has a message");
    EPHOR_PROMISE(may_name_secret || error.text().find(kSecret) == std::string::npos,
                  "an error shows no secret");
  }
}

// JSON is read as the YAML it is: what was read, written as JSON, is read as the same again. Not so
// for keys beyond YAML's own bound, and for text that stands for something else.
void check_written_again(const Json& tree) {
  const std::string text = tree.dump();
  constexpr std::size_t kKeyBytesMax = 1000;
  if (text.size() > kKeyBytesMax || text.find("${") != std::string::npos ||
      text.find("\"file:") != std::string::npos) {
    return;
  }
  std::vector<ConfigError> errors;
  const Config again = Config::parse(text, "again", {}, made_up_sources(), errors);
  EPHOR_PROMISE(errors.empty() && again.tree() == tree, "JSON is read as written");
}

}  // namespace

EPHOR_PLUGIN(Configured, "configured")

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const PluginLoader loader = [] {
    PluginLoader made({});
    made.add("configured", *ephor_plugin_entry_v1());
    return made;
  }();
  ephor::fuzz::Input input(data, size);
  const std::string text(input.text_until('\0'));
  std::vector<std::string> overrides;
  bool may_name_secret = text.find(kSecret) != std::string::npos;
  while (!input.is_used_up() && overrides.size() < 8) {
    overrides.emplace_back(input.text_until('\0'));
    may_name_secret = may_name_secret || overrides.back().find(kSecret) != std::string::npos;
  }
  try {
    std::vector<ConfigError> errors;
    Config config = Config::parse(text, "file", overrides, made_up_sources(), errors);
    EPHOR_PROMISE(config.tree().is_object(), "there is always a tree");
    check_errors(errors, may_name_secret);
    if (errors.empty()) check_written_again(config.tree());

    const Settings settings = read_settings(config, loader, errors);
    check_errors(errors, may_name_secret);
    EPHOR_PROMISE(may_name_secret || config.shown().dump().find(kSecret) == std::string::npos,
                  "a shown tree shows no secret");
    for (const InstanceSettings& instance : settings.instances) {
      EPHOR_PROMISE(Json::parse(instance.config_json).is_object(), "an instance gets an object");
    }
    if (!errors.empty()) return 0;
    EPHOR_PROMISE(settings.idle_flush_ns > 0 && settings.checkpoint_every_ns > 0 &&
                      settings.drain_timeout_ns > 0 && settings.dispatch_threads > 0 &&
                      settings.bus_bytes > 0 && !settings.data_dir.empty(),
                  "settings without an error can be used");
    // What the schema asks for holds, defaults included.
    for (const InstanceSettings& instance : settings.instances) {
      const Json given = Json::parse(instance.config_json);
      EPHOR_PROMISE(given.at("count") >= 1 && given.at("count") <= 100, "count is in its bounds");
      EPHOR_PROMISE(given.at("rate") > 0 && given.at("rate") < 1, "rate is in its bounds");
      EPHOR_PROMISE(given.at("list").size() >= 1 && given.at("list").size() <= 3, "so is list");
    }
  } catch (const std::exception& failure) {
    ephor::fuzz::broken(__FILE__, __LINE__,
                        std::string("no exception comes out: ") + failure.what());
  }
  return 0;
}
