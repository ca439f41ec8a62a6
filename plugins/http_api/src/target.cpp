// SPDX-License-Identifier: Apache-2.0
#include "target.hpp"

namespace ephor::http_api {
namespace {

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

bool is_control(char character) {
  const auto byte = static_cast<unsigned char>(character);
  return byte < 0x20 || byte == 0x7F;
}

// The path and query of "http://host:port/path?query".
std::string_view without_authority(std::string_view raw) {
  const std::size_t scheme = raw.find("://");
  if (raw.starts_with('/') || scheme == std::string_view::npos) return raw;
  const std::size_t path = raw.find('/', scheme + 3);
  return path == std::string_view::npos ? std::string_view("/") : raw.substr(path);
}

bool parse_query(std::string_view text, Parameters& out) {
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals), true);
    auto value = equals == std::string_view::npos ? std::optional<std::string>(std::string())
                                                  : percent_decode(pair.substr(equals + 1), true);
    if (!name || !value) return false;
    out.emplace_back(std::move(*name), std::move(*value));
  }
  return true;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_blank) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char character = text[i];
    if (character == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      character = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (character == '+' && plus_is_blank) {
      character = ' ';
    }
    if (is_control(character)) return std::nullopt;
    out.push_back(character);
  }
  return out;
}

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    const std::size_t end = path.find('/');
    segments.emplace_back(path.substr(0, end));
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  return segments;
}

std::optional<Target> parse_target(std::string_view raw) {
  raw = without_authority(raw);
  if (!raw.starts_with('/')) return std::nullopt;
  raw = raw.substr(0, raw.find('#'));
  const std::size_t question = raw.find('?');
  Target target;
  for (const std::string& segment : split_path(raw.substr(0, question))) {
    auto decoded = percent_decode(segment, false);
    if (!decoded) return std::nullopt;
    target.segments.push_back(std::move(*decoded));
  }
  if (question != std::string_view::npos && !parse_query(raw.substr(question + 1), target.query)) {
    return std::nullopt;
  }
  return target;
}

std::string_view find_parameter(const Parameters& parameters, std::string_view name) {
  std::string_view found;
  for (const auto& [key, value] : parameters) {
    if (key == name) found = value;
  }
  return found;
}

}  // namespace ephor::http_api
