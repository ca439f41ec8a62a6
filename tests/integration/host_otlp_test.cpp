// SPDX-License-Identifier: Apache-2.0
//
// OTLP spans in a whole host: found by every id, after a restart as before it, replayed and
// exported.
#include <ephor/events.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "core/journal_export.hpp"
#include "core/replay.hpp"
#include "host_support.hpp"
#include "ingest/proto_writer.hpp"

using namespace ephor;
using namespace ephor::testing;

namespace {

// Notes every span as it reads, and what the host makes of it.
std::vector<std::string>& notes() {
  static std::vector<std::string> all;
  return all;
}
std::mutex notes_mutex;

class SpanNotes final : public Plugin {
 public:
  static constexpr std::string_view kId = "span_notes";
  SpanNotes(Host host, std::string_view) : host_(host), reader_(host) {
    host_.subscribe({"ephor.span"});
  }
  void on_events(std::span<const Event> events) override {
    const std::scoped_lock lock(notes_mutex);
    for (const Event& event : events) {
      const Span span = reader_.span(event);
      std::string note(span.service);
      for (const std::string_view part : {span.component, span.operation, span.status,
                                          span.correlation_id, span.trace_id, span.span_id}) {
        (note += '|') += part;
      }
      if (const auto order = span.attribute("order.id")) note += "|" + order->to_text();
      note += "|" + std::to_string(event.time_ns);
      notes().push_back(note);
    }
  }

 private:
  Host host_;
  EventReader reader_;
};

std::string field(std::uint32_t number, std::string_view bytes) {
  std::string out;
  host::ProtoWriter(out).bytes(number, bytes);
  return out;
}
std::string attribute(std::string_view key, std::string_view text) {
  return field(1, key) + field(2, field(1, text));
}

constexpr int kSpans = 50;

std::string request() {
  std::string spans;
  for (int i = 0; i < kSpans; ++i) {
    std::string span = field(1, std::string(15, 't') + static_cast<char>('A' + i / 10)) +
                       field(2, std::string(7, 's') + static_cast<char>(i + 1)) +
                       field(5, "place order");
    host::ProtoWriter to(span);
    to.fixed64(7, static_cast<std::uint64_t>(kBegin));
    to.fixed64(8, static_cast<std::uint64_t>(kBegin + i * kSecond));
    span += field(9, attribute("order.id", "o-" + std::to_string(i)));
    spans += field(2, span);
  }
  const std::string resource = field(1, attribute("service.name", "broker")) +
                               field(1, attribute("correlation.id", "session-7"));
  return field(1, field(1, resource) + field(2, field(1, field(1, "lib")) + spans));
}

host::IngestCounts ingest_otlp(host::Host& host, std::string_view body) {
  host::Arrival arrival = host.door().admit(
      body_of(body), {.format = EPHOR_FORMAT_OTLP_TRACES, .arrived_ns = host::wall_clock_ns()});
  REQUIRE(arrival.rejections.empty());
  return host.log().ingest(std::move(arrival.batches));
}

// What a search gives: the descriptors without addresses, and their sources.
std::vector<std::string> found(host::Host& host, std::string_view id) {
  std::vector<std::string> out;
  host.log_reader().find(id, [&](const ephor_event& event) {
    ephor_event plain = event;
    plain.record = nullptr;
    plain.source = 0;
    plain.topic = 0;
    out.push_back(std::string(reinterpret_cast<const char*>(&plain), sizeof plain) +
                  std::string(record_of(event)) +
                  std::string(host.names().sources.name(event.source)) +
                  std::string(host.names().topics.name(event.topic)));
  });
  return out;
}

const std::string kFirstTrace =
    "747474747474747474747474747474"
    "41";

// Record, flags and time of what clients sent. The host's own events (ticks, the state of plugins)
// differ between a live run and a replay.
std::vector<std::tuple<std::string, std::uint8_t, std::int64_t>> clients_records(
    const std::filesystem::path& data_dir) {
  std::vector<std::tuple<std::string, std::uint8_t, std::int64_t>> out;
  for (Kept& kept : journal_of(data_dir)) {
    if ((kept.flags & EPHOR_EVENT_HOST) != 0) continue;
    out.emplace_back(std::move(kept.record), kept.flags, kept.time_ns);
  }
  return out;
}

}  // namespace

TEST_CASE("otlp: spans in the log are found, survive a restart, are replayed and exported",
          "[integration][otlp]") {
  const TemporaryDirectory a, b, c;
  std::vector<std::string> by_trace, by_order, by_correlation;
  notes().clear();
  {
    host::Host host(settings_for(a.path(), {instance_of<SpanNotes>("notes")}), host::RunMode::live);
    host.start();
    const host::IngestCounts counts = ingest_otlp(host, request());
    CHECK(counts.accepted == kSpans);
    CHECK(ingest_otlp(host, request()).duplicate == kSpans);
    REQUIRE(host.wait_until_read(kLongEnough));
    by_trace = found(host, kFirstTrace);
    by_order = found(host, "o-7");
    by_correlation = found(host, "session-7");
    CHECK(by_trace.size() == 10);
    CHECK(by_order.size() == 1);
    CHECK(by_correlation.size() == kSpans);
    CHECK(found(host, "o-77").empty());
    CHECK(host.stop());
  }
  const std::vector<std::string> live = notes();
  REQUIRE(live.size() == kSpans);
  CHECK(live[7] == "broker|broker|place order|unset|session-7|" + kFirstTrace +
                       "|7373737373737308|o-7|" + std::to_string(kBegin + 7 * kSecond));
  {
    host::Host host(settings_for(a.path(), {instance_of<SpanNotes>("notes")}), host::RunMode::live);
    host.start();
    // A name that came first makes the numbers differ: they are the process's own.
    ingest(host, point(1, "another") + "\n");
    CHECK(found(host, kFirstTrace) == by_trace);
    CHECK(found(host, "o-7") == by_order);
    CHECK(found(host, "session-7") == by_correlation);
    CHECK(ingest_otlp(host, request()).duplicate == kSpans);
    CHECK(host.stop());
  }
  const Json faults = host::journal_faults(a.path());
  CHECK(faults.at("faults").empty());

  notes().clear();
  host::ReplayOptions options;
  options.journal = a.path();
  {
    host::Host host(settings_for(b.path(), {instance_of<SpanNotes>("notes")}),
                    host::RunMode::replay);
    host.start();
    const host::ReplayResult result = host::replay(host, options);
    CHECK(result.applied == kSpans + 1);
    CHECK(result.rejected == 0);
    CHECK(host.stop());
  }
  CHECK(notes() == live);
  CHECK(clients_records(b.path()) == clients_records(a.path()));

  // Exported they are JSON, and say the same; to the same log they are duplicates.
  std::string lines;
  const host::ExportCounts counts = host::export_journal(
      a.path(), {.topic = "ephor.span"}, [&](std::string_view line) { (lines += line) += '\n'; });
  CHECK(counts.exported == kSpans);
  notes().clear();
  {
    host::Host host(settings_for(c.path(), {instance_of<SpanNotes>("notes")}), host::RunMode::live);
    host.start();
    CHECK(ingest(host, lines).accepted == kSpans);
    CHECK(ingest_otlp(host, request()).duplicate == kSpans);
    REQUIRE(host.wait_until_read(kLongEnough));
    CHECK(found(host, kFirstTrace).size() == 10);
    CHECK(found(host, "o-7").size() == 1);
    CHECK(found(host, "session-7").size() == kSpans);
    CHECK(host.stop());
  }
  CHECK(notes() == live);
}
