// SPDX-License-Identifier: Apache-2.0
//
// The shared recordings against the counts of their truth files; skipped where they are absent.
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "ingest/gunzip.hpp"
#include "ingest/line_chunker.hpp"
#include "ingest_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::host::test;
using nlohmann::json;

namespace {

struct Counts {
  std::map<std::string, int> by_topic;
  std::uint32_t records = 0;
  std::uint32_t rejected = 0;
  int errors = 0;
  int closed = 0;
  std::set<std::string> traces;
  std::set<std::string> error_traces;
  std::set<std::pair<std::uint64_t, std::uint64_t>> ids;
};

// `is_reading`: also look into the data of every event.
Counts count(const std::filesystem::path& path, bool is_reading) {
  Names names;
  Door door(IngestConfig(), names);
  GzipReader reader(path);
  LineChunker chunks(reader, {});
  Counts counts;
  while (auto chunk = chunks.next()) {
    Admission given = admission(EPHOR_FORMAT_LINES);
    given.first_line = chunk->first_line;
    const Arrival arrival = door.admit(std::move(chunk->body), given);
    counts.records += arrival.record_count;
    counts.rejected += arrival.rejected_count;
    for (const ArrivedBatch& arrived : arrival.batches) {
      for (const Hash128& id : arrived.batch->ids) counts.ids.emplace(id.low, id.high);
      for (const ephor_event& event : arrived.batch->events) {
        const std::string topic(names.topics.name(event.topic));
        ++counts.by_topic[topic];
        if (!is_reading || (topic != "ephor.span" && topic != "ephor.trade")) continue;
        const json data = json::parse(record_of(event))["data"];
        if (topic == "ephor.trade") {
          counts.closed += data["status"] == "closed" ? 1 : 0;
          continue;
        }
        counts.traces.insert(data["trace_id"]);
        if (data["status"] != "error") continue;
        ++counts.errors;
        counts.error_traces.insert(data["trace_id"]);
      }
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("client data: what the client's own code holds", "[unit][ingest]") {
  const auto path = ephor::testing::shared_data("ares/ares.ndjson");
  if (!path) return;
  const json truth = json::parse(slurp(path->parent_path() / "ares.truth.json"));
  Counts counts = count(*path, true);
  CHECK(counts.rejected == 0);
  CHECK(counts.by_topic["ephor.span"] == truth["spans"]);
  CHECK(counts.by_topic["ephor.correlation_request"] == truth["trace_requests"]);
  CHECK(counts.by_topic["ephor.trade"] == truth["trades"]);
  CHECK(counts.errors == truth["spans_with_error_message"]);
  CHECK(counts.error_traces.size() == truth["failed_requests"]);
  CHECK(counts.traces.size() == truth["trace_requests"]);
  CHECK(counts.closed == truth["closed"]);
}

TEST_CASE("client data: the trading events", "[unit][ingest]") {
  const auto path = ephor::testing::shared_data("trading/client_events.jsonl");
  if (!path) return;
  const json truth = json::parse(slurp(path->parent_path() / "client_events.expected.json"));
  Counts counts = count(*path, true);
  CHECK(counts.rejected == 0);
  CHECK(counts.records == truth["lines"]);
  const json& lines = truth["lines_by_type"];
  CHECK(counts.by_topic["ephor.ensemble_decision"] == lines["ensemble_decision"]);
  CHECK(counts.by_topic["ephor.outcome"] == lines["outcome"]);
  CHECK(counts.by_topic["ephor.trade"] == lines["trade_record"]);
  CHECK(counts.by_topic["ephor.fill"] == lines["trade_execution"]);
  CHECK(counts.by_topic["ephor.regime_transition"] == lines["regime_transition"]);
  CHECK(counts.by_topic["ephor.model_behavior"] == lines["model_behavior"]);
  CHECK(counts.by_topic["ephor.prediction"] ==
        lines["ensemble_decision"].get<int>() * static_cast<int>(truth["model_accuracy"].size()));
}

TEST_CASE("client data: every hostile line has its own error", "[unit][ingest]") {
  const auto path = ephor::testing::shared_data("trading/client_events_bad.jsonl");
  if (!path) return;
  Names names;
  Door door(IngestConfig(), names);
  const Arrival arrival = door.admit(buffer_of(slurp(*path)), admission(EPHOR_FORMAT_LINES));
  std::map<std::uint32_t, Rejection> rejections;
  for (const Rejection& rejection : arrival.rejections) {
    rejections[rejection.line] = rejection;
    INFO(rejection.line << " " << rejection.json_pointer << " " << rejection.reason);
    CHECK_FALSE(rejection.reason.empty());
    CHECK(rejection.reason.find('\0') == std::string::npos);
    CHECK(rejection.reason.size() < 600);
    CHECK(rejection.json_pointer.size() <= kJsonPointerBytesMax);
  }
  CHECK(rejections.size() == 14);  // line 11, the outcome of an unknown decision, waits for it
  CHECK(rejections.count(11) == 0);
  const std::map<std::uint32_t, std::string> pointers = {
      {2, ""},
      {3, ""},
      {4, "/side"},
      {5, "/quantity"},
      {6, "/price"},
      {7, "/quantity"},
      {8, "/timestamp"},
      {9, "/ensemble_decision/ensemble_weights/b"},
      {10, "/ensemble_decision/ensemble_weights/a"},
      {12, "/type"},
      {13, "/symbol"},
      {14, "/trade_id"}};
  for (const auto& [line, pointer] : pointers) CHECK(rejections[line].json_pointer == pointer);
  CHECK(rejections[15].reason.find("nesting deeper") != std::string::npos);
}

TEST_CASE("client data: the recorded session", "[unit][ingest]") {
  const auto path = ephor::testing::shared_data("session/btc.ndjson.gz");
  if (!path) return;
  const json truth = json::parse(slurp(path->parent_path() / "btc.truth.json"));
  const Counts counts = count(*path, false);
  CHECK(counts.rejected == 0);
  CHECK(counts.records == truth["lines"]);
  CHECK(counts.ids.size() == truth["unique_events"]);
}
