// SPDX-License-Identifier: Apache-2.0
#include <ephor/events.hpp>
#include <ephor/otlp.hpp>

#include <nlohmann/json.hpp>

#include "ingest/otlp_traces.hpp"
#include "ingest/proto_writer.hpp"
#include "ingest_support.hpp"
#include "support/catch.hpp"

using namespace ephor;
using namespace ephor::host;
using namespace ephor::host::test;

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kStartNs = 1'790'000'000'000'000'000;

std::string bytes_of(unsigned char first, std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(first + i);
  return out;
}

std::string message(std::uint32_t field, std::string_view content) {
  std::string out;
  ProtoWriter(out).bytes(field, content);
  return out;
}
std::string text_value(std::string_view text) { return message(1, text); }
std::string attribute(std::string_view key, std::string_view value) {
  return message(1, key) + message(2, value);
}

// A sound span unless its members say otherwise.
struct SpanMaker {
  std::string trace_id = bytes_of(1, 16);
  std::string span_id = bytes_of(33, 8);
  std::string parent;
  std::string name = "buy";
  std::uint64_t start = kStartNs;
  std::uint64_t end = kStartNs + 1'000'000;
  std::string more;  // further fields, written at the end

  std::string made() const {
    std::string out;
    ProtoWriter to(out);
    to.bytes(1, trace_id);
    to.bytes(2, span_id);
    if (!parent.empty()) to.bytes(4, parent);
    to.bytes(5, name);
    to.fixed64(7, start);
    to.fixed64(8, end);
    return out + more;
  }
};

std::string resource_of(std::string_view service) {
  return message(1, attribute("service.name", text_value(service)));
}
std::string request_of(const std::vector<std::string>& spans, std::string_view resource,
                       std::string_view scope = {}) {
  std::string inner = scope.empty() ? "" : message(1, scope);
  for (const std::string& span : spans) inner += message(2, span);
  return message(1, message(1, resource) + message(2, inner));
}

struct Fixture {
  Names names;
  Door door;
  explicit Fixture(IngestConfig config = {}) : door(std::move(config), names) {}

  Arrival admit(std::string_view body, std::uint32_t format = EPHOR_FORMAT_OTLP_TRACES) {
    return door.admit(buffer_of(body), admission(format));
  }
  // Of a request with this span between two sound ones: the one rejection it must give.
  Rejection refused(const std::string& span) {
    SpanMaker other;
    other.span_id = bytes_of(77, 8);
    const Arrival arrival =
        admit(request_of({SpanMaker().made(), span, other.made()}, resource_of("checkout")));
    REQUIRE(arrival.event_count == 2);
    REQUIRE(arrival.rejected_count == 1);
    REQUIRE(arrival.record_count == 3);
    CHECK(arrival.rejections.at(0).line == 2);
    Rejection out = arrival.rejections.at(0);
    constexpr std::string_view kPlace = "/resourceSpans/0/scopeSpans/0/spans/1";
    REQUIRE(out.json_pointer.starts_with(kPlace));
    out.json_pointer.erase(0, kPlace.size());
    return out;
  }
  Rejection refused_with(const std::string& more) {
    SpanMaker maker;
    maker.more = more;
    return refused(maker.made());
  }
};

const ephor_event& only_event(const Arrival& arrival) {
  REQUIRE(arrival.rejections.empty());
  REQUIRE(arrival.batches.size() == 1);
  REQUIRE(arrival.batches[0].batch->events.size() == 1);
  return arrival.batches[0].batch->events[0];
}

}  // namespace

TEST_CASE("otlp traces: a span is an event whose record lies in the body", "[unit][ingest][otlp]") {
  Fixture fixture;
  SpanMaker maker;
  maker.more = message(9, attribute("decision.id", text_value("d-1"))) +
               message(9, attribute("correlation.id", text_value("c-1")));
  const std::string scope = message(1, "lib") + message(2, "1.2");
  Buffer body = buffer_of(request_of({maker.made()}, resource_of("checkout"), scope));
  const char* const begin = body.data();
  const std::size_t size = body.size();
  const Arrival arrival = fixture.door.admit(std::move(body), admission(EPHOR_FORMAT_OTLP_TRACES));
  const ephor_event& event = only_event(arrival);
  CHECK(event.record > begin);
  CHECK(event.record + event.record_length == begin + size);
  CHECK(record_of(event) == maker.made());
  CHECK(event.data_offset == 0);
  CHECK(event.encoding == EPHOR_ENCODING_OTLP);
  CHECK(event.time_ns == static_cast<std::int64_t>(kStartNs + 1'000'000));
  CHECK(event.flags == 0);
  CHECK(event.correlation == hash64("c-1"));
  CHECK(std::memcmp(event.trace_id, bytes_of(1, 16).data(), 16) == 0);
  CHECK(fixture.names.topics.name(event.topic) == "ephor.span");
  CHECK(fixture.names.sources.name(event.source) ==
        R"({"resource":{"service.name":"checkout"},"scope":{"name":"lib","version":"1.2"}})");
  const Batch& batch = *arrival.batches[0].batch;
  // As the CloudEvents object that it is rendered as.
  CHECK(batch.ids[0] ==
        identity_hash("checkout", "0102030405060708090a0b0c0d0e0f10-2122232425262728"));
  std::vector<std::uint64_t> keys{
      join_key(JoinKind::trace, hash64("0102030405060708090a0b0c0d0e0f10")),
      join_key(JoinKind::correlation, hash64("c-1")), join_key(JoinKind::decision, hash64("d-1"))};
  std::sort(keys.begin(), keys.end());
  CHECK(batch.join_keys == keys);
  REQUIRE(batch.sources.size() == 1);
  CHECK(batch.sources[0].number == event.source);
}

TEST_CASE("otlp traces: a bad span is rejected alone, with its place and why",
          "[unit][ingest][otlp]") {
  Fixture fixture;
  const auto check = [](const Rejection& found, std::string_view pointer, std::string_view reason) {
    CHECK(found.json_pointer == pointer);
    INFO(found.reason);
    CHECK(found.reason.find(reason) != std::string::npos);
  };
  const auto with = [](auto change) {
    SpanMaker maker;
    change(maker);
    return maker.made();
  };
  check(fixture.refused(with([](SpanMaker& span) { span.trace_id.pop_back(); })), "/traceId",
        "found 15 bytes, expected 16");
  check(fixture.refused(with([](SpanMaker& span) { span.trace_id.assign(16, '\0'); })), "/traceId",
        "zeros");
  check(fixture.refused(with([](SpanMaker& span) { span.span_id += 'x'; })), "/spanId",
        "found 9 bytes, expected 8");
  check(fixture.refused(with([](SpanMaker& span) { span.span_id.assign(8, '\0'); })), "/spanId",
        "zeros");
  check(fixture.refused(with([](SpanMaker& span) { span.parent = "abc"; })), "/parentSpanId",
        "found 3 bytes");
  check(fixture.refused(with([](SpanMaker& span) { span.start = 0; })), "/startTimeUnixNano",
        "found 0");
  check(fixture.refused(with([](SpanMaker& span) { span.end = 1ULL << 63; })), "/endTimeUnixNano",
        "found 9223372036854775808");
  check(fixture.refused(with([](SpanMaker& span) { span.end = span.start - 1; })),
        "/endTimeUnixNano", "expected at least");
  check(fixture.refused(with([](SpanMaker& span) { span.name = "\xFF"; })), "/name", "UTF-8");
  check(fixture.refused_with(message(3, "\xC0\x80")), "/traceState", "UTF-8");
  check(fixture.refused_with(message(9, attribute("\xFF", text_value("x")))), "/attributes/0/key",
        "UTF-8");
  check(fixture.refused_with(message(9, attribute("a", text_value("x"))) +
                             message(9, attribute("b", text_value("\xED\xA0\x80")))),
        "/attributes/1/value/stringValue", "UTF-8");
  check(fixture.refused_with(
            message(9, attribute("a", message(5, message(1, text_value("ok")) +
                                                     message(1, text_value("\xFF")))))),
        "/attributes/0/value/arrayValue/values/1/stringValue", "UTF-8");
  check(fixture.refused_with(
            message(9, attribute("a", message(6, message(1, attribute("k", text_value("\xFF"))))))),
        "/attributes/0/value/kvlistValue/values/0/value/stringValue", "UTF-8");
  check(fixture.refused_with(message(11, message(2, "\xFF"))), "/events/0/name", "UTF-8");
  check(fixture.refused_with(message(11, message(3, attribute("a", text_value("\xFF"))))),
        "/events/0/attributes/0/value/stringValue", "UTF-8");
  check(fixture.refused_with(message(13, message(1, "short"))), "/links/0/traceId",
        "found 5 bytes, expected 16");
  check(fixture.refused_with(message(13, message(2, "short"))), "/links/0/spanId",
        "found 5 bytes, expected 8");
  check(fixture.refused_with(message(15, message(2, "\xFF"))), "/status/message", "UTF-8");
  check(fixture.refused_with("\x4A"), "", "the end inside a varint");
  check(fixture.refused_with(message(9, "\x0A\x7F")), "/attributes/0", "beyond the end");
  std::string nested = text_value("x");
  for (int i = 0; i < 60; ++i) nested = message(5, message(1, nested));
  const Rejection deep = fixture.refused_with(message(9, attribute("a", nested)));
  CHECK(deep.reason.find("nested deeper than 56") != std::string::npos);
}

TEST_CASE("otlp traces: limits are configuration", "[unit][ingest][otlp]") {
  IngestConfig config;
  config.otlp_attributes_max = 2;
  config.otlp_fields_max = 100;
  config.otlp_text_bytes_max = 64;
  config.record_bytes_max = 1024;
  Fixture fixture(config);
  const std::string one = message(9, attribute("a", text_value("x")));
  SpanMaker two;
  two.more = one + one;
  CHECK(fixture.admit(request_of({two.made()}, resource_of("s"))).event_count == 1);
  Rejection found = fixture.refused_with(one + one + one);
  CHECK(found.json_pointer == "/attributes");
  CHECK(found.reason.find("ingest.otlp.attributes_max") != std::string::npos);
  found = fixture.refused_with(message(9, attribute("a", text_value(std::string(65, 'x')))));
  CHECK(found.json_pointer == "/attributes/0/value/stringValue");
  CHECK(found.reason.find("found 65 bytes, expected at most 64") != std::string::npos);
  std::string many;
  for (int i = 0; i < 101; ++i) ProtoWriter(many).varint(99, 1);
  CHECK(fixture.refused_with(many).reason.find("ingest.otlp.fields_max") != std::string::npos);
  found = fixture.refused_with(message(99, std::string(1100, 'x')));
  CHECK(found.reason.find("ingest.record_bytes_max") != std::string::npos);
}

TEST_CASE("otlp traces: what cannot be read is rejected, what came before is kept",
          "[unit][ingest][otlp]") {
  Fixture fixture;
  const std::string good = request_of({SpanMaker().made()}, resource_of("s"));
  Arrival arrival = fixture.admit(good + "\x0A\x7F rest");
  CHECK(arrival.event_count == 1);
  REQUIRE(arrival.rejections.size() == 1);
  CHECK(arrival.rejections[0].line == 2);
  CHECK(arrival.rejections[0].reason.find("an ExportTraceServiceRequest") != std::string::npos);

  // A scope whose bytes break off: its first span counts, the next scope too.
  SpanMaker other;
  other.span_id = bytes_of(77, 8);
  const std::string broken = message(2, SpanMaker().made()) + "\x12\x7F";
  const std::string body = message(
      1, message(1, resource_of("s")) + message(2, broken) + message(2, message(2, other.made())));
  arrival = fixture.admit(body);
  CHECK(arrival.event_count == 2);
  REQUIRE(arrival.rejections.size() == 1);
  CHECK(arrival.rejections[0].json_pointer == "/resourceSpans/0/scopeSpans/0");

  // A resource that is none: each of its spans.
  arrival = fixture.admit(request_of({SpanMaker().made(), other.made()},
                                     message(1, attribute("a", text_value("\xFF")))));
  CHECK(arrival.event_count == 0);
  REQUIRE(arrival.rejections.size() == 2);
  CHECK(arrival.rejections[1].line == 2);
  CHECK(arrival.rejections[1].json_pointer ==
        "/resourceSpans/0/resource/attributes/0/value/stringValue");

  CHECK(fixture.admit("").record_count == 0);
}

TEST_CASE("otlp traces: a resource may follow its spans, and come in pieces",
          "[unit][ingest][otlp]") {
  Fixture fixture;
  const std::string body =
      message(1, message(1, resource_of("checkout")) + message(2, message(2, SpanMaker().made())) +
                     message(1, message(1, attribute("host.name", text_value("h")))));
  const Arrival arrival = fixture.admit(body);
  CHECK(fixture.names.sources.name(only_event(arrival).source) ==
        R"({"resource":{"service.name":"checkout","host.name":"h"},"scope":{"name":""}})");
}

TEST_CASE("otlp traces: an arrival of many spans is cut into batches", "[unit][ingest][otlp]") {
  Fixture fixture;
  std::vector<std::string> spans;
  for (std::uint32_t i = 0; i < kArrivedEventsMax + 10; ++i) {
    SpanMaker maker;
    std::memcpy(maker.span_id.data(), &i, sizeof i);
    spans.push_back(maker.made());
  }
  const Arrival arrival = fixture.admit(request_of(spans, resource_of("s")));
  REQUIRE(arrival.batches.size() == 2);
  CHECK(arrival.record_count == spans.size());
  std::size_t at = 0;
  for (const ArrivedBatch& arrived : arrival.batches) {
    const Batch& batch = *arrived.batch;
    CHECK(batch.sources.size() == 1);
    for (std::size_t i = 0; i < batch.events.size(); ++i, ++at) {
      REQUIRE(record_of(batch.events[i]) == spans[at]);
      REQUIRE(arrived.records[i].line == at + 1);
      // In a buffer of its own batch, which is what lives on.
      REQUIRE(std::any_of(batch.buffers.begin(), batch.buffers.end(), [&](const Buffer& buffer) {
        return batch.events[i].record >= buffer.data() &&
               batch.events[i].record < buffer.data() + buffer.size();
      }));
    }
  }
}

TEST_CASE("otlp traces: hostile resources take a bounded number of names", "[unit][ingest][otlp]") {
  IngestConfig config;
  config.otlp_sources_max = 16;
  config.otlp_source_bytes_max = 512;
  Fixture fixture(config);
  const auto admitted = [&](std::string_view resource) {
    const Arrival arrival = fixture.admit(request_of({SpanMaker().made()}, resource));
    return std::pair(fixture.names.sources.name(only_event(arrival).source),
                     arrival.batches[0].batch->ids[0]);
  };
  const auto unique = [](int i) {
    return resource_of("checkout") +
           message(1, attribute("request", text_value("r" + std::to_string(i)))) +
           message(1, attribute("service.instance.id", text_value("i" + std::to_string(i))));
  };
  const Hash128 id = admitted(resource_of("checkout")).second;
  for (int i = 0; i < 1000; ++i) CHECK(admitted(unique(i)).second == id);
  CHECK(fixture.names.sources.count() < 32);
  CHECK(fixture.door.otlp_sources().reduced() > 900);
  CHECK(admitted(unique(5000)).first ==
        R"({"resource":{"service.name":"checkout"},"scope":{"name":""}})");
  // Other services, once all is used: one name for all of them, but an identity of their own.
  for (int i = 0; i < 100; ++i) admitted(resource_of("service-" + std::to_string(i)));
  const auto last = admitted(resource_of("one-more"));
  CHECK(last.first == R"({"resource":{"service.name":"ephor.other"},"scope":{"name":""}})");
  CHECK(last.second ==
        identity_hash("one-more", "0102030405060708090a0b0c0d0e0f10-2122232425262728"));
  CHECK(fixture.names.sources.count() < 40);

  // Too long: who it is remains.
  Fixture wide(config);
  const Arrival arrival = wide.admit(request_of(
      {SpanMaker().made()}, resource_of("checkout") +
                                message(1, attribute("x", text_value(std::string(600, 'x')))) +
                                message(1, attribute("service.version", text_value("7")))));
  CHECK(wide.names.sources.name(only_event(arrival).source) ==
        R"({"resource":{"service.name":"checkout","service.version":"7"},"scope":{"name":""}})");
}

TEST_CASE("otlp traces: nobody is the host by his service's name", "[unit][ingest][otlp]") {
  Fixture fixture;
  for (const auto& [service, source] :
       {std::pair("ephor", "service/ephor"), std::pair("ephor/tracer", "service/ephor/tracer"),
        std::pair("", "unknown_service"), std::pair("a\nb", "unknown_service")}) {
    const Arrival arrival = fixture.admit(request_of({SpanMaker().made()}, resource_of(service)));
    std::string line;
    const ephor_event& event = only_event(arrival);
    otlp::render(line, event, fixture.names.sources.name(event.source));
    CHECK(Json::parse(line)["source"] == source);
    CHECK(fixture.admit(line, EPHOR_FORMAT_SINGLE).event_count == 1);
  }
}

TEST_CASE("otlp traces: a time ahead is clamped, ids may be integers", "[unit][ingest][otlp]") {
  IngestConfig config;
  config.join_attributes = {"desk"};
  Fixture fixture(config);
  SpanMaker maker;
  maker.end = static_cast<std::uint64_t>(kArrivedNs) + 301'000'000'000;
  std::string integer;
  ProtoWriter(integer).varint(3, 42);
  maker.more = message(9, attribute("order_id", integer)) +
               message(9, attribute("desk", text_value("fx"))) +
               message(9, attribute("correlation_id", text_value("second"))) +
               message(9, attribute("correlation.id", text_value("first"))) +
               message(9, attribute("trade.id", text_value(std::string(300, 'x'))));
  const Arrival arrival = fixture.admit(request_of({maker.made()}, resource_of("s")));
  const ephor_event& event = only_event(arrival);
  CHECK(event.time_ns == kArrivedNs);
  CHECK(event.flags == EPHOR_EVENT_TIME_CLAMPED);
  CHECK(event.correlation == hash64("first"));
  std::vector<std::uint64_t> keys{
      join_key(JoinKind::trace, hash64("0102030405060708090a0b0c0d0e0f10")),
      join_key(JoinKind::correlation, hash64("first")), join_key(JoinKind::order, hash64("42")),
      join_key(JoinKind::attribute, hash64("fx"))};
  std::sort(keys.begin(), keys.end());
  CHECK(arrival.batches[0].batch->join_keys == keys);
}

TEST_CASE("otlp/json: the places of faults, and what is tolerated", "[unit][ingest][otlp]") {
  Fixture fixture;
  const auto span = [](const std::string& more) {
    return R"({"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"2122232425262728",)"
           R"("name":"buy","startTimeUnixNano":"1790000000000000000",)"
           R"("endTimeUnixNano":1790000000001000000)" +
           more + "}";
  };
  const auto body = [](const std::string& spans) {
    return R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":)"
           R"({"stringValue":"checkout"}}]},"scopeSpans":[{"spans":[)" +
           spans + "]}]}]}";
  };
  const auto refused = [&](const std::string& more) {
    const Arrival arrival =
        fixture.admit(body(span("") + "," + span(more)), EPHOR_FORMAT_OTLP_TRACES_JSON);
    REQUIRE(arrival.event_count == 1);
    REQUIRE(arrival.rejections.size() == 1);
    CHECK(arrival.rejections[0].line == 2);
    constexpr std::string_view kPlace = "/resourceSpans/0/scopeSpans/0/spans/1";
    REQUIRE(arrival.rejections[0].json_pointer.starts_with(kPlace));
    return arrival.rejections[0].json_pointer.substr(kPlace.size()) + ": " +
           arrival.rejections[0].reason;
  };
  CHECK(refused(R"(,"parentSpanId":"xyz")").starts_with("/parentSpanId: found \"xyz\""));
  CHECK(refused(R"(,"parentSpanId":"0102")").starts_with("/parentSpanId: found 2 bytes"));
  CHECK(refused(R"(,"kind":"SPAN_KIND_NONE")").starts_with("/kind: found"));
  CHECK(refused(R"(,"flags":-1)").starts_with("/flags: found -1"));
  CHECK(refused(R"(,"flags":4294967296)").starts_with("/flags: found"));
  CHECK(refused(R"(,"attributes":{})").starts_with("/attributes: found an object"));
  CHECK(refused(R"(,"attributes":[{"key":1}])").starts_with("/attributes/0/key: found 1"));
  CHECK(refused(R"(,"attributes":[{"key":"a","value":{"intValue":"1.5"}}])")
            .starts_with("/attributes/0/value/intValue: found"));
  CHECK(refused(R"(,"attributes":[{"key":"a","value":{"bytesValue":"*"}}])")
            .starts_with("/attributes/0/value/bytesValue: found"));
  CHECK(refused(R"(,"events":[{},{"timeUnixNano":"x"}])")
            .starts_with("/events/1/timeUnixNano: found"));
  CHECK(refused(R"(,"status":{"code":"BAD"})").starts_with("/status/code: found"));

  SpanMaker same;
  const Arrival taken = fixture.admit(
      body(span(R"(,"kind":null,"attributes":null,"links":[],"status":null,"newer":{"x":[1]})")),
      EPHOR_FORMAT_OTLP_TRACES_JSON);
  CHECK(record_of(only_event(taken)) == same.made());

  const auto whole = [&](std::string_view text) {
    const Arrival arrival = fixture.admit(text, EPHOR_FORMAT_OTLP_TRACES_JSON);
    CHECK(arrival.event_count == 0);
    return arrival.rejections.empty()
               ? std::string()
               : arrival.rejections[0].json_pointer + ": " + arrival.rejections[0].reason;
  };
  CHECK(whole("{}").empty());
  CHECK(whole(R"({"resourceSpans":null})").empty());
  CHECK_FALSE(whole("").empty());
  CHECK_FALSE(whole("{\"resourceSpans\":[").empty());
  CHECK(whole("[]").starts_with(": found an array"));
  CHECK(whole(R"({"resourceSpans":[1]})").starts_with("/resourceSpans/0: found 1"));
  CHECK(whole(R"({"resourceSpans":[{"scopeSpans":{}}]})")
            .starts_with("/resourceSpans/0/scopeSpans: found an object"));
  CHECK(whole(R"({"resourceSpans":[{"scopeSpans":[{"spans":7}]}]})")
            .starts_with("/resourceSpans/0/scopeSpans/0/spans: found 7"));
  CHECK(whole(R"({"resourceSpans":[{"resource":{"attributes":[{"key":[]}]},"scopeSpans":[{"spans":)"
              R"([{}]}]}]})")
            .starts_with("/resourceSpans/0/resource/attributes/0/key: found an array"));
}

TEST_CASE("otlp: rendered in full", "[unit][ingest][otlp]") {
  std::string integer;
  ProtoWriter(integer).varint(3, static_cast<std::uint64_t>(-5));
  std::string number;
  ProtoWriter(number).fixed64(4, std::bit_cast<std::uint64_t>(2.0));
  std::string truth;
  ProtoWriter(truth).varint(2, 1);
  std::string event;
  ProtoWriter(event).fixed64(1, 7);
  event += message(2, "exception") + message(3, attribute("exception.message", text_value("boom")));
  ProtoWriter(event).varint(4, 3);
  std::string link = message(1, bytes_of(1, 16)) + message(2, bytes_of(5, 8)) + message(3, "a=b");
  ProtoWriter(link).fixed32(6, 257);
  std::string error;
  ProtoWriter(error).varint(3, 2);
  SpanMaker maker;
  maker.parent = bytes_of(65, 8);
  ProtoWriter to(maker.more);
  to.bytes(3, "vendor=1");
  to.varint(6, 3);
  to.append(message(9, attribute("i", integer)) + message(9, attribute("n", number)) +
            message(9, attribute("t", truth)) + message(9, attribute("s", text_value("\"é\n"))) +
            message(9, attribute("a", message(5, message(1, integer) + message(1, "")))) +
            message(9, attribute("m", message(6, message(1, attribute("k", truth))))) +
            message(9, attribute("b", message(7, "\x01\xFF"))) + message(9, attribute("i", truth)) +
            message(9, attribute("component", text_value("matcher"))));
  to.varint(10, 4);
  to.append(message(11, event));
  to.varint(12, 5);
  to.append(message(13, link));
  to.varint(14, 6);
  to.append(message(15, error));
  to.fixed32(16, 0x101);
  Fixture fixture;
  const Arrival arrival = fixture.admit(
      request_of({maker.made()}, resource_of("checkout"), message(1, "lib") + message(2, "1")));
  const ephor_event& taken = only_event(arrival);
  std::string line;
  otlp::render(line, taken, fixture.names.sources.name(taken.source));
  CHECK(Json::parse(line) == Json::parse(R"({"specversion":"1.0",
    "id":"0102030405060708090a0b0c0d0e0f10-2122232425262728","source":"checkout",
    "type":"ephor.span","time":"2026-09-21T14:13:20.001000000Z",
    "traceparent":"00-0102030405060708090a0b0c0d0e0f10-2122232425262728-01",
    "data":{"trace_id":"0102030405060708090a0b0c0d0e0f10","span_id":"2122232425262728",
      "parent_span_id":"4142434445464748","component":"matcher","operation":"buy","kind":"client",
      "start_time_unix_nano":1790000000000000000,"end_time_unix_nano":1790000000001000000,
      "status":"error","error_message":"boom",
      "attributes":{"i":-5,"n":2.0,"t":true,"s":"\"é\n","a":[-5,null],"m":{"k":true},
        "b":{"bytesValue":"Af8="},"component":"matcher"},
      "events":[{"name":"exception","time_unix_nano":7,
        "attributes":{"exception.message":"boom"},"dropped_attributes_count":3}],
      "links":[{"trace_id":"0102030405060708090a0b0c0d0e0f10","span_id":"05060708090a0b0c",
        "trace_state":"a=b","attributes":{},"flags":257}],
      "trace_state":"vendor=1","flags":257,"dropped_attributes_count":4,"dropped_events_count":5,
      "dropped_links_count":6,"resource":{"service.name":"checkout"},
      "scope":{"name":"lib","version":"1"}}})"));
  CHECK(line.find("\"n\":2.0") != std::string::npos);  // stays a double
}

TEST_CASE("otlp: spans that were stored come in again as they were", "[unit][ingest][otlp]") {
  Fixture fixture;
  const Arrival first = fixture.admit(request_of({SpanMaker().made()}, resource_of("checkout")));
  const ephor_event& before = only_event(first);
  std::string body;
  append_stored_span(body, fixture.names.sources.name(before.source), record_of(before));
  const Arrival second = fixture.admit(body, kFormatStoredSpans);
  const ephor_event& after = only_event(second);
  CHECK(record_of(after) == record_of(before));
  CHECK(after.source == before.source);
  CHECK(second.batches[0].batch->ids == first.batches[0].batch->ids);
  CHECK(second.batches[0].batch->join_keys == first.batches[0].batch->join_keys);
}
