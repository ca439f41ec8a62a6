// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "red_table.hpp"
#include "support/catch.hpp"

namespace {

using namespace ephor::tracer;

constexpr std::int64_t kMinute = 60'000'000'000;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

struct Call {
  std::string component;
  std::string operation;
  std::int64_t time_ns;
  std::int64_t duration_ns;
  bool is_error;
};

std::vector<Call> calls(std::size_t count, std::int64_t span_ns, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<Call> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back({"c" + std::to_string(random() % 3), "o" + std::to_string(random() % 4),
                   1'700'000'000'000'000'000 + static_cast<std::int64_t>(random() % span_ns),
                   static_cast<std::int64_t>(random() % 1'000'000'000), random() % 10 == 0});
  }
  return out;
}

RedTable table_of(const std::vector<Call>& all, std::size_t operations_max = 256) {
  RedTable table(operations_max);
  for (const Call& call : all) {
    table.add(call.component, call.operation, call.time_ns, call.duration_ns, call.is_error);
  }
  return table;
}

void require_same(const RedAnswer& a, const RedAnswer& b) {
  REQUIRE(a.from_ns == b.from_ns);
  REQUIRE(a.to_ns == b.to_ns);
  REQUIRE(a.operations.size() == b.operations.size());
  for (std::size_t i = 0; i < a.operations.size(); ++i) {
    REQUIRE(a.operations[i].component == b.operations[i].component);
    REQUIRE(a.operations[i].operation == b.operations[i].operation);
    REQUIRE(a.operations[i].cell.count == b.operations[i].cell.count);
    REQUIRE(a.operations[i].cell.errors == b.operations[i].cell.errors);
    REQUIRE(a.operations[i].cell.duration_sum_ns == b.operations[i].cell.duration_sum_ns);
    REQUIRE(a.operations[i].cell.durations_ns == b.operations[i].cell.durations_ns);
  }
  REQUIRE(a.windows.size() == b.windows.size());
  for (std::size_t i = 0; i < a.windows.size(); ++i) {
    REQUIRE(a.windows[i].from_ns == b.windows[i].from_ns);
    REQUIRE(a.windows[i].cell.count == b.windows[i].cell.count);
    REQUIRE(a.windows[i].cell.durations_ns == b.windows[i].cell.durations_ns);
  }
}

}  // namespace

TEST_CASE("red: counts and errors per operation are exact", "[unit][tracing]") {
  const std::vector<Call> all = calls(5000, 2 * kHour, 1);
  std::map<std::pair<std::string, std::string>, std::pair<std::uint64_t, std::uint64_t>> expected;
  for (const Call& call : all) {
    auto& [count, errors] = expected[{call.component, call.operation}];
    ++count;
    errors += call.is_error ? 1 : 0;
  }
  const RedAnswer answer = table_of(all).ask({});
  REQUIRE(answer.operations.size() == expected.size());
  for (const RedRow& row : answer.operations) {
    const auto& [count, errors] = expected.at({row.component, row.operation});
    REQUIRE(row.cell.count == count);
    REQUIRE(row.cell.errors == errors);
  }
}

TEST_CASE("red: windows hold what happened in them", "[unit][tracing]") {
  const std::vector<Call> all = calls(5000, 90 * kMinute, 2);
  const RedTable table = table_of(all);
  RedFilter filter;
  filter.from_ns = 1'700'000'000'000'000'000 + 20 * kMinute;
  filter.to_ns = *filter.from_ns + 30 * kMinute;
  filter.window_ns = 5 * kMinute;
  const RedAnswer answer = table.ask(filter);
  REQUIRE(answer.resolution_ns == kMinute);
  REQUIRE(*answer.from_ns <= *filter.from_ns);
  REQUIRE(*filter.from_ns - *answer.from_ns < kMinute);
  REQUIRE(*answer.to_ns - *filter.to_ns < kMinute);
  std::map<std::int64_t, std::uint64_t> expected;
  std::uint64_t total = 0;
  for (const Call& call : all) {
    if (call.time_ns < *answer.from_ns || call.time_ns >= *answer.to_ns) continue;
    ++expected[call.time_ns / (5 * kMinute) * (5 * kMinute)];
    ++total;
  }
  REQUIRE(answer.windows.size() == expected.size());
  std::uint64_t found = 0;
  for (const RedPoint& point : answer.windows) {
    REQUIRE(point.cell.count == expected.at(point.from_ns));
    found += point.cell.count;
  }
  REQUIRE(found == total);
}

TEST_CASE("red: answers do not depend on the order of arrival", "[unit][tracing]") {
  std::vector<Call> all = calls(4000, 100 * kDay, 3);  // more than any ring holds
  const RedTable table = table_of(all);
  std::mt19937_64 random(4);
  for (int round = 0; round < 3; ++round) {
    std::shuffle(all.begin(), all.end(), random);
    const RedTable other = table_of(all);
    for (const std::int64_t window_ns : {std::int64_t{0}, kMinute, kHour, kDay}) {
      RedFilter filter;
      if (window_ns != 0) filter.window_ns = window_ns;
      require_same(table.ask(filter), other.ask(filter));
    }
  }
}

TEST_CASE("red: a start behind the rings moves to where they begin", "[unit][tracing]") {
  const RedTable table = table_of(calls(4000, 200 * kDay, 5));
  RedFilter filter;
  filter.from_ns = 0;
  const RedAnswer answer = table.ask(filter);
  REQUIRE(answer.resolution_ns == kDay);
  REQUIRE((*answer.to_ns - *answer.from_ns) / kDay == RedTable::kRings[2].capacity);
}

TEST_CASE("red: windows that cannot be given are refused", "[unit][tracing]") {
  const RedTable table = table_of(calls(10, kHour, 6));
  RedFilter filter;
  filter.window_ns = kMinute / 2;
  REQUIRE_THROWS_AS(table.ask(filter), ephor::Error);
  filter.window_ns = -kMinute;
  REQUIRE_THROWS_AS(table.ask(filter), ephor::Error);
  REQUIRE(RedTable(4).ask({}).operations.empty());
}

TEST_CASE("red: operations beyond the bound share one", "[unit][tracing]") {
  const RedTable table = table_of(calls(1000, kHour, 7), 5);
  const RedAnswer answer = table.ask({});
  REQUIRE(answer.operations.size() == 5);
  REQUIRE(answer.operations.front().component == "(other)");
  std::uint64_t count = 0;
  for (const RedRow& row : answer.operations) count += row.cell.count;
  REQUIRE(count == 1000);
}

TEST_CASE("red: its state comes back, and damaged ones are refused", "[unit][tracing]") {
  const RedTable table = table_of(calls(3000, 3 * kDay, 8));
  std::string state;
  ephor::StateWriter out(state);
  table.write(out);
  RedTable read(256);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  RedFilter filter;
  filter.window_ns = kHour;
  require_same(read.ask(filter), table.ask(filter));
  require_same(read.ask({}), table.ask({}));
  std::mt19937_64 random(9);
  for (int i = 0; i < 300; ++i) {
    std::string damaged = state;
    for (int j = 0; j < 3; ++j) damaged[random() % damaged.size()] = static_cast<char>(random());
    RedTable other(256);
    ephor::read_state(damaged, [&](ephor::StateReader& in) { other.read(in); });  // must return
  }
}
