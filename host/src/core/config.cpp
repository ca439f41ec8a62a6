// SPDX-License-Identifier: Apache-2.0
#include "core/config.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

#include <yaml-cpp/yaml.h>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

// YAML 1.2 core schema of a plain scalar.
Json plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return {};
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* begin = text.data();
  const char* end = begin + text.size();
  std::int64_t integer = 0;
  const char* digits = *begin == '+' ? begin + 1 : begin;
  if (const auto [at, error] = std::from_chars(digits, end, integer);
      error == std::errc() && at == end) {
    return integer;
  }
  double real = 0.0;
  const bool looks_numeric = text.find_first_of("0123456789") != std::string::npos;
  if (const auto [at, error] = std::from_chars(digits, end, real);
      looks_numeric && error == std::errc() && at == end) {
    return real;
  }
  return text;
}

}  // namespace

// Walks a YAML tree into a Config.
class ConfigReader {
 public:
  ConfigReader(Config& config, std::vector<ConfigError>& errors)
      : config_(config), errors_(errors) {}

  Json convert(const YAML::Node& node, const std::string& pointer, const std::string& source) {
    config_.places_[pointer] = place(node, source);
    switch (node.Type()) {
      case YAML::NodeType::Map:
        return convert_map(node, pointer, source);
      case YAML::NodeType::Sequence: {
        Json out = Json::array();
        for (std::size_t i = 0; i < node.size(); ++i) {
          out.push_back(convert(node[i], pointer + "/" + std::to_string(i), source));
        }
        return out;
      }
      case YAML::NodeType::Scalar:
        if (node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str") {
          return text_value(node.Scalar(), pointer);
        }
        if (Json value = plain_scalar(node.Scalar()); !value.is_string()) return value;
        return text_value(node.Scalar(), pointer);
      default:
        return {};
    }
  }

  void apply_override(const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      errors_.push_back({"--set", text, "found no '=', expected path=value"});
      return;
    }
    std::string pointer;
    std::size_t begin = 0;
    const std::string path = text.substr(0, equals);
    while (begin <= path.size()) {
      const std::size_t dot = std::min(path.find('.', begin), path.size());
      append_pointer_token(pointer, std::string_view(path).substr(begin, dot - begin));
      begin = dot + 1;
    }
    try {
      const YAML::Node node = YAML::Load(text.substr(equals + 1));
      Json value = convert(node, pointer, "--set");
      config_.tree_[Json::json_pointer(pointer)] = std::move(value);
    } catch (const YAML::Exception& failure) {
      errors_.push_back({"--set", path, failure.what()});
    } catch (const Json::exception&) {
      errors_.push_back(
          {"--set", path, "found a value in the middle of the path, expected objects"});
    }
  }

 private:
  static std::string place(const YAML::Node& node, const std::string& source) {
    const YAML::Mark mark = node.Mark();
    if (source == "--set" || mark.line < 0) return source;
    return source + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
  }

  Json convert_map(const YAML::Node& node, const std::string& pointer, const std::string& source) {
    Json out = Json::object();
    for (const auto& member : node) {
      const auto key = member.first.as<std::string>("");
      std::string child = pointer;
      append_pointer_token(child, key);
      if (out.contains(key)) {
        errors_.push_back(
            {place(member.first, source), dotted(child), "found the key twice, expected once"});
        continue;
      }
      Json value = convert(member.second, child, source);
      config_.places_[child] = place(member.first, source);
      out[key] = std::move(value);
    }
    return out;
  }

  // ${NAME}, ${NAME:-fallback} and file:PATH.
  Json text_value(const std::string& text, const std::string& pointer) {
    if (text.starts_with("file:")) return secret_file(text.substr(5), pointer);
    std::string out;
    std::size_t at = 0;
    for (;;) {
      const std::size_t open = text.find("${", at);
      const std::size_t close = open == std::string::npos ? open : text.find('}', open);
      if (close == std::string::npos) {
        out += text.substr(at);
        return out;
      }
      out += text.substr(at, open - at);
      std::string name = text.substr(open + 2, close - open - 2);
      std::optional<std::string> fallback;
      if (const std::size_t dash = name.find(":-"); dash != std::string::npos) {
        fallback = name.substr(dash + 2);
        name.resize(dash);
      }
      if (const char* value = std::getenv(name.c_str())) {
        out += value;
        config_.secrets_.insert(pointer);
      } else if (fallback) {
        out += *fallback;
      } else {
        errors_.push_back(config_.error_at(
            pointer, "found ${" + name + "}, expected the environment variable to be set"));
      }
      at = close + 1;
    }
  }

  Json secret_file(const std::string& path, const std::string& pointer) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
      errors_.push_back(
          config_.error_at(pointer, "found file:" + path + ", expected a readable file"));
      return {};
    }
    config_.secrets_.insert(pointer);  // what is in the file, not where it is
    std::string text{std::istreambuf_iterator<char>(in), {}};
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    return text;
  }

  Config& config_;
  std::vector<ConfigError>& errors_;
};

std::string ConfigError::text() const {
  return place + (path.empty() ? "" : " " + path) + ": " + message;
}

std::string dotted(std::string_view pointer) {
  std::string out;
  for (std::size_t i = pointer.starts_with('/') ? 1 : 0; i < pointer.size(); ++i) {
    if (pointer[i] == '/')
      out += '.';
    else if (pointer[i] == '~' && i + 1 < pointer.size())
      out += pointer[++i] == '0' ? '~' : '/';
    else
      out += pointer[i];
  }
  return out;
}

Config Config::load(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                    std::vector<ConfigError>& errors) {
  Config config;
  config.file_ = file.empty() ? "(no file)" : file.string();
  ConfigReader reader(config, errors);
  if (!file.empty() && std::filesystem::is_directory(file)) {
    errors.push_back({config.file_, "", "found a directory, expected YAML or JSON"});
  } else if (!file.empty()) {
    try {
      const YAML::Node root = YAML::LoadFile(file.string());
      config.tree_ = reader.convert(root, "", config.file_);
      if (config.tree_.is_null()) config.tree_ = Json::object();
      if (!config.tree_.is_object()) {
        errors.push_back({config.file_, "", "found no mapping, expected a mapping at the top"});
        config.tree_ = Json::object();
      }
    } catch (const YAML::BadFile&) {
      errors.push_back({config.file_, "", "found no readable file, expected YAML or JSON"});
    } catch (const YAML::ParserException& failure) {
      errors.push_back({config.file_ + ":" + std::to_string(failure.mark.line + 1) + ":" +
                            std::to_string(failure.mark.column + 1),
                        "", "found no YAML or JSON here: " + failure.msg});
    }
  }
  for (const std::string& text : overrides) reader.apply_override(text);
  return config;
}

std::string Config::place_of(std::string_view pointer) const {
  for (std::string_view at = pointer;; at = at.substr(0, at.rfind('/'))) {
    if (const auto found = places_.find(at); found != places_.end()) return found->second;
    if (at.empty()) return file_;
  }
}

ConfigError Config::error_at(std::string_view pointer, std::string message) const {
  constexpr std::string_view kFound = "found ";
  if (secrets_.contains(std::string(pointer)) && message.starts_with(kFound)) {
    const std::size_t expected = std::min(message.rfind(", expected"), message.size());
    message.replace(kFound.size(), expected - kFound.size(), "*** (hidden)");
  }
  return {place_of(pointer), dotted(pointer), std::move(message)};
}

Json Config::shown() const {
  Json out = tree_;
  for (const std::string& pointer : secrets_) {
    const Json::json_pointer at(pointer);
    if (out.contains(at)) out[at] = "***";
  }
  return out;
}

}  // namespace ephor::host
