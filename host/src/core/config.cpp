// SPDX-License-Identifier: Apache-2.0
#include "core/config.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include <simdjson.h>
#include <yaml-cpp/yaml.h>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDepthMax = 64;
// Aliases let a few lines stand for any amount.
constexpr std::size_t kTreeBytesMax = 8U << 20;
constexpr std::size_t kValueBytes = 64;  // of one value beside its text
constexpr std::size_t kSecretBytesMax = 1U << 20;

// YAML 1.2 core schema of a plain scalar.
Json plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return {};
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* begin = text.data();
  const char* end = begin + text.size();
  std::int64_t integer = 0;
  const bool has_plus = text[0] == '+' && text.size() > 1 && text[1] != '-';
  const char* digits = has_plus ? begin + 1 : begin;
  if (const auto [at, error] = std::from_chars(digits, end, integer);
      error == std::errc() && at == end) {
    return integer;
  }
  double real = 0.0;
  const bool looks_numeric = text.find_first_of("0123456789") != std::string::npos;
  if (const auto [at, error] = std::from_chars(digits, end, real);
      looks_numeric && error == std::errc() && at == end && std::isfinite(real)) {
    return real;
  }
  return text;
}

bool is_below(std::string_view pointer, std::string_view parent) {
  return pointer.size() > parent.size() && pointer.starts_with(parent) &&
         pointer[parent.size()] == '/';
}

std::optional<std::string> file_text(const std::filesystem::path& file, std::size_t bytes_max) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return std::nullopt;
  std::ifstream in(file, std::ios::binary);
  std::string text(bytes_max + 1, '\0');
  if (!in) return std::nullopt;
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || static_cast<std::size_t>(in.gcount()) > bytes_max) return std::nullopt;
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

}  // namespace

// Walks a YAML tree into a Config.
class ConfigReader {
 public:
  ConfigReader(Config& config, const ConfigSources& sources, std::vector<ConfigError>& errors)
      : config_(config), sources_(sources), errors_(errors) {}

  void read_text(const std::string& text) {
    if (!simdjson::validate_utf8(text)) {
      errors_.push_back({config_.file_ + ":" + std::to_string(bad_line_of(text)), "",
                         "found bytes that are no UTF-8, expected YAML or JSON"});
      return;
    }
    try {
      config_.tree_ = convert(YAML::Load(text), "", config_.file_);
    } catch (const YAML::Exception& failure) {
      errors_.push_back(
          {place(failure.mark, config_.file_), "", "found no YAML or JSON here: " + failure.msg});
      return;
    }
    if (config_.tree_.is_null()) config_.tree_ = Json::object();
    if (!config_.tree_.is_object()) {
      errors_.push_back({config_.file_, "", "found no mapping, expected a mapping at the top"});
      config_.tree_ = Json::object();
    }
  }

  void apply_override(const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      errors_.push_back({"--set", text, "found no '=', expected path=value"});
      return;
    }
    const std::string path = text.substr(0, equals);
    if (!simdjson::validate_utf8(text)) {
      errors_.push_back({"--set", path, "found bytes that are no UTF-8, expected YAML"});
      return;
    }
    std::vector<std::string> tokens;
    std::string pointer;
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t dot = std::min(path.find('.', begin), path.size());
      tokens.push_back(path.substr(begin, dot - begin));
      append_pointer_token(pointer, tokens.back());
      begin = dot + 1;
    }
    if (tokens.size() > kDepthMax) {
      errors_.push_back({"--set", path, too_deep()});
      return;
    }
    try {
      const YAML::Node node = YAML::Load(text.substr(equals + 1));
      Json* const member = member_of(tokens, path);
      if (member == nullptr) return;
      forget(pointer);
      *member = convert(node, pointer, "--set");
    } catch (const YAML::Exception& failure) {
      errors_.push_back({"--set", path, failure.what()});
    }
  }

 private:
  static std::string too_deep() {
    return "found more than " + std::to_string(kDepthMax) + " levels, expected at most these";
  }

  // The first line, from 1, that is no UTF-8.
  static std::size_t bad_line_of(std::string_view text) {
    for (std::size_t line = 1;; ++line) {
      const std::string_view one = text.substr(0, text.find('\n'));
      if (one.size() == text.size() || !simdjson::validate_utf8(one.data(), one.size()))
        return line;
      text.remove_prefix(one.size() + 1);
    }
  }

  static std::string place(const YAML::Mark& mark, const std::string& source) {
    if (source == "--set" || mark.line < 0) return source;
    return source + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
  }

  Json convert(const YAML::Node& node, const std::string& pointer, const std::string& source,
               std::size_t depth = 0) {
    if (!afford(node, pointer, source, depth)) return {};
    config_.places_[pointer] = place(node.Mark(), source);
    switch (node.Type()) {
      case YAML::NodeType::Map:
        return convert_map(node, pointer, source, depth);
      case YAML::NodeType::Sequence: {
        Json out = Json::array();
        for (const auto& item : node) {
          out.push_back(
              convert(item, pointer + "/" + std::to_string(out.size()), source, depth + 1));
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

  // False, and one error for all there is: the tree is too deep (an alias may even hold itself) or
  // too large.
  bool afford(const YAML::Node& node, const std::string& pointer, const std::string& source,
              std::size_t depth) {
    if (is_spent_) return false;
    const std::size_t text_bytes = node.IsScalar() ? node.Scalar().size() : 0;
    bytes_ += kValueBytes + pointer.size() + text_bytes;
    is_spent_ = depth > kDepthMax || bytes_ > kTreeBytesMax;
    if (!is_spent_) return true;
    errors_.push_back({place(node.Mark(), source), dotted(pointer),
                       depth > kDepthMax
                           ? too_deep()
                           : "found more than " + std::to_string(kTreeBytesMax >> 20) +
                                 " MiB of values, expected at most these"});
    return false;
  }

  Json convert_map(const YAML::Node& node, const std::string& pointer, const std::string& source,
                   std::size_t depth) {
    Json out = Json::object();
    for (const auto& member : node) {
      if (!member.first.IsScalar()) {
        errors_.push_back({place(member.first.Mark(), source), dotted(pointer),
                           "found a key that is no text, expected text"});
        continue;
      }
      const std::string& key = member.first.Scalar();
      std::string child = pointer;
      append_pointer_token(child, key);
      if (out.contains(key)) {
        errors_.push_back({place(member.first.Mark(), source), dotted(child),
                           "found the key twice, expected once"});
        continue;
      }
      Json value = convert(member.second, child, source, depth + 1);
      config_.places_[child] = place(member.first.Mark(), source);
      out[key] = std::move(value);
    }
    return out;
  }

  // The place in the tree that `tokens` name, made where it is missing. Null, and an error: there
  // is a value in the middle, or no such element.
  Json* member_of(const std::vector<std::string>& tokens, const std::string& path) {
    Json* at = &config_.tree_;
    for (const std::string& token : tokens) {
      if (at->is_null()) *at = token == "0" ? Json::array() : Json::object();
      if (at->is_object()) {
        at = &(*at)[token];
        continue;
      }
      std::size_t index = 0;
      const char* const end = token.data() + token.size();
      const auto [stop, error] = std::from_chars(token.data(), end, index);
      if (at->is_array() && error == std::errc() && stop == end && index <= at->size()) {
        at = &(*at)[index];
        continue;
      }
      errors_.push_back(
          {"--set", path,
           at->is_array()
               ? "found no element " + token + ", expected 0 to " + std::to_string(at->size())
               : "found a value in the middle of the path, expected objects"});
      return nullptr;
    }
    return at;
  }

  // What was said of the value that is replaced.
  void forget(const std::string& pointer) {
    const auto is_replaced = [&](std::string_view other) {
      return other == pointer || is_below(other, pointer);
    };
    std::erase_if(config_.places_, [&](const auto& entry) { return is_replaced(entry.first); });
    std::erase_if(config_.secrets_, is_replaced);
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
        return checked_text(std::move(out), pointer);
      }
      out += text.substr(at, open - at);
      std::string name = text.substr(open + 2, close - open - 2);
      std::optional<std::string> fallback;
      if (const std::size_t dash = name.find(":-"); dash != std::string::npos) {
        fallback = name.substr(dash + 2);
        name.resize(dash);
      }
      if (const std::optional<std::string> value = sources_.variable(name)) {
        out += *value;
        bytes_ += value->size();
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
    std::optional<std::string> text = sources_.file(path);
    if (!text) {
      errors_.push_back(config_.error_at(
          pointer, "found file:" + path + ", expected a readable file of at most 1 MiB"));
      return {};
    }
    config_.secrets_.insert(pointer);  // what is in the file, not where it is
    bytes_ += text->size();
    text->erase(text->find_last_not_of(" \t\r\n") + 1);
    return checked_text(std::move(*text), pointer);
  }

  // Everything behind the configuration writes it as JSON, which is UTF-8.
  Json checked_text(std::string text, const std::string& pointer) {
    if (simdjson::validate_utf8(text)) return text;
    errors_.push_back(config_.error_at(pointer, "found bytes that are none, expected UTF-8 text"));
    return {};
  }

  Config& config_;
  const ConfigSources& sources_;
  std::vector<ConfigError>& errors_;
  std::size_t bytes_ = 0;
  bool is_spent_ = false;
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

ConfigSources ConfigSources::of_process() {
  return {[](const std::string& name) -> std::optional<std::string> {
            if (const char* value = std::getenv(name.c_str())) return value;
            return std::nullopt;
          },
          [](const std::filesystem::path& file) { return file_text(file, kSecretBytesMax); }};
}

Config Config::load(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                    std::vector<ConfigError>& errors) {
  const std::string name = file.empty() ? "(no file)" : file.string();
  std::string text;
  std::error_code ignored;
  if (!file.empty() && std::filesystem::is_directory(file, ignored)) {
    errors.push_back({name, "", "found a directory, expected YAML or JSON"});
  } else if (!file.empty()) {
    std::ifstream in(file, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(in), {});
    if (!in.is_open()) {
      errors.push_back({name, "", "found no readable file, expected YAML or JSON"});
    }
  }
  return parse(text, name, overrides, ConfigSources::of_process(), errors);
}

Config Config::parse(const std::string& text, const std::string& name,
                     const std::vector<std::string>& overrides, const ConfigSources& sources,
                     std::vector<ConfigError>& errors) {
  Config config;
  config.file_ = name;
  ConfigReader reader(config, sources, errors);
  reader.read_text(text);
  for (const std::string& override_text : overrides) reader.apply_override(override_text);
  return config;
}

std::string Config::place_of(std::string_view pointer) const {
  for (std::string_view at = pointer;; at = at.substr(0, at.rfind('/'))) {
    if (const auto found = places_.find(at); found != places_.end()) return found->second;
    if (at.empty()) return file_;
  }
}

bool Config::holds_secret(std::string_view pointer) const {
  if (secrets_.contains(pointer)) return true;
  const auto next = secrets_.lower_bound(std::string(pointer) + "/");
  return next != secrets_.end() && is_below(*next, pointer);
}

ConfigError Config::error_at(std::string_view pointer, std::string message) const {
  if (holds_secret(pointer)) {
    const std::size_t expected = std::min(message.rfind(", expected"), message.size());
    message.replace(0, expected, "found *** (hidden)");
  }
  return {place_of(pointer), dotted(pointer), std::move(message)};
}

void Config::note_copy(const std::string& from, const std::string& to) {
  std::vector<std::string> copies;
  for (const std::string& secret : secrets_) {
    if (secret == from || is_below(secret, from)) copies.push_back(to + secret.substr(from.size()));
  }
  secrets_.insert(copies.begin(), copies.end());
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
