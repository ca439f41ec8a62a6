// SPDX-License-Identifier: Apache-2.0
//
// bench_otlp [BODIES] [ROUNDS]: what OTLP traces cost inside the host, in CPU time: bodies of 1,000
// spans of a trading system (six attributes each, 8 spans a trace), as protobuf and as JSON,
// through the door alone, through the journal's encoding, and rendered. The median of the rounds,
// per million spans, as one JSON object.
#include <ephor/otlp.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <exception>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "ingest/door.hpp"
#include "ingest/proto_writer.hpp"
#include "store/batch_codec.hpp"

namespace {

using namespace ephor::host;

constexpr int kSpansPerBody = 1000;
constexpr std::int64_t kArrivedNs = 1'800'000'000'000'000'000;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::string hex_of(const std::string& bytes) {
  std::string out;
  ephor::otlp::append_hex(out, bytes);
  return out;
}

struct Bodies {
  std::vector<std::string> binary;
  std::vector<std::string> json;
  std::size_t span_bytes = 0;
};

class Maker {
 public:
  Bodies make(int count) {
    Bodies out;
    for (int i = 0; i < count; ++i) make_one(out);
    return out;
  }

 private:
  std::string bytes(std::size_t size) {
    std::string out(size, '\0');
    for (char& c : out) c = static_cast<char>(random_() & 0xFF);
    return out;
  }
  static std::string field(std::uint32_t number, const std::string& content) {
    std::string out;
    ProtoWriter(out).bytes(number, content);
    return out;
  }

  void make_one(Bodies& out) {
    static const char* const kOperations[] = {"build_features", "predict", "decide",
                                              "size_position",  "risk",    "place_order"};
    std::string spans;
    std::string json_spans;
    std::string trace;
    std::string parent;
    for (int i = 0; i < kSpansPerBody; ++i) {
      if (i % 8 == 0) {
        trace = bytes(16);
        parent.clear();
        ++decision_;
      }
      const std::string id = bytes(8);
      const std::uint64_t start = now_ += 1'000'000 + random_() % 5'000'000;
      const std::uint64_t end = start + 100'000 + random_() % 20'000'000;
      const char* const operation = kOperations[random_() % 6];
      std::string span = field(1, trace) + field(2, id);
      if (!parent.empty()) span += field(4, parent);
      span += field(5, operation);
      ProtoWriter to(span);
      to.varint(6, 1);
      to.fixed64(7, start);
      to.fixed64(8, end);
      std::string json = "{\"traceId\":\"" + hex_of(trace) + "\",\"spanId\":\"" + hex_of(id) +
                         "\",\"parentSpanId\":\"" + hex_of(parent) + "\",\"name\":\"" + operation +
                         "\",\"kind\":1,\"startTimeUnixNano\":\"" + std::to_string(start) +
                         "\",\"endTimeUnixNano\":\"" + std::to_string(end) + "\",\"attributes\":[";
      const std::string texts[][2] = {{"symbol", "BTCUSDT"},
                                      {"decision.id", "d-" + std::to_string(decision_)},
                                      {"model.id", "xgboost_1m"},
                                      {"thread.name", "MainThread"}};
      for (const auto& [key, text] : texts) {
        span += field(9, field(1, key) + field(2, field(1, text)));
        json += "{\"key\":\"" + key + "\",\"value\":{\"stringValue\":\"" + text + "\"}},";
      }
      const std::uint64_t size = random_() % 10'000;
      std::string integer;
      ProtoWriter(integer).varint(3, size);
      span += field(9, field(1, "payload.size") + field(2, integer));
      json += "{\"key\":\"payload.size\",\"value\":{\"intValue\":\"" + std::to_string(size) +
              "\"}},{\"key\":\"confidence\",\"value\":{\"doubleValue\":0.";
      std::string number;
      const std::uint64_t digits = 1000 + random_() % 9000;
      ProtoWriter(number).fixed64(
          4, std::bit_cast<std::uint64_t>(std::stod("0." + std::to_string(digits))));
      span += field(9, field(1, "confidence") + field(2, number));
      json += std::to_string(digits) + "}}],\"status\":{}}";
      span += field(15, "");
      if (parent.empty()) parent = id;
      out.span_bytes += span.size();
      spans += field(2, span);
      json_spans += (i == 0 ? "" : ",") + json;
    }
    const std::string resource =
        field(1, field(1, "service.name") + field(2, field(1, "ares"))) +
        field(1, field(1, "telemetry.sdk.language") + field(2, field(1, "python")));
    out.binary.push_back(
        field(1, field(1, resource) + field(2, field(1, field(1, "ares.tracing")) + spans)));
    out.json.push_back(
        R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":)"
        R"({"stringValue":"ares"}},{"key":"telemetry.sdk.language","value":{"stringValue":)"
        R"("python"}}]},"scopeSpans":[{"scope":{"name":"ares.tracing"},"spans":[)" +
        json_spans + "]}]}]}");
  }

  std::mt19937_64 random_{7};
  std::uint64_t now_ = 1'790'000'000'000'000'000;
  std::uint64_t decision_ = 0;
};

Buffer buffer_of(std::string_view text) {
  Buffer buffer(text.size());
  std::memcpy(buffer.data(), text.data(), text.size());
  buffer.set_size(text.size());
  return buffer;
}

struct Round {
  double door_s = 0;
  double encode_s = 0;
  double render_s = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t join_keys = 0;
  std::uint64_t events = 0;
};

Round run(const std::vector<std::string>& bodies, std::uint32_t format) {
  Names names;
  Door door(IngestConfig(), names);
  Round round;
  std::string rendered;
  for (const std::string& body : bodies) {
    Buffer buffer = buffer_of(body);
    const double start = cpu_seconds();
    const Arrival arrival =
        door.admit(std::move(buffer), {.format = format, .arrived_ns = kArrivedNs});
    const double admitted = cpu_seconds();
    round.door_s += admitted - start;
    if (arrival.rejected_count != 0) throw std::runtime_error(arrival.rejections[0].reason);
    for (const ArrivedBatch& arrived : arrival.batches) {
      const EncodedBatch encoded = encode_batch(*arrived.batch);
      round.stored_bytes += encoded.body.size() + encoded.ids.size();
      round.join_keys += arrived.batch->join_keys.size();
      round.events += arrived.batch->events.size();
    }
    const double encoded = cpu_seconds();
    round.encode_s += encoded - admitted;
    for (const ArrivedBatch& arrived : arrival.batches) {
      for (const ephor_event& event : arrived.batch->events) {
        rendered.clear();
        ephor::otlp::render(rendered, event, names.sources.name(event.source));
      }
    }
    round.render_s += cpu_seconds() - encoded;
  }
  return round;
}

void report(const char* name, const std::vector<std::string>& bodies, std::uint32_t format,
            int rounds) {
  std::vector<double> door, encode, render;
  Round last;
  for (int i = 0; i < rounds; ++i) {
    last = run(bodies, format);
    const double scale = 1e6 / static_cast<double>(last.events);
    door.push_back(last.door_s * scale);
    encode.push_back(last.encode_s * scale);
    render.push_back(last.render_s * scale);
  }
  const auto events = static_cast<double>(last.events);
  std::cout << "\"" << name << "_door_cpu_s_per_million\": " << median(door) << ", \"" << name
            << "_door_cpu_s_per_million_least\": " << *std::ranges::min_element(door) << ", \""
            << name << "_encode_cpu_s_per_million\": " << median(encode) << ", \"" << name
            << "_render_cpu_s_per_million\": " << median(render) << ", \"" << name
            << "_stored_bytes_per_span\": " << static_cast<double>(last.stored_bytes) / events
            << ", \"" << name
            << "_join_keys_per_span\": " << static_cast<double>(last.join_keys) / events << ", ";
}

}  // namespace

int main(int argc, char** argv) try {
  const int count = argc > 1 ? std::stoi(argv[1]) : 50;
  const int rounds = argc > 2 ? std::stoi(argv[2]) : 7;
  const Bodies bodies = Maker().make(count);
  std::cout << "{\"name\": \"otlp\", \"figures\": {";
  report("protobuf", bodies.binary, EPHOR_FORMAT_OTLP_TRACES, rounds);
  report("json", bodies.json, EPHOR_FORMAT_OTLP_TRACES_JSON, rounds);
  std::cout << "\"spans\": " << count * kSpansPerBody << ", \"span_bytes\": "
            << static_cast<double>(bodies.span_bytes) / (count * kSpansPerBody) << "}}\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
