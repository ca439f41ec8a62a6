// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "bus/topic_filter.hpp"
#include "event/error.hpp"
#include "support/catch.hpp"

using namespace ephor::host;

namespace {

// A second implementation: backtracking over token lists.
std::vector<std::string> tokens_of(const std::string& text) {
  std::vector<std::string> tokens(1);
  for (const char letter : text) {
    if (letter == '.') {
      tokens.emplace_back();
    } else {
      tokens.back() += letter;
    }
  }
  return tokens;
}

bool matches_by_tokens(const std::string& pattern, const std::string& topic) {
  const auto wanted = tokens_of(pattern);
  const auto found = tokens_of(topic);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == ">") return found.size() > i;
    if (i >= found.size() || (wanted[i] != "*" && wanted[i] != found[i])) return false;
  }
  return wanted.size() == found.size();
}

std::string error_of(const std::string& pattern) {
  try {
    check_topic_pattern(pattern);
  } catch (const HostError& error) {
    CHECK(error.status() == EPHOR_INVALID);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("topic filter: wildcards as NATS documents them", "[unit][bus]") {
  CHECK(topic_matches("time.us", "time.us"));
  CHECK_FALSE(topic_matches("time.us", "time.us.east"));
  CHECK(topic_matches("time.*.east", "time.us.east"));
  CHECK_FALSE(topic_matches("time.*.east", "time.us.central.east"));
  CHECK(topic_matches("time.us.>", "time.us.east"));
  CHECK(topic_matches("time.us.>", "time.us.east.atlanta"));
  CHECK_FALSE(topic_matches("time.us.>", "time.us"));
  CHECK(topic_matches("*.*.east.>", "time.us.east.atlanta"));
  CHECK(topic_matches(">", "time"));
  CHECK_FALSE(topic_matches("*", "time.us"));
}

TEST_CASE("topic filter: agrees with a second implementation on all short cases", "[unit][bus]") {
  const std::vector<std::string> topics = {"a",  "b",     "a.a",   "a.b",   "b.a",
                                           "ab", "a.b.a", "a.b.b", "b.b.b", "a.b.a.b"};
  std::vector<std::string> patterns;
  const std::vector<std::string> parts = {"a", "b", "*", ">"};
  for (const auto& first : parts) {
    patterns.push_back(first);
    if (first == ">") continue;
    for (const auto& second : parts) {
      patterns.push_back(first + "." + second);
      if (second == ">") continue;
      for (const auto& third : parts) patterns.push_back(first + "." + second + "." + third);
    }
  }
  Interner names(1000);
  for (const auto& pattern : patterns) {
    TopicFilter filter(names, {pattern});
    for (int round = 0; round < 2; ++round) {  // the second round answers from what is known
      for (const auto& topic : topics) {
        INFO(pattern << " on " << topic);
        CHECK(filter.matches(static_cast<std::uint16_t>(names.id(topic))) ==
              matches_by_tokens(pattern, topic));
      }
    }
  }
}

TEST_CASE("topic filter: several patterns, topics that come later, none, all", "[unit][bus]") {
  Interner names(100);
  TopicFilter filter(names, {"ephor.span", "app.>"});
  const auto number = [&](const char* name) { return static_cast<std::uint16_t>(names.id(name)); };
  CHECK(filter.matches(number("ephor.span")));
  CHECK_FALSE(filter.matches(number("ephor.metric")));
  const auto unborn = static_cast<std::uint16_t>(names.count());
  CHECK_FALSE(filter.matches(unborn));
  CHECK(number("app.order.new") == unborn);
  CHECK(filter.matches(unborn));
  CHECK_FALSE(filter.matches_all());

  TopicFilter nothing(names, {});
  CHECK_FALSE(nothing.matches(number("ephor.span")));
  CHECK(TopicFilter(names, {"x", ">"}).matches_all());
  TopicFilter everything;
  CHECK(everything.matches(12345));
}

TEST_CASE("topic filter: a bad pattern names itself and what is wrong", "[unit][bus]") {
  CHECK(error_of("a.*.b.>").empty());
  CHECK(error_of("") == "topic pattern \"\": is empty, expected a topic or '>' for all");
  for (const char* pattern : {".a", "a.", "a..b", "."}) {
    INFO(pattern);
    CHECK(error_of(pattern).find("is empty") != std::string::npos);
    CHECK(error_of(pattern).find(std::string("\"") + pattern + "\"") != std::string::npos);
  }
  CHECK(error_of("a.>.b").find("token 2 is '>', which may only be the last one") !=
        std::string::npos);
  CHECK(error_of("a.b*").find("wildcard must be a whole token") != std::string::npos);
  CHECK(error_of("a b").find("blank") != std::string::npos);
  Interner names(10);
  CHECK_THROWS_AS(TopicFilter(names, {"fine", "a..b"}), HostError);
}
