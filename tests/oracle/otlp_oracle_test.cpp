// SPDX-License-Identifier: Apache-2.0
//
// The door's reading of OTLP traces beside protoc's: random requests in protobuf and in JSON, and
// bytes that are damaged at random. What is expected is told by the generated classes.
#include <ephor/events.hpp>
#include <ephor/otlp.hpp>
#include <ephor/protobuf.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <span>

#include "ingest/door.hpp"
#include "otlp_random.hpp"
#include "store/batch_codec.hpp"
#include "support/catch.hpp"

using namespace ephor;
using namespace ephor::host;
using ephor::oracle::Random;

namespace {

constexpr std::int64_t kArrivedNs = 1'790'000'000'500'000'000;

std::uint64_t message_count() {
  const char* const given = std::getenv("EPHOR_ORACLE_MESSAGES");
  return given == nullptr ? 20'000 : std::strtoull(given, nullptr, 10);
}

Buffer buffer_of(std::string_view text) {
  Buffer buffer(text.size());
  std::memcpy(buffer.data(), text.data(), text.size());
  buffer.set_size(text.size());
  return buffer;
}

std::string hex_of(std::string_view bytes) {
  static const char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) / 16];
    out += kDigits[static_cast<unsigned char>(c) % 16];
  }
  return out;
}

// One event of an arrival, with its record copied.
struct Taken {
  std::string record;
  ephor_event event{};
  Hash128 id;
  std::string source;
  std::uint32_t line = 0;
};

struct Admitted {
  std::vector<Taken> taken;
  std::vector<Rejection> rejections;
  std::uint32_t records = 0;
  std::vector<std::uint64_t> joins;
  std::vector<ArrivedBatch> batches;
};

Admitted admit(Door& door, Names& names, std::string_view body, std::uint32_t format) {
  Admitted out;
  Arrival arrival = door.admit(buffer_of(body), {.format = format, .arrived_ns = kArrivedNs});
  out.records = arrival.record_count;
  out.rejections = std::move(arrival.rejections);
  for (const ArrivedBatch& arrived : arrival.batches) {
    const Batch& batch = *arrived.batch;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
      const ephor_event& event = batch.events[i];
      out.taken.push_back({std::string(event.record, event.record_length), event, batch.ids[i],
                           std::string(names.sources.name(event.source)), arrived.records[i].line});
    }
    out.joins.insert(out.joins.end(), batch.join_keys.begin(), batch.join_keys.end());
  }
  out.batches = std::move(arrival.batches);
  return out;
}

bool is_acceptable(const oracle::Span& span) {
  const auto is_id = [](const std::string& id, std::size_t size) {
    return id.size() == size && id != std::string(size, '\0');
  };
  const auto is_time = [](std::uint64_t time) { return time > 0 && time < 1ULL << 63; };
  return is_id(span.trace_id(), 16) && is_id(span.span_id(), 8) &&
         (span.parent_span_id().empty() || span.parent_span_id().size() == 8) &&
         is_time(span.start_time_unix_nano()) && is_time(span.end_time_unix_nano()) &&
         span.end_time_unix_nano() >= span.start_time_unix_nano();
}

// What an attribute's value must read as.
void check_value(const AttributeValue& found, const oracle::AnyValue& wanted) {
  using Kind = AttributeValue::Kind;
  switch (wanted.value_case()) {
    case oracle::AnyValue::kStringValue:
      REQUIRE(found.kind == Kind::text);
      REQUIRE(found.text == wanted.string_value());
      break;
    case oracle::AnyValue::kBoolValue:
      REQUIRE(found.kind == Kind::boolean);
      REQUIRE(found.boolean == wanted.bool_value());
      break;
    case oracle::AnyValue::kIntValue:
      REQUIRE(found.kind == Kind::integer);
      REQUIRE(found.integer == wanted.int_value());
      break;
    case oracle::AnyValue::kDoubleValue:
      REQUIRE(found.kind == Kind::number);
      REQUIRE(std::memcmp(&found.number, std::array{wanted.double_value()}.data(), 8) == 0);
      break;
    default:
      REQUIRE(found.kind == Kind::other);
      break;
  }
}

template <typename Attributes>
void check_attributes(const AttributeList& found, const Attributes& wanted) {
  int at = 0;
  found.for_each_attribute([&](std::string_view name, const AttributeValue& value) {
    REQUIRE(at < wanted.size());
    REQUIRE(name == wanted[at].key());
    check_value(value, wanted[at].value());
    ++at;
  });
  REQUIRE(at == wanted.size());
}

void check_span(EventReader& reader, const Taken& taken, const oracle::Span& wanted) {
  ephor_event event = taken.event;
  event.record = taken.record.data();
  const Span found = reader.span(event);
  REQUIRE(std::memcmp(event.trace_id, wanted.trace_id().data(), 16) == 0);
  REQUIRE(found.trace_id == hex_of(wanted.trace_id()));
  REQUIRE(found.span_id == hex_of(wanted.span_id()));
  const bool is_root = wanted.parent_span_id() == std::string(wanted.parent_span_id().size(), '\0');
  REQUIRE(found.parent_span_id == (is_root ? "" : hex_of(wanted.parent_span_id())));
  REQUIRE(found.operation == (wanted.name().empty() ? "unknown" : wanted.name()));
  REQUIRE(found.start_ns == static_cast<std::int64_t>(wanted.start_time_unix_nano()));
  REQUIRE(found.end_ns == static_cast<std::int64_t>(wanted.end_time_unix_nano()));
  REQUIRE(found.is_error() == (wanted.status().code() == 2));
  const bool is_future = found.end_ns > kArrivedNs + 300'000'000'000;
  REQUIRE(event.time_ns == (is_future ? kArrivedNs : found.end_ns));
  REQUIRE(((event.flags & EPHOR_EVENT_TIME_CLAMPED) != 0) == is_future);
  if (!wanted.status().message().empty()) REQUIRE(found.error_message == wanted.status().message());
  check_attributes(found.all_attributes, wanted.attributes());
  int at = 0;
  found.for_each_event([&](const SpanEvent& one) {
    REQUIRE(at < wanted.events_size());
    REQUIRE(one.name == wanted.events(at).name());
    REQUIRE(one.time_ns == static_cast<std::int64_t>(wanted.events(at).time_unix_nano()));
    check_attributes(one.attributes, wanted.events(at).attributes());
    ++at;
  });
  REQUIRE(at == wanted.events_size());
  at = 0;
  found.for_each_link([&](const SpanLink& one) {
    REQUIRE(at < wanted.links_size());
    REQUIRE(one.trace_id == hex_of(wanted.links(at).trace_id()));
    REQUIRE(one.span_id == hex_of(wanted.links(at).span_id()));
    check_attributes(one.attributes, wanted.links(at).attributes());
    ++at;
  });
  REQUIRE(at == wanted.links_size());
}

std::string service_of(const oracle::ResourceSpans& resource) {
  for (const oracle::KeyValue& one : resource.resource().attributes()) {
    if (one.key() == "service.name") return one.value().string_value();
  }
  return "unknown_service";
}

// Through the journal's codec and back: every descriptor as it was.
void check_round_trip(const Admitted& outcome, Describer& describer) {
  for (const ArrivedBatch& arrived : outcome.batches) {
    const Batch& batch = *arrived.batch;
    const EncodedBatch encoded = encode_batch(batch);
    StoredBatch stored;
    decode_body(encoded.codec, encoded.body, encoded.count, encoded.record_bytes, stored);
    JoinKeys joins;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
      const StoredRecord& record = stored.records[i];
      const StoredFacts facts{record.time_ns, record.encoding, record.flags, stored.source(i)};
      ephor_event after{};
      REQUIRE(describer.redescribe(stored.record(i), facts, after));
      after.record = batch.events[i].record;
      REQUIRE(std::memcmp(&after, &batch.events[i], sizeof after) == 0);
      describer.add_joins(stored.record(i), facts, joins);
    }
    REQUIRE(joins.take_sorted() == batch.join_keys);
  }
}

}  // namespace

TEST_CASE("otlp: the door reads random requests as protoc's code does, in protobuf and JSON",
          "[unit][ingest][otlp]") {
  Random random(20'260'101);
  Names names;
  IngestConfig config;
  config.join_attributes = {"account"};
  Door door(config, names);
  const auto describer = door.make_describer();
  EventReader reader([&](std::uint32_t number) { return names.sources.name(number); });
  std::uint64_t spans = 0;
  std::uint64_t rejected = 0;
  for (std::uint64_t n = message_count(); n > 0; --n) {
    const oracle::ExportTraceServiceRequest request = random.request();
    const Admitted binary =
        admit(door, names, request.SerializeAsString(), EPHOR_FORMAT_OTLP_TRACES);
    std::size_t at = 0;
    std::size_t refused = 0;
    std::uint32_t line = 0;
    for (int r = 0; r < request.resource_spans_size(); ++r) {
      const oracle::ResourceSpans& resource = request.resource_spans(r);
      for (int s = 0; s < resource.scope_spans_size(); ++s) {
        const oracle::ScopeSpans& scope = resource.scope_spans(s);
        for (int i = 0; i < scope.spans_size(); ++i) {
          ++line;
          const oracle::Span& wanted = scope.spans(i);
          if (!is_acceptable(wanted)) {
            REQUIRE(refused < binary.rejections.size());
            const Rejection& rejection = binary.rejections[refused++];
            REQUIRE(rejection.line == line);
            REQUIRE(rejection.json_pointer.starts_with("/resourceSpans/" + std::to_string(r) +
                                                       "/scopeSpans/" + std::to_string(s) +
                                                       "/spans/" + std::to_string(i) + "/"));
            continue;
          }
          REQUIRE(at < binary.taken.size());
          const Taken& taken = binary.taken[at++];
          REQUIRE(taken.line == line);
          REQUIRE(taken.record == wanted.SerializeAsString());
          check_span(reader, taken, wanted);
          ephor_event event = taken.event;
          event.record = taken.record.data();
          REQUIRE(reader.span(event).service == service_of(resource));
          const auto source = oracle::Json::parse(taken.source);
          REQUIRE(source["scope"]["name"] == scope.scope().name());
        }
      }
    }
    REQUIRE(at == binary.taken.size());
    REQUIRE(refused == binary.rejections.size());
    REQUIRE(binary.records == line);
    check_round_trip(binary, *describer);

    const Admitted json =
        admit(door, names, oracle::to_json(request, random).dump(), EPHOR_FORMAT_OTLP_TRACES_JSON);
    REQUIRE(json.taken.size() == binary.taken.size());
    for (std::size_t i = 0; i < json.taken.size(); ++i) {
      REQUIRE(json.taken[i].record == binary.taken[i].record);
      REQUIRE(json.taken[i].id == binary.taken[i].id);
      REQUIRE(json.taken[i].source == binary.taken[i].source);
      REQUIRE(json.taken[i].line == binary.taken[i].line);
      ephor_event same = json.taken[i].event;
      same.record = binary.taken[i].event.record;
      REQUIRE(std::memcmp(&same, &binary.taken[i].event, sizeof same) == 0);
    }
    REQUIRE(json.joins == binary.joins);
    REQUIRE(json.rejections.size() == binary.rejections.size());
    for (std::size_t i = 0; i < json.rejections.size(); ++i) {
      REQUIRE(json.rejections[i].json_pointer == binary.rejections[i].json_pointer);
      REQUIRE(json.rejections[i].line == binary.rejections[i].line);
    }
    spans += line;
    rejected += refused;
  }
  // The generator makes both kinds, or the comparison says nothing.
  CHECK(spans > message_count());
  CHECK(rejected > message_count() / 50);
}

namespace {

// Arrays and maps as JSON values: two writers escape differently.
std::string comparable(const AttributeValue& value) {
  const std::string text = value.to_text();
  return value.kind == AttributeValue::Kind::other ? oracle::Json::parse(text).dump() : text;
}

}  // namespace

TEST_CASE("otlp: a rendered span is taken as JSON and says the same", "[unit][ingest][otlp]") {
  Random random(7);
  Names names;
  Door door({}, names);
  EventReader reader([&](std::uint32_t number) { return names.sources.name(number); });
  EventReader json_reader([&](std::uint32_t number) { return names.sources.name(number); });
  std::size_t compared = 0;
  for (std::uint64_t n = message_count() / 10; n > 0; --n) {
    const Admitted binary =
        admit(door, names, random.request().SerializeAsString(), EPHOR_FORMAT_OTLP_TRACES);
    for (const Taken& taken : binary.taken) {
      ephor_event event = taken.event;
      event.record = taken.record.data();
      const Span before = reader.span(event);
      std::string line;
      otlp::render(line, event, taken.source);
      const Admitted again = admit(door, names, line, EPHOR_FORMAT_SINGLE);
      INFO(line);
      if (!again.rejections.empty())
        INFO(again.rejections[0].json_pointer + again.rejections[0].reason);
      REQUIRE(again.taken.size() == 1);
      REQUIRE(again.taken[0].id == taken.id);  // a duplicate, if it comes to the same log
      REQUIRE(again.taken[0].event.correlation == event.correlation);
      REQUIRE(again.taken[0].event.time_ns == event.time_ns);
      REQUIRE(std::memcmp(again.taken[0].event.trace_id, event.trace_id, 16) == 0);
      // The keys of this span alone. A key that is there twice joins by both values, and is
      // rendered once.
      JoinKeys all;
      door.make_describer()->add_joins(taken.record, {0, EPHOR_ENCODING_OTLP, 0, taken.source},
                                       all);
      const std::vector<std::uint64_t> joins = all.take_sorted();
      std::set<std::string> keys;
      bool is_twice = false;
      before.for_each_attribute([&](std::string_view name, const AttributeValue&) {
        is_twice = !keys.emplace(name).second || is_twice;
      });
      if (is_twice) {
        REQUIRE(std::includes(joins.begin(), joins.end(), again.joins.begin(), again.joins.end()));
      } else {
        REQUIRE(again.joins == joins);
      }
      ephor_event plain = again.taken[0].event;
      std::string padded = again.taken[0].record + std::string(64, '\0');
      plain.record = padded.data();
      const Span after = json_reader.span(plain);
      REQUIRE(after.trace_id == before.trace_id);
      REQUIRE(after.span_id == before.span_id);
      REQUIRE(after.parent_span_id == before.parent_span_id);
      REQUIRE(after.service == before.service);
      REQUIRE(after.component == before.component);
      REQUIRE(after.operation == before.operation);
      REQUIRE(after.kind == before.kind);
      REQUIRE(after.status == before.status);
      REQUIRE(after.error_message == before.error_message);
      REQUIRE(after.correlation_id == before.correlation_id);
      REQUIRE(after.start_ns == before.start_ns);
      REQUIRE(after.end_ns == before.end_ns);
      std::vector<std::pair<std::string, std::string>> wanted;
      before.for_each_attribute([&](std::string_view name, const AttributeValue& value) {
        for (const auto& known : wanted) {
          if (known.first == name) return;  // of a key that is there twice the first counts
        }
        wanted.emplace_back(name, comparable(value));
      });
      std::vector<std::pair<std::string, std::string>> found;
      after.for_each_attribute([&](std::string_view name, const AttributeValue& value) {
        found.emplace_back(name, comparable(value));
      });
      REQUIRE(found == wanted);
      ++compared;
    }
  }
  CHECK(compared > message_count() / 20);
}

namespace {

// Which fields of a message are messages themselves; the schema a second time, by hand.
struct Schema {
  std::vector<std::pair<std::uint32_t, const Schema*>> parts;
};
struct Schemas {
  Schema value, array, map, key_value, resource, scope, event, link, status, span, scope_spans,
      resource_spans, request;
  Schemas() {
    value.parts = {{5, &array}, {6, &map}};
    array.parts = {{1, &value}};
    map.parts = {{1, &key_value}};
    key_value.parts = {{2, &value}};
    resource.parts = {{1, &key_value}};
    scope.parts = {{3, &key_value}};
    event.parts = {{3, &key_value}};
    link.parts = {{4, &key_value}};
    span.parts = {{9, &key_value}, {11, &event}, {13, &link}, {15, &status}};
    scope_spans.parts = {{1, &scope}, {2, &span}};
    resource_spans.parts = {{1, &resource}, {2, &scope_spans}};
    request.parts = {{1, &resource_spans}};
  }
};

bool is_sound(std::string_view message, const Schema& schema) {
  ProtoReader in(message);
  while (in.next()) {
    if (in.type() != WireType::bytes) continue;
    for (const auto& [field, part] : schema.parts) {
      if (in.field() == field && !is_sound(in.bytes(), *part)) return false;
    }
  }
  return in.ok();
}

std::string mutated(std::string body, Random& random) {
  if (body.empty()) return body;
  if (random.one_in(3)) body.resize(random.below(body.size()));
  for (std::uint64_t i = random.below(5); i > 0 && !body.empty(); --i) {
    const std::size_t at = random.below(body.size());
    if (random.one_in(4)) {
      body.erase(at, 1 + random.below(3));
    } else if (random.one_in(3)) {
      body.insert(at, random.bytes(1 + random.below(3)));
    } else {
      body[at] = static_cast<char>(random.below(256));
    }
  }
  return body;
}

}  // namespace

TEST_CASE("otlp: damaged bytes are judged as protoc's code judges them, and nothing breaks",
          "[unit][ingest][otlp]") {
  Random random(99);
  const Schemas schemas;
  Names names;
  Door door({}, names);
  const auto describer = door.make_describer();
  EventReader reader([&](std::uint32_t number) { return names.sources.name(number); });
  std::uint64_t damaged = 0;
  std::uint64_t sound = 0;
  for (std::uint64_t n = message_count(); n > 0; --n) {
    const std::string body = mutated(random.request().SerializeAsString(), random);
    // No byte behind the end: the sanitizers see who reads it.
    const std::unique_ptr<char[]> exact(new char[body.size()]);
    std::memcpy(exact.get(), body.data(), body.size());
    const std::string_view view(exact.get(), body.size());
    oracle::ExportTraceServiceRequest request;
    const bool is_parsed = request.ParseFromArray(view.data(), static_cast<int>(view.size()));
    INFO("message " << n << " " << hex_of(body));
    REQUIRE(is_sound(view, schemas.request) == is_parsed);
    (is_parsed ? sound : damaged) += 1;

    const Admitted outcome = admit(door, names, body, EPHOR_FORMAT_OTLP_TRACES);
    REQUIRE(outcome.records == outcome.taken.size() + outcome.rejections.size());
    if (!is_parsed) REQUIRE((!outcome.rejections.empty() || body.empty()));
    for (const Taken& taken : outcome.taken) {
      ephor_event event = taken.event;
      event.record = taken.record.data();
      const Span span = reader.span(event);
      REQUIRE(span.trace_id.size() == 32);
      std::string line;
      otlp::render(line, event, taken.source);
      REQUIRE(oracle::Json::accept(line));
    }
    check_round_trip(outcome, *describer);
    // What was never checked, as a plugin may get it.
    ephor_event raw{};
    raw.encoding = EPHOR_ENCODING_OTLP;
    raw.record = view.data();
    raw.record_length = static_cast<std::uint32_t>(view.size());
    std::string line;
    otlp::render(line, raw, "test");
    REQUIRE(oracle::Json::accept(line));
    reader.span(raw).for_each_attribute([](std::string_view, const AttributeValue&) {});
  }
  CHECK(damaged > message_count() / 10);
  CHECK(sound > message_count() / 10);
}
