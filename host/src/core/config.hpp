// SPDX-License-Identifier: Apache-2.0
//
// Configuration: one tree from a YAML or JSON file (JSON is read as the YAML it is), `--set`
// overrides on top, every value with the place it came from, every error reported at once.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace ephor::host {

struct ConfigError {
  std::string place;    // "config/ephor.yaml:12:5", "--set", or the file when no line is known
  std::string path;     // dotted: "plugins.tracer.config.max_trace_history"
  std::string message;  // what was found, what was expected

  std::string text() const;
};

// What a configuration may ask of its surroundings. Empty: there is no such variable or file.
struct ConfigSources {
  std::function<std::optional<std::string>(const std::string& name)> variable;
  std::function<std::optional<std::string>(const std::filesystem::path& file)> file;

  // The environment, and regular files of at most 1 MiB.
  static ConfigSources of_process();
};

class Config {
 public:
  // Reads `file` (none: an empty tree) and applies `overrides` ("path=value", the value in YAML).
  // `${NAME}` and `${NAME:-fallback}` in strings are replaced from the environment; a string
  // "file:PATH" by the file's content, less trailing blanks, and hidden when shown. Failures are
  // added to `errors`. Bounded: 64 levels, 8 MiB of values with their paths.
  static Config load(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                     std::vector<ConfigError>& errors);
  // The same from memory; `name` stands for the file in places.
  static Config parse(const std::string& text, const std::string& name,
                      const std::vector<std::string>& overrides, const ConfigSources& sources,
                      std::vector<ConfigError>& errors);

  nlohmann::json& tree() { return tree_; }
  const nlohmann::json& tree() const { return tree_; }

  // Where the value at an RFC 6901 pointer, or its nearest given parent, was written.
  std::string place_of(std::string_view pointer) const;
  // What was found is hidden if it is a secret, or holds one.
  ConfigError error_at(std::string_view pointer, std::string message) const;
  // What is at `from` has been copied to `to`, which is as secret.
  void note_copy(const std::string& from, const std::string& to);

  // The tree with every value that came from a secret replaced by "***".
  nlohmann::json shown() const;

 private:
  friend class ConfigReader;
  bool holds_secret(std::string_view pointer) const;

  std::string file_;
  nlohmann::json tree_ = nlohmann::json::object();
  std::map<std::string, std::string, std::less<>> places_;  // pointer -> place
  std::set<std::string, std::less<>> secrets_;              // pointers
};

// "/plugins/tracer" -> "plugins.tracer"
std::string dotted(std::string_view pointer);

}  // namespace ephor::host
