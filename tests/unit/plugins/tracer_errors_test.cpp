// SPDX-License-Identifier: Apache-2.0
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "error_groups.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;

TEST_CASE("errors: what varies in a message is replaced", "[unit][tracing]") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"limit service timeout after 250 ms", "limit service timeout after <n> ms"},
      {"timeout after 12.5ms", "timeout after <n>ms"},
      {"balance -3.2e-5 below 1,000.50", "balance <n> below <n>"},
      {"order 7f3a9c01deadbeef rejected", "order <id> rejected"},
      {"id 550e8400-e29b-41d4-a716-446655440000 unknown", "id <id> unknown"},
      {"at 0xFF00", "at <id>"},
      {"no symbol 'BTC USDT' here", "no symbol <text> here"},
      {"key \"a\" missing", "key <text> missing"},
      {"can't connect, won't retry", "can't connect, won't retry"},
      {"trade_1510037220_3026 failed", "trade_<n>_<n> failed"},
      {"model v2 and ema20 stay", "model v2 and ema20 stay"},
      {"effaced facade decade", "effaced facade decade"},
      {"  two\n\tlines  ", "two lines"},
      {"", ""},
  };
  for (const auto& [message, expected] : cases) {
    INFO(message);
    REQUIRE(normalise_message(message) == expected);
  }
  REQUIRE(normalise_message(std::string(100'000, 'x')).size() <= 310);
}

TEST_CASE("errors: one group per component, operation and pattern", "[unit][tracing]") {
  ErrorGroups errors(10);
  errors.add("risk", "check", "timeout after 250 ms", 200, "aa");
  errors.add("risk", "check", "timeout after 90 ms", 100, "bb");
  errors.add("risk", "size", "timeout after 90 ms", 300, "cc");
  REQUIRE(errors.total() == 3);
  REQUIRE(errors.groups().size() == 2);
  for (const auto& [fingerprint, group] : errors.groups()) {
    if (group.operation != "check") continue;
    REQUIRE(group.count == 2);
    REQUIRE(group.first_seen_ns == 100);
    REQUIRE(group.last_seen_ns == 200);
    REQUIRE(group.messages ==
            std::vector<std::string>{"timeout after 250 ms", "timeout after 90 ms"});
    REQUIRE(group.trace_ids == std::vector<std::string>{"aa", "bb"});
  }
}

TEST_CASE("errors: samples and groups are bounded and what has no group is counted",
          "[unit][tracing]") {
  ErrorGroups errors(2);
  for (int i = 0; i < 100; ++i) {
    errors.add("c", "o", "failed with " + std::to_string(i), i, std::to_string(i));
  }
  errors.add("c", "o", "other", 1, "");
  errors.add("c", "o", "third", 1, "");
  REQUIRE(errors.groups().size() == 2);
  REQUIRE(errors.ungrouped() == 1);
  REQUIRE(errors.total() == 102);
  const ErrorGroup& group = errors.groups().begin()->second.count == 100
                                ? errors.groups().begin()->second
                                : std::next(errors.groups().begin())->second;
  REQUIRE(group.messages.size() == ErrorGroups::kMessagesMax);
  REQUIRE(group.trace_ids == std::vector<std::string>{"95", "96", "97", "98", "99"});

  std::string state;
  ephor::StateWriter out(state);
  errors.write(out);
  ErrorGroups read(2);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  std::string again;
  ephor::StateWriter out_again(again);
  read.write(out_again);
  REQUIRE(again == state);
}
