// SPDX-License-Identifier: Apache-2.0
//
// Findings of the plugin on a made-up market with planted faults: each is found once, names what
// was planted, lies in time, closes, and nothing else is found.
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ml_monitor_stream.hpp"
#include "support/catch.hpp"

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

using ephor::Json;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;
using namespace ephor::ml_monitor::testing;

namespace {

void load(FakeHost& host, std::string_view config = "{}") {
  host.load_plugin(*ephor_plugin_entry_v1(), config, "ml_monitor");
}
std::vector<Json> published(FakeHost& host, std::string_view topic) {
  std::vector<Json> out;
  for (const auto& event : host.published(topic)) out.push_back(Json::parse(event.data_json));
  return out;
}
std::vector<Json> findings_of(const StreamForm& form, std::string_view config = "{}") {
  FakeHost host;
  load(host, config);
  host.deliver(Stream(form).lines());
  return published(host, "ephor.drift");
}
std::int64_t time_in(const Json& finding, const char* name) {
  return *ephor::parse_time(finding[name].get<std::string>());
}

}  // namespace

TEST_CASE("findings: each fault is found once, in time, at its target, and closes", "[unit][ml]") {
  struct Case {
    Fault fault;
    const char* kind;
    const char* target;
  };
  const std::vector<Case> cases{{{"broken", 510, 750, 1}, "concept_drift", "m1"},
                                {{"overconfident", 510, 750, 2}, "overconfidence", "m2"},
                                {{"stale", 510, 750, 0}, "stale_output", "m0"},
                                {{"shifted", 510, 750, 0}, "feature_drift", "c"},
                                {{"missing", 510, 750, 0}, "missing_data", "c"}};
  for (const Case& one : cases) {
    for (const std::uint64_t seed : {1, 2, 3}) {
      CAPTURE(one.kind, seed);
      StreamForm form;
      form.decisions = 1'200;
      form.seed = seed;
      form.faults = {one.fault};
      const auto found = findings_of(form);
      REQUIRE(found.size() == 2);
      CHECK(found[0]["kind"] == one.kind);
      CHECK(found[0]["target"] == one.target);
      CHECK(found[0]["state"] == "open");
      CHECK(found[0]["closed"].is_null());
      CHECK(found[1]["state"] == "closed");
      CHECK(found[1]["finding_id"] == found[0]["finding_id"]);
      CHECK(found[0]["finding_id"] == std::string("ml_monitor:") + one.kind + ":" + one.target +
                                          ":" + found[0]["onset"].get<std::string>());
      const std::int64_t begin = Stream::time_of(one.fault.from);
      const std::int64_t end = Stream::time_of(one.fault.to);
      const std::int64_t block = 30 * Stream::kStepNs;
      CHECK(time_in(found[0], "onset") >= begin - 2 * block);
      CHECK(time_in(found[0], "onset") <= begin + 3 * block);
      CHECK(time_in(found[0], "detected") > begin);
      CHECK(time_in(found[0], "detected") <= begin + 6 * block);
      CHECK(time_in(found[1], "closed") >= end - block);
      CHECK(time_in(found[1], "closed") <= end + 8 * block);
    }
  }
}

TEST_CASE("findings: none where nothing is wrong, or where all models suffer", "[unit][ml]") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    StreamForm form;
    form.decisions = 1'500;
    form.seed = seed;
    CHECK(findings_of(form).empty());
    form.faults = {{"hard", 600, 1'200, 0}};
    for (const Json& finding : findings_of(form)) CHECK(finding["kind"] == "");
  }
}

TEST_CASE("findings: a model without peers is watched by its own errors", "[unit][ml]") {
  StreamForm form;
  form.decisions = 1'800;
  form.models = 1;
  form.faults = {{"broken", 900, 1'800, 0}};
  const auto found = findings_of(form);
  REQUIRE(found.size() == 1);
  CHECK(found[0]["kind"] == "concept_drift");
  CHECK(found[0]["evidence"]["detector"] == "own error");
  CHECK(found[0]["evidence"].contains("caveat"));
  form.faults.clear();
  CHECK(findings_of(form).empty());
}

TEST_CASE("findings: evidence has the figures before and after", "[unit][ml]") {
  StreamForm form;
  form.decisions = 800;
  form.faults = {{"broken", 510, 800, 1}};
  const auto found = findings_of(form);
  REQUIRE(found.size() == 1);
  const Json& evidence = found[0]["evidence"];
  const Json& before = evidence["before"];
  const Json& after = evidence["after"];
  CHECK(before["n"].get<int>() + after["n"].get<int>() <= 800);
  CHECK(before["accuracy"].get<double>() - after["accuracy"].get<double>() > 0.1);
  CHECK(std::abs(before["peer_accuracy"].get<double>() - after["peer_accuracy"].get<double>()) <
        0.1);
  CHECK(before["accuracy_low_95"] < before["accuracy"]);
  CHECK(evidence["joint_z"] >= evidence["z_limit"]);
  CHECK(evidence["model_version"] == "1");
  CHECK(evidence["ruled_out"].size() >= 3);
  CHECK(evidence["error_stream"]["adwin"]["window"].get<int>() > 0);
  const std::string summary = found[0]["summary"];
  CHECK(summary.find("m1") == 0);
  CHECK(summary.find("accuracy") != std::string::npos);
}

TEST_CASE("findings: the same whatever the slices, saves and crashes", "[unit][ml]") {
  StreamForm form;
  form.decisions = 900;
  form.faults = {{"broken", 450, 700, 1}, {"stale", 500, 650, 3}, {"missing", 400, 600, 0}};
  const std::string lines = Stream(form).lines();
  const auto everything = [](FakeHost& host) {
    host.save();
    std::string out = host.request("GET", "/api/ml/drift") +
                      host.request("GET", "/api/ml/features") +
                      host.request("GET", "/api/ml/retraining") + host.ask("ml_monitor.summary");
    for (const char* model : {"m0", "m1", "m2", "m3"}) {
      out += host.request("GET", std::string("/api/ml/models/") + model);
    }
    for (const auto& row : host.rows("model_behavior_tracking")) {
      for (const auto& [column, cell] : row) out += column + "=" + cell.bytes + "\n";
    }
    std::set<std::string> events;  // a crash publishes again; the real host drops those it has
    for (const auto& event : host.published()) events.insert(event.topic + event.data_json);
    for (const std::string& event : events) out += event;
    return out;
  };
  std::string expected;
  for (const std::size_t slice : {std::size_t{256}, std::size_t{1}, std::size_t{17}}) {
    FakeHost host;
    host.set_slice_size(slice);
    host.feed_back_published(slice != 1);
    load(host);
    host.deliver(lines);
    const std::string found = everything(host);
    if (expected.empty()) expected = found;
    CHECK(found == expected);
  }
  for (const std::uint64_t seed : {1, 2, 3}) {
    std::mt19937_64 random(seed);
    FakeHost host;
    load(host);
    for (std::size_t at = 0; at < lines.size();) {
      const std::size_t end = lines.find('\n', std::min(lines.size() - 1, at + random() % 300'000));
      host.deliver(std::string_view(lines).substr(at, end - at));
      at = end + 1;
      if (random() % 2 == 0) host.save();
      if (random() % 2 == 0) host.crash();
    }
    CHECK(everything(host) == expected);
    CHECK(host.restart());
    CHECK(everything(host) == expected);
  }
}

TEST_CASE("findings: the keys of the user's block", "[unit][ml]") {
  StreamForm form;
  form.decisions = 800;
  form.faults = {{"missing", 510, 800, 0}};  // half of the values are gone
  CHECK(findings_of(form).size() == 1);
  CHECK(findings_of(form, R"({"drift_threshold":0.8})").empty());
  CHECK(findings_of(form, R"({"drift_detection_enabled":false})").empty());
  form.faults = {{"shifted", 510, 800, 0}};
  CHECK(findings_of(form).size() == 1);
  CHECK(findings_of(form, R"({"drift_threshold":9})").empty());
  CHECK(findings_of(form, R"({"block_decisions":400})").empty());
  form.faults = {{"broken", 510, 800, 1}};
  CHECK(findings_of(form).size() == 1);
  CHECK(findings_of(form, R"({"drift_threshold":0.9})").empty());
  const auto limit = [](std::string_view config) {
    FakeHost host;
    load(host, config);
    return Json::parse(host.request("GET", "/api/ml/drift"))["counts"]["models"]["z_limit"]
        .get<double>();
  };
  CHECK(limit(R"({"false_alarm_budget":0.001})") > limit("{}") + 0.5);
  FakeHost host;
  load(host, R"({"adwin_delta":0.5,"page_hinkley_threshold":7,"psi_bins":4,)"
             R"("psi_binning":"equal_width","max_features":2,"max_open_decisions":1})");
  host.deliver(Stream(form).lines());
  const Json drift = Json::parse(host.request("GET", "/api/ml/drift"));
  CHECK(drift["features"].size() == 2);
  CHECK(drift["features"][0]["psi_bins"] == 4);
  CHECK(drift["features"][0]["psi_binning"] == "equal_width");
  CHECK(drift["models"][1]["error_stream"]["adwin"]["delta"] == 0.5);
  CHECK(drift["models"][1]["error_stream"]["page_hinkley"]["threshold"] == 7.0);
}
