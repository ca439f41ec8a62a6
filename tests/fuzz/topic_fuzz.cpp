// SPDX-License-Identifier: Apache-2.0
//
// Topic patterns, as they come from subscriptions, `ephor tap` and the WebSocket. Input:
// "pattern\ntopic". The verdict is compared with that of a second, plain way of matching.
#include <vector>

#include "bus/topic_filter.hpp"
#include "event/error.hpp"
#include "event/interner.hpp"
#include "fuzz.hpp"

namespace {

using namespace ephor::host;

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<std::string> tokens(1);
  for (const char letter : text) {
    if (letter == '.')
      tokens.emplace_back();
    else
      tokens.back() += letter;
  }
  return tokens;
}

bool is_good_pattern(const std::vector<std::string>& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& token = tokens[i];
    if (token.empty() || (token == ">" && i + 1 != tokens.size())) return false;
    if (token == ">" || token == "*") continue;
    for (const char letter : token) {
      const auto code = static_cast<unsigned char>(letter);
      if (code <= 32 || code == 127 || letter == '*' || letter == '>') return false;
    }
  }
  return true;
}

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& topic) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (i >= topic.size()) return false;
    if (pattern[i] == ">") return true;
    if (pattern[i] != "*" && pattern[i] != topic[i]) return false;
  }
  return pattern.size() == topic.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ephor::fuzz::Input input(data, size);
  const std::string_view pattern = input.text_until('\n');
  const std::string_view topic = input.rest();
  const std::vector<std::string> pattern_tokens = tokens_of(pattern);
  const std::vector<std::string> topic_tokens = tokens_of(topic);
  bool is_taken = true;
  try {
    check_topic_pattern(pattern);
  } catch (const HostError& error) {
    is_taken = false;
    EPHOR_PROMISE(std::string_view(error.what()).size() > pattern.size(), "an error has a reason");
  }
  EPHOR_PROMISE(is_taken == is_good_pattern(pattern_tokens), "the grammar is the same");
  // What the door lets in is a topic: its tokens are like a pattern's, without wildcards.
  const bool is_topic =
      is_good_pattern(topic_tokens) && topic.find_first_of("*>") == std::string_view::npos;
  if (!is_taken || !is_topic) return 0;
  const bool expected = matches(pattern_tokens, topic_tokens);
  EPHOR_PROMISE(topic_matches(pattern, topic) == expected, "the verdict is the same");
  Interner topics(100);
  TopicFilter filter(topics, {std::string(pattern)});
  const auto number = static_cast<std::uint16_t>(topics.id(topic));
  for (int i = 0; i < 2; ++i) {  // worked out, and remembered
    EPHOR_PROMISE(filter.matches(number) == expected, "the filter's verdict is the same");
  }
  return 0;
}
