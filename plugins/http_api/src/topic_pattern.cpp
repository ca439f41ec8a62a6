// SPDX-License-Identifier: Apache-2.0
#include "topic_pattern.hpp"

#include <utility>

namespace ephor::http_api {
namespace {

constexpr std::size_t kPatternSizeMax = 256;

// The first token, and what follows its dot.
std::pair<std::string_view, std::string_view> cut(std::string_view text) {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return {text, {}};
  return {text.substr(0, dot), text.substr(dot + 1)};
}

}  // namespace

bool is_topic_pattern(std::string_view pattern) {
  if (pattern.empty() || pattern.size() > kPatternSizeMax || pattern.back() == '.') return false;
  while (!pattern.empty()) {
    const auto [token, rest] = cut(pattern);
    if (token.empty() || (token == ">" && !rest.empty())) return false;
    for (const char character : token) {
      const bool is_wildcard = character == '*' || character == '>';
      if (is_wildcard && token.size() > 1) return false;
      if (static_cast<unsigned char>(character) <= ' ' || character == 0x7F) return false;
    }
    pattern = rest;
  }
  return true;
}

bool topic_matches(std::string_view pattern, std::string_view topic) {
  while (!pattern.empty()) {
    const auto [wanted, pattern_rest] = cut(pattern);
    if (topic.empty()) return false;
    if (wanted == ">") return true;
    const auto [token, topic_rest] = cut(topic);
    if (wanted != "*" && wanted != token) return false;
    pattern = pattern_rest;
    topic = topic_rest;
  }
  return topic.empty();
}

}  // namespace ephor::http_api
