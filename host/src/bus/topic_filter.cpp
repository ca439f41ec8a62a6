// SPDX-License-Identifier: Apache-2.0
#include "bus/topic_filter.hpp"

#include <algorithm>
#include <utility>

#include "event/error.hpp"

namespace ephor::host {
namespace {

// Takes the first token off `rest`; `rest` is empty after the last one.
std::string_view take_token(std::string_view& rest) {
  const std::size_t dot = rest.find('.');
  const std::string_view token = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  return token;
}

[[noreturn]] void refuse(std::string_view pattern, const std::string& found) {
  std::string shown(pattern);
  for (char& letter : shown) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == '\x7f') letter = '?';
  }
  throw HostError(EPHOR_INVALID, "topic pattern \"" + shown + "\": " + found);
}

void check_token(std::string_view pattern, std::string_view token, std::size_t number,
                 bool is_last) {
  const std::string where = "token " + std::to_string(number);
  if (token.empty()) {
    refuse(pattern, where + " is empty, expected text, '*' or '>' between the dots");
  }
  if (token == "*") return;
  if (token == ">") {
    if (!is_last) refuse(pattern, where + " is '>', which may only be the last one");
    return;
  }
  for (const char letter : token) {
    if (letter == '*' || letter == '>') {
      refuse(pattern,
             where + " is \"" + std::string(token) + "\", but a wildcard must be a whole token");
    }
    if (static_cast<unsigned char>(letter) <= ' ' || letter == '\x7f') {
      refuse(pattern, where + " holds a blank or control character");
    }
  }
}

}  // namespace

void check_topic_pattern(std::string_view pattern) {
  if (pattern.empty()) refuse(pattern, "is empty, expected a topic or '>' for all");
  std::size_t number = 1;
  for (std::size_t begin = 0;; ++number) {
    const std::size_t dot = pattern.find('.', begin);
    const bool is_last = dot == std::string_view::npos;
    check_token(pattern, pattern.substr(begin, is_last ? dot : dot - begin), number, is_last);
    if (is_last) return;
    begin = dot + 1;
  }
}

bool topic_matches(std::string_view pattern, std::string_view topic) {
  while (!pattern.empty()) {
    if (pattern == ">") return !topic.empty();
    if (topic.empty()) return false;
    const std::string_view wanted = take_token(pattern);
    const std::string_view found = take_token(topic);
    if (wanted != "*" && wanted != found) return false;
  }
  return topic.empty();
}

TopicFilter::TopicFilter(const Interner& topics, std::vector<std::string> patterns)
    : topics_(&topics), patterns_(std::move(patterns)) {
  for (const std::string& pattern : patterns_) check_topic_pattern(pattern);
  matches_all_ = std::find(patterns_.begin(), patterns_.end(), ">") != patterns_.end();
}

bool TopicFilter::resolve(std::uint16_t topic) {
  const std::string_view name = topics_->name(topic);
  const bool is_match =
      std::any_of(patterns_.begin(), patterns_.end(),
                  [name](const std::string& pattern) { return topic_matches(pattern, name); });
  // A number without a name yet keeps no verdict: it may get its name later.
  if (topic < topics_->count()) {
    if (topic >= verdicts_.size()) verdicts_.resize(std::max<std::size_t>(topic + 1, 64), kUnknown);
    verdicts_[topic] = is_match ? kMatches : kFails;
  }
  return is_match;
}

}  // namespace ephor::host
