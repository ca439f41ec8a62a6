// SPDX-License-Identifier: Apache-2.0
#include <ephor/findings.hpp>
#include <ephor/testing/fake_host.hpp>
#include <string>

#include "support/catch.hpp"

using ephor::Finding;
using ephor::Findings;
using ephor::Json;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

Finding slow(const std::string& target, std::int64_t onset_s) {
  Finding finding;
  finding.kind = "latency_regression";
  finding.target = target;
  finding.target_kind = "operation";
  finding.severity = "warning";
  finding.summary = target + " takes 6.0 times as long";
  finding.evidence = {{"factor", 6.0}};
  finding.onset_ns = onset_s * kSecond;
  finding.detected_ns = (onset_s + 60) * kSecond;
  return finding;
}

// Opens a finding at the event "open", closes it at "close".
class Detector final : public ephor::Plugin {
 public:
  static constexpr std::string_view kVersion = "1.0.0";
  static constexpr std::string_view kSummary = "test";
  Detector(ephor::Host host, std::string_view)
      : host_(std::move(host)), findings_(host_.instance(), "ephor.finding", 10) {}
  void start() override { host_.subscribe({"open", "close"}); }
  void on_events(std::span<const ephor::Event> events) override {
    for (const ephor::Event& event : events) {
      if (event.topic == host_.topic_id("open")) {
        findings_.open(slow("a/b", 100));
      } else {
        findings_.close("latency_regression", "a/b", event.time_ns, "as fast as before");
      }
      findings_.publish(host_, event);
    }
  }

 private:
  ephor::Host host_;
  Findings findings_;
};

}  // namespace

TEST_CASE("findings: one of a kind and target is open at a time", "[unit][findings]") {
  Findings findings("tracer", "ephor.finding", 10);
  CHECK(findings.open(slow("a/b", 100)));
  CHECK_FALSE(findings.open(slow("a/b", 200)));
  CHECK(findings.open(slow("a/c", 150)));
  CHECK(findings.open_count() == 2);
  REQUIRE(findings.find_open("latency_regression", "a/b") != nullptr);
  CHECK(findings.find_open("error_burst", "a/b") == nullptr);
  findings.close("latency_regression", "a/b", 900 * kSecond, "over");
  findings.close("latency_regression", "a/b", 901 * kSecond, "twice does nothing");
  CHECK(findings.open_count() == 1);
  CHECK(findings.open(slow("a/b", 1000)));
  CHECK(findings.opened() == 3);
}

TEST_CASE("findings: the JSON is the one of docs/events.md", "[unit][findings]") {
  Findings findings("tracer", "ephor.finding", 10);
  findings.open(slow("a/b", 100));
  CHECK(findings.list() ==
        Json::array({{{"finding_id", "tracer:latency_regression:a/b:1970-01-01T00:01:40Z"},
                      {"kind", "latency_regression"},
                      {"target", "a/b"},
                      {"target_kind", "operation"},
                      {"state", "open"},
                      {"severity", "warning"},
                      {"onset", "1970-01-01T00:01:40Z"},
                      {"detected", "1970-01-01T00:02:40Z"},
                      {"closed", nullptr},
                      {"summary", "a/b takes 6.0 times as long"},
                      {"evidence", {{"factor", 6.0}}}}}));
  findings.close("latency_regression", "a/b", 300 * kSecond, "over");
  const Json closed = findings.list()[0];
  CHECK(closed["state"] == "closed");
  CHECK(closed["closed"] == "1970-01-01T00:05:00Z");
  CHECK(closed["finding_id"] == "tracer:latency_regression:a/b:1970-01-01T00:01:40Z");
  CHECK(closed["evidence"]["closed_because"] == "over");
}

TEST_CASE("findings: open ones come first, periods take those open in them", "[unit][findings]") {
  Findings findings("t", "ephor.finding", 10);
  findings.open(slow("one", 100));
  findings.open(slow("two", 200));
  findings.open(slow("three", 300));
  findings.close("latency_regression", "three", 400 * kSecond, "over");
  const auto targets = [](const Json& list) {
    std::string text;
    for (const Json& one : list) text += one["target"].get<std::string>() + " ";
    return text;
  };
  CHECK(targets(findings.list()) == "two one three ");
  CHECK(targets(findings.list(1, 1)) == "one ");
  CHECK(targets(findings.list(0, 9, 450 * kSecond, 500 * kSecond)) == "two one ");
  CHECK(targets(findings.list(0, 9, 0, 200 * kSecond)) == "one ");
  CHECK(targets(findings.list(0, 9, 350 * kSecond)) == "two one three ");
}

TEST_CASE("findings: the oldest closed one makes room, open ones stay", "[unit][findings]") {
  Findings findings("t", "ephor.finding", 2);
  findings.open(slow("one", 100));
  findings.open(slow("two", 200));
  CHECK_FALSE(findings.open(slow("three", 300)));
  CHECK(findings.not_opened() == 1);
  findings.close("latency_regression", "one", 400 * kSecond, "over");
  CHECK(findings.open(slow("three", 300)));
  CHECK(findings.all().size() == 2);
  CHECK(findings.find_open("latency_regression", "two") != nullptr);
}

TEST_CASE("findings: save and load bring the same answers, other bytes are refused",
          "[unit][findings]") {
  Findings findings("t", "ephor.finding", 5);
  findings.open(slow("one", 100));
  findings.open(slow("two", 200));
  findings.close("latency_regression", "one", 400 * kSecond, "over");
  std::string bytes;
  ephor::StateWriter out(bytes);
  findings.save(out);
  Findings loaded("t", "ephor.finding", 5);
  REQUIRE(ephor::read_state(bytes, [&](ephor::StateReader& in) { loaded.load(in); }));
  CHECK(loaded.list() == findings.list());
  CHECK(loaded.opened() == 2);
  CHECK_FALSE(loaded.has_news());
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    Findings other("t", "ephor.finding", 5);
    CHECK_FALSE(ephor::read_state(std::string_view(bytes).substr(0, cut),
                                  [&](ephor::StateReader& in) { other.load(in); }));
  }
}

TEST_CASE("findings: opening and closing are published with their causes", "[unit][findings]") {
  FakeHost host;
  host.load_plugin<Detector>("{}", "detector");
  host.deliver(CloudEvent{.topic = "open", .data_json = "{}", .time_ns = 160 * kSecond}.line());
  host.deliver(CloudEvent{.topic = "open", .data_json = "{}", .time_ns = 170 * kSecond}.line());
  host.deliver(CloudEvent{.topic = "close", .data_json = "{}", .time_ns = 300 * kSecond}.line());
  const auto published = host.published("ephor.finding");
  REQUIRE(published.size() == 2);
  const Json opened = Json::parse(published[0].data_json);
  const Json closed = Json::parse(published[1].data_json);
  CHECK(opened["state"] == "open");
  CHECK(closed["state"] == "closed");
  CHECK(opened["finding_id"] == closed["finding_id"]);
  CHECK(published[0].cause_sequence < published[1].cause_sequence);
}
