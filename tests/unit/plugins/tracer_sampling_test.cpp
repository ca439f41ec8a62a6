// SPDX-License-Identifier: Apache-2.0
//
// Each policy of tail sampling with planted traces: which must be kept is known beforehand.
#include "sampling.hpp"

#include <cmath>
#include <ephor/text_hash.hpp>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "trace_store.hpp"

using namespace ephor::tracer;

namespace {

TraceId trace_number(std::uint64_t number) {
  std::mt19937_64 random(number + 1);
  TraceId id{};
  for (std::uint8_t& byte : id) byte = static_cast<std::uint8_t>(random());
  return id;
}

SamplingSettings only(double baseline) {
  SamplingSettings settings;
  settings.is_tail = true;
  settings.baseline_rate = baseline;
  settings.keeps_errors = false;
  settings.slow_factor = 0.0;
  settings.rare_path_below = 0;
  settings.keeps_losing_trades = false;
  settings.linger_ns = 10'000'000'000;
  return settings;
}

struct Run {
  explicit Run(const SamplingSettings& settings) : sampler(settings) {}

  TailSpan span(std::uint64_t trace, std::string_view operation = "o",
                std::int64_t duration_ns = 1'000'000) const {
    TailSpan out;
    out.trace = trace;
    out.id = trace_number(trace);
    out.service = "s";
    out.component = "c";
    out.operation = operation;
    out.time_ns = now_ns;
    out.duration_ns = duration_ns;
    return out;
  }
  void add(const TailSpan& span) {
    sampler.add(span);
    sampler.take_decided([&](const TailSampler::Decision& one) { decided[one.trace] = one; });
  }
  void finish() {
    sampler.take_all([&](const TailSampler::Decision& one) { decided[one.trace] = one; });
  }
  bool is_kept(std::uint64_t trace) const { return decided.at(trace).verdict == Verdict::kept; }

  TailSampler sampler;
  std::map<std::uint64_t, TailSampler::Decision> decided;
  std::int64_t now_ns = 1'700'000'000'000'000'000;
};

}  // namespace

TEST_CASE("tail sampling: all failed traces are kept, and the baseline share of the others",
          "[unit][tracing]") {
  SamplingSettings settings = only(0.05);
  settings.keeps_errors = true;
  Run run(settings);
  constexpr std::uint64_t kTraces = 20'000;
  for (std::uint64_t trace = 0; trace < kTraces; ++trace) {
    run.now_ns += 1'000'000;
    run.add(run.span(trace));
    TailSpan second = run.span(trace, "inner");
    second.is_error = trace % 50 == 7;
    run.add(second);
  }
  run.finish();
  REQUIRE(run.decided.size() == kTraces);
  std::uint64_t others = 0;
  for (std::uint64_t trace = 0; trace < kTraces; ++trace) {
    const TailSampler::Decision& one = run.decided.at(trace);
    if (trace % 50 == 7) {
      REQUIRE(one.reason == Reason::error);
    } else {
      // The share is consistent by trace id: every sampler with the rate keeps the same.
      REQUIRE(run.is_kept(trace) == is_sampled(trace_number(trace), 0.05));
      others += run.is_kept(trace) ? 1 : 0;
    }
  }
  REQUIRE(run.sampler.count(Reason::error) == kTraces / 50);
  REQUIRE(run.sampler.count(Reason::baseline) == others);
  const double share = static_cast<double>(others) / (kTraces * 0.98);
  REQUIRE(std::abs(share - 0.05) < 5 * std::sqrt(0.05 * 0.95 / kTraces));
}

TEST_CASE("tail sampling: a trace is decided when it has rested, not before", "[unit][tracing]") {
  Run run(only(1.0));
  run.add(run.span(1));
  run.now_ns += 9'000'000'000;
  run.add(run.span(1));
  run.now_ns += 9'000'000'000;
  run.add(run.span(2));
  REQUIRE(run.decided.empty());
  REQUIRE(run.sampler.is_open(1));
  run.now_ns += 2'000'000'000;
  run.add(run.span(3));
  REQUIRE(run.decided.size() == 1);
  REQUIRE(run.is_kept(1));
  REQUIRE_FALSE(run.sampler.is_open(1));
}

TEST_CASE("tail sampling: slow is what is beyond its own operation's p99", "[unit][tracing]") {
  SamplingSettings settings = only(0.0);
  settings.slow_factor = 2.0;
  settings.slow_spans_min = 100;
  Run run(settings);
  std::mt19937_64 random(1);
  std::uint64_t trace = 0;
  // "fast" takes 1 to 2 ms, "long" 100 to 200 ms: p99 near 2 and 200.
  for (int i = 0; i < 2000; ++i) {
    run.now_ns += 100'000'000;
    run.add(run.span(trace++, "fast", 1'000'000 + static_cast<std::int64_t>(random() % 1'000'000)));
    run.add(
        run.span(trace++, "long", 100'000'000 + static_cast<std::int64_t>(random() % 100'000'000)));
  }
  const std::uint64_t slow = trace++;
  run.add(run.span(slow, "fast", 10'000'000));
  const std::uint64_t usual = trace++;
  run.add(run.span(usual, "long", 150'000'000));
  const std::uint64_t failed = trace++;
  TailSpan broken = run.span(failed, "fast", 10'000'000);
  broken.is_error = true;  // a timeout is no slow answer
  run.add(broken);
  run.finish();
  REQUIRE(run.decided.at(slow).reason == Reason::slow);
  REQUIRE_FALSE(run.is_kept(usual));
  REQUIRE_FALSE(run.is_kept(failed));
  REQUIRE(run.sampler.count(Reason::slow) == 1);
}

TEST_CASE("tail sampling: slow traces do not become the measure of slow", "[unit][tracing]") {
  SamplingSettings settings = only(0.0);
  settings.slow_factor = 1.5;
  settings.slow_spans_min = 200;
  Run run(settings);
  std::uint64_t planted = 0;
  // Three in a hundred are slow, from the first span on; those behind the first 200 are all kept.
  for (std::uint64_t trace = 0; trace < 5000; ++trace) {
    run.now_ns += 1'000'000;
    const bool is_slow = trace % 33 == 7;
    planted += is_slow && trace >= 200 ? 1 : 0;
    run.add(run.span(trace, "o", is_slow ? 300'000'000 : 2'000'000 + trace % 9 * 10'000));
  }
  // Then everything is: the new normal is not slow for ever.
  for (std::uint64_t trace = 5000; trace < 20'000; ++trace) {
    run.now_ns += 1'000'000;
    run.add(run.span(trace, "o", 300'000'000));
  }
  run.finish();
  std::uint64_t kept_first = 0;
  std::uint64_t kept_last = 0;
  for (const auto& [trace, one] : run.decided) {
    if (one.verdict != Verdict::kept) continue;
    kept_first += trace < 5000 ? 1 : 0;
    kept_last += trace >= 15'000 ? 1 : 0;
    if (trace < 5000) REQUIRE(trace % 33 == 7);
  }
  REQUIRE(kept_first == planted);
  REQUIRE(kept_last == 0);
}

TEST_CASE("tail sampling: the first traces of every path are kept", "[unit][tracing]") {
  SamplingSettings settings = only(0.0);
  settings.rare_path_below = 3;
  Run run(settings);
  for (std::uint64_t trace = 0; trace < 600; ++trace) {
    run.now_ns += 1'000'000;
    run.add(run.span(trace, "a"));
    // Order and repetition make no other path; every hundredth goes another way.
    run.add(run.span(trace, trace % 2 == 0 ? "b" : "a"));
    run.add(run.span(trace, trace % 2 == 0 ? "a" : "b"));
    if (trace % 100 == 50) run.add(run.span(trace, "c"));
  }
  run.finish();
  std::vector<std::uint64_t> kept;
  for (const auto& [trace, one] : run.decided) {
    if (one.verdict == Verdict::kept) kept.push_back(trace);
  }
  REQUIRE(kept == std::vector<std::uint64_t>{0, 1, 2, 50, 150, 250});
}

TEST_CASE("tail sampling: rules give their traces another share", "[unit][tracing]") {
  SamplingSettings settings = only(0.0);
  settings.rates = {
      {"", "", "pay", "", 1.0}, {"s", "", "", "BTCUSDT", 0.5}, {"", "", "pay", "", 0.1}};
  Run run(settings);
  std::size_t bitcoin = 0;
  for (std::uint64_t trace = 0; trace < 3000; ++trace) {
    TailSpan span = run.span(trace, trace % 3 == 0 ? "pay" : "browse");
    if (trace % 3 == 1) span.symbol = "BTCUSDT";
    run.add(span);
  }
  run.finish();
  for (std::uint64_t trace = 0; trace < 3000; ++trace) {
    if (trace % 3 == 0) REQUIRE(run.is_kept(trace));
    if (trace % 3 == 1) {
      REQUIRE(run.is_kept(trace) == is_sampled(trace_number(trace), 0.5));
      bitcoin += run.is_kept(trace) ? 1 : 0;
    }
    if (trace % 3 == 2) REQUIRE_FALSE(run.is_kept(trace));
  }
  REQUIRE(bitcoin > 400);
}

TEST_CASE("tail sampling: traces of losing trades, known before or while they are open",
          "[unit][tracing]") {
  SamplingSettings settings = only(0.0);
  settings.keeps_losing_trades = true;
  Run run(settings);
  const std::uint64_t decision_1 = ephor::hash64("decision-1");
  const std::uint64_t decision_2 = ephor::hash64("decision-2");
  TailSpan open = run.span(1);
  open.id_hashes = {decision_1};
  run.add(open);
  run.sampler.add_losing_ids({decision_1, decision_2});
  TailSpan later = run.span(2);
  later.id_hashes = {ephor::hash64("other"), decision_2};
  run.add(later);
  run.add(run.span(3));
  run.finish();
  REQUIRE(run.decided.at(1).reason == Reason::losing_trade);
  REQUIRE(run.decided.at(2).reason == Reason::losing_trade);
  REQUIRE_FALSE(run.is_kept(3));
}

TEST_CASE("tail sampling: too many open spans decide early, and that is counted",
          "[unit][tracing]") {
  SamplingSettings settings = only(1.0);
  settings.open_spans_max = 100;
  Run run(settings);
  for (std::uint64_t trace = 0; trace < 500; ++trace) run.add(run.span(trace));
  REQUIRE(run.decided.size() == 400);
  REQUIRE(run.sampler.decided_early() == 400);
}

TEST_CASE("tail sampling: saved and read back anywhere, the decisions are the same",
          "[unit][tracing]") {
  SamplingSettings settings = only(0.1);
  settings.keeps_errors = true;
  settings.slow_factor = 1.5;
  settings.slow_spans_min = 50;
  settings.rare_path_below = 4;
  settings.keeps_losing_trades = true;
  const auto feed = [](Run& run, std::uint64_t trace) {
    std::mt19937_64 random(trace);
    run.now_ns += static_cast<std::int64_t>(random() % 500'000'000);
    for (int i = 0; i < 3; ++i) {
      const std::string operation = "o" + std::to_string(random() % 6);
      const std::uint64_t factor = random() % 50 == 0 ? 10 : 1;
      TailSpan span =
          run.span(trace, operation, static_cast<std::int64_t>(random() % 3'000'000 * factor));
      span.is_error = random() % 60 == 0;
      span.id_hashes = {random() % 300};
      run.add(span);
    }
    if (random() % 40 == 0) run.sampler.add_losing_ids({random() % 300});
  };
  Run whole(settings);
  for (std::uint64_t trace = 0; trace < 1500; ++trace) feed(whole, trace);
  whole.finish();
  REQUIRE(whole.sampler.count(Reason::slow) > 0);
  REQUIRE(whole.sampler.count(Reason::losing_trade) > 0);
  REQUIRE(whole.sampler.count(Reason::rare_path) > 0);

  std::map<std::uint64_t, TailSampler::Decision> decided;
  std::string state;
  std::int64_t now_ns = Run(settings).now_ns;
  for (std::uint64_t first = 0; first < 1500; first += 100) {
    Run part(settings);
    part.now_ns = now_ns;
    if (!state.empty()) {
      REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { part.sampler.read(in); }));
    }
    for (std::uint64_t trace = first; trace < first + 100; ++trace) feed(part, trace);
    if (first == 1400) part.finish();
    for (const auto& [trace, one] : part.decided) decided[trace] = one;
    state.clear();
    ephor::StateWriter out(state);
    part.sampler.write(out);
    now_ns = part.now_ns;
  }
  REQUIRE(decided.size() == whole.decided.size());
  for (const auto& [trace, one] : whole.decided) {
    REQUIRE(decided.at(trace).verdict == one.verdict);
    REQUIRE(decided.at(trace).reason == one.reason);
  }
}
