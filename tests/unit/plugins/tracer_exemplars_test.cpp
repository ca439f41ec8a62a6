// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "exemplars.hpp"
#include "service_graph.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;

namespace {

constexpr std::int64_t kMinute = 60'000'000'000;
constexpr std::int64_t kStart = 1'700'000'040'000'000'000;  // a whole minute

Exemplar exemplar(std::uint64_t trace) {
  Exemplar out;
  out.priority = trace * 0x9E3779B97F4A7C15ULL | 1;
  for (int i = 0; i < 8; ++i) out.trace_id[i] = static_cast<std::uint8_t>(trace >> 8 * i);
  out.trace_id[15] = 1;
  return out;
}

template <typename Thing>
std::string state_of(const Thing& thing) {
  std::string out;
  ephor::StateWriter writer(out);
  thing.write(writer);
  return out;
}

}  // namespace

TEST_CASE("exemplars: the smallest hashes of each bucket stay, whatever the order",
          "[unit][tracing]") {
  std::mt19937_64 random(1);
  std::vector<std::pair<std::uint16_t, Exemplar>> all;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const auto bin = static_cast<std::uint16_t>(40'000 + random() % 150);
    all.emplace_back(bin, exemplar(random() % 300));
  }
  std::map<int, std::set<std::uint64_t>> expected;
  for (const auto& [bin, one] : all) expected[bin / 16].insert(one.priority);
  for (int round = 0; round < 5; ++round) {
    std::shuffle(all.begin(), all.end(), random);
    Exemplars parts[3];
    for (const auto& [bin, one] : all) parts[random() % 3].add(bin, one);
    Exemplars merged;
    for (const Exemplars& part : parts) merged.merge(part);
    REQUIRE(merged.buckets().size() == expected.size());
    for (const auto& bucket : merged.buckets()) {
      const auto& wanted = expected.at(bucket.bucket);
      REQUIRE(bucket.count == std::min<std::size_t>(wanted.size(), Exemplars::kPerBucket));
      auto at = wanted.begin();
      for (std::size_t i = 0; i < bucket.count; ++i, ++at) {
        REQUIRE(bucket.traces[i].priority == *at);
      }
    }
    Exemplars read;
    const std::string state = state_of(merged);
    REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
    REQUIRE(state_of(read) == state);
  }
}

TEST_CASE("red table: exemplars of a window are of its spans, and weights add up to their number",
          "[unit][tracing]") {
  std::mt19937_64 random(2);
  RedTable table(16);
  std::map<std::uint64_t, std::pair<std::int64_t, std::int64_t>> spans;  // trace to time, duration
  for (std::uint64_t trace = 1; trace <= 3000; ++trace) {
    const std::int64_t time = kStart + static_cast<std::int64_t>(random() % (20 * kMinute));
    const std::int64_t duration = 1'000'000 + static_cast<std::int64_t>(random() % 9'000'000);
    spans[exemplar(trace).priority] = {time, duration};
    table.add("c", "o", time, duration, false, exemplar(trace));
  }
  RedFilter filter;
  filter.component = "c";
  filter.from_ns = kStart + 3 * kMinute;
  filter.to_ns = kStart + 9 * kMinute;
  double weight = 0;
  const auto sample = table.sample(filter);
  for (const SampledTrace& one : sample) {
    const auto& [time, duration] = spans.at(one.exemplar.priority);
    REQUIRE(time >= *filter.from_ns);
    REQUIRE(time < *filter.to_ns);
    REQUIRE(Exemplars::bucket_of(Sketch::bin_of(static_cast<double>(duration))) == one.bucket);
    weight += one.weight;
  }
  std::size_t in_window = 0;
  for (const auto& [priority, span] : spans) {
    in_window += span.first >= *filter.from_ns && span.first < *filter.to_ns ? 1 : 0;
  }
  REQUIRE(weight == Approx(static_cast<double>(in_window)));
  REQUIRE(table.ask(filter).operations.at(0).cell.count == in_window);
}

TEST_CASE("service graph: calls, failures and durations, against a count by hand",
          "[unit][tracing]") {
  std::mt19937_64 random(3);
  struct Sums {
    std::uint64_t count = 0;
    std::uint64_t errors = 0;
    std::uint64_t ns = 0;
  };
  std::map<std::pair<std::string, std::string>, Sums> services;
  std::map<std::pair<std::string, std::string>, Sums> operations;
  std::map<std::string, Sums> nodes;
  RedTable names(64);
  ServiceGraph graph({});
  std::uint64_t orphans = 0;
  for (int trace = 0; trace < 500; ++trace) {
    std::vector<OpenSpan> spans(1 + random() % 12);
    std::vector<std::string> service(spans.size());
    std::vector<std::string> operation(spans.size());
    std::vector<std::size_t> parent(spans.size(), 999);
    for (std::size_t i = 0; i < spans.size(); ++i) {
      OpenSpan& span = spans[i];
      service[i] = "s" + std::to_string(random() % 4);
      operation[i] = "o" + std::to_string(random() % 3);
      span.id = i + 1;
      span.start_ns = kStart + static_cast<std::int64_t>(random() % 1000);
      span.end_ns = span.start_ns + static_cast<std::int64_t>(random() % 5000);
      span.time_ns = span.end_ns;
      span.is_error = random() % 7 == 0;
      span.operation = names.add(service[i], operation[i], span.time_ns, 1, false);
      span.service = graph.add_span(
          service[i], span.time_ns, span.end_ns - span.start_ns,
          Sketch::bin_of(static_cast<double>(span.end_ns - span.start_ns)), span.is_error, {});
      const auto ns = static_cast<std::uint64_t>(span.end_ns - span.start_ns);
      Sums& node = nodes[service[i]];
      node = {node.count + 1, node.errors + (span.is_error ? 1 : 0), node.ns + ns};
      if (i == 0) continue;
      if (random() % 9 == 0) {
        span.parent = 1'000'000;
        ++orphans;
        continue;
      }
      parent[i] = random() % i;
      span.parent = parent[i] + 1;
      const auto count = [&](Sums& sums) {
        sums = {sums.count + 1, sums.errors + (span.is_error ? 1 : 0), sums.ns + ns};
      };
      count(operations[{edge_end(service[parent[i]], operation[parent[i]]),
                        edge_end(service[i], operation[i])}]);
      if (service[parent[i]] != service[i]) count(services[{service[parent[i]], service[i]}]);
    }
    std::shuffle(spans.begin(), spans.end(), random);
    std::vector<FinishedSpan> finished;
    finish_trace(spans, finished);
    graph.add_trace(finished, names);
  }
  const auto check = [](const RedTable& table, const auto& expected) {
    const auto rows = table.ask({}).operations;
    REQUIRE(rows.size() == expected.size());
    for (const RedRow& row : rows) {
      const Sums& sums = expected.at({row.component, row.operation});
      REQUIRE(row.cell.count == sums.count);
      REQUIRE(row.cell.errors == sums.errors);
      REQUIRE(row.cell.duration_sum_ns == sums.ns);
    }
  };
  check(graph.service_edges(), services);
  check(graph.operation_edges(), operations);
  std::map<std::pair<std::string, std::string>, Sums> by_name;
  for (const auto& [name, sums] : nodes) by_name[{name, ""}] = sums;
  check(graph.services(), by_name);
  REQUIRE(graph.spans_without_parent() == orphans);
  REQUIRE(names_of_end(edge_end("a/b", "c")) == std::pair<std::string, std::string>("a/b", "c"));
}

TEST_CASE("service graph: edges beyond the bound share one", "[unit][tracing]") {
  RedTable names(64);
  ServiceGraph graph({8, 3});
  for (int i = 0; i < 6; ++i) {
    std::vector<OpenSpan> spans(2);
    const std::string callee = "s" + std::to_string(i);
    for (std::size_t k = 0; k < 2; ++k) {
      spans[k].id = k + 1;
      spans[k].parent = k;
      spans[k].end_ns = 10;
      spans[k].operation = names.add(k == 0 ? "root" : callee, "o", kStart, 1, false);
      spans[k].service = graph.add_span(k == 0 ? "root" : callee, kStart, 10, 7, false, {});
    }
    std::vector<FinishedSpan> finished;
    finish_trace(spans, finished);
    graph.add_trace(finished, names);
  }
  std::uint64_t calls = 0;
  for (const RedRow& row : graph.service_edges().ask({}).operations) calls += row.cell.count;
  REQUIRE(graph.service_edges().ask({}).operations.size() == 3);
  REQUIRE(calls == 6);
}
