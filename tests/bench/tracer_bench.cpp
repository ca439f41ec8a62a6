// SPDX-License-Identifier: Apache-2.0
//
// bench_tracer [--spans N] [--format json|otlp] [--traces-at-once K] [--plugin FILE] [--config
// JSON]
// [--json FILE]: CPU seconds that the tracer's on_events takes for a million spans, the thread's
// own and nothing of the host. Traces of 11 spans with ten attributes in 4 services, 2 % of them
// with an error, 100,000 spans in a second of event time, K traces interleaved.
#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ephor/testing/fake_host.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/otlp_span.hpp"

namespace {

using ephor::testing::FakeHost;

constexpr std::int64_t kStart = 1'700'000'000'000'000'000;
constexpr std::int64_t kSpanNs = 10'000;  // of event time from one span to the next
constexpr int kSpansPerTrace = 11;
constexpr std::size_t kPadding = 64;
constexpr std::uint32_t kSliceEvents = 256;

struct Options {
  std::size_t spans = 1'000'000;
  std::string format = "json";
  int traces_at_once = 8;
  std::string plugin = std::string(EPHOR_BUILD_DIR) + "/lib/ephor/plugins/tracer.so";
  std::string config = "{}";
  std::string json;
};

struct Record {
  std::string bytes;
  std::uint32_t data_offset = 0;
  std::int64_t time_ns = 0;
  std::uint8_t trace_id[16] = {};
  std::uint64_t correlation = 0;
  std::uint32_t source = 0;
};

double thread_cpu_s() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

std::string hex(const std::uint8_t* bytes, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
    out += digits;
  }
  return out;
}

struct Shape {
  const char* component;
  const char* operation;
  int parent;  // place in the trace, -1: none
};
constexpr Shape kShape[kSpansPerTrace] = {
    {"gateway", "cycle", -1},  {"analyst", "handle", 0},    {"analyst", "features", 1},
    {"analyst", "predict", 1}, {"strategist", "handle", 0}, {"strategist", "blend", 4},
    {"strategist", "risk", 4}, {"tactician", "handle", 0},  {"tactician", "size", 7},
    {"tactician", "route", 7}, {"gateway", "finish", 0}};

// Begins in the order of the shape; children lie in their parents.
Record make_span(std::size_t trace, int place, std::int64_t end_ns, bool is_otlp,
                 std::mt19937_64& random) {
  Record record;
  record.time_ns = end_ns;
  std::uint64_t halves[2] = {trace * 0xC2B2AE3D27D4EB4FULL + 1, trace * 0x9E3779B97F4A7C15ULL + 1};
  std::memcpy(record.trace_id, halves, sizeof halves);
  const auto span_id = [&](int at) {
    return (trace + 1) * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(at);
  };
  const Shape& shape = kShape[place];
  const std::int64_t duration =
      static_cast<std::int64_t>((place == 0 ? 20'000'000 : 2'000'000) + random() % 3'000'000);
  const std::string order = "order-" + std::to_string(trace);
  const std::string symbol = random() % 2 == 0 ? "BTCUSDT" : "ETHUSDT";
  const std::string correlation = "corr-" + std::to_string(trace);
  record.correlation = ephor::hash64(correlation);
  const bool is_error = trace % 50 == 7 && place == 9;
  const std::pair<const char*, std::string> attributes[] = {{"component", shape.component},
                                                            {"correlation.id", correlation},
                                                            {"order.id", order},
                                                            {"symbol", symbol},
                                                            {"exchange", "BINANCE"},
                                                            {"timeframe", "1m"},
                                                            {"model.name", "gradient_boost"},
                                                            {"model.version", "1.4.2"},
                                                            {"thread.name", "worker-3"},
                                                            {"code.function", "run_once"}};
  if (is_otlp) {
    const std::uint64_t id = span_id(place);
    ephor::testing::OtlpSpan out;
    out.trace_id({reinterpret_cast<const char*>(record.trace_id), 16});
    out.span_id({reinterpret_cast<const char*>(&id), 8});
    if (shape.parent >= 0) {
      const std::uint64_t parent = span_id(shape.parent);
      out.parent_span_id({reinterpret_cast<const char*>(&parent), 8});
    }
    out.name(shape.operation).kind(1).start_ns(end_ns - duration).end_ns(end_ns);
    for (const auto& [name, value] : attributes) out.attribute(name, value);
    if (is_error) out.error("refused by the exchange, code 1003");
    record.bytes = out.bytes();
    return record;
  }
  std::string head = R"({"specversion":"1.0","id":")" + std::to_string(trace) + "-" +
                     std::to_string(place) + R"(","source":")";
  head += shape.component;
  head += R"(","type":"ephor.span","correlationid":")" + correlation + R"(","data":)";
  record.data_offset = static_cast<std::uint32_t>(head.size());
  std::string data = R"({"trace_id":")" + hex(record.trace_id, 16) + R"(","span_id":")" +
                     std::to_string(span_id(place)) + "\"";
  if (shape.parent >= 0) {
    data += R"(,"parent_span_id":")" + std::to_string(span_id(shape.parent)) + "\"";
  }
  data += std::string(R"(,"component":")") + shape.component + R"(","operation":")" +
          shape.operation + R"(","start_time_unix_nano":)" + std::to_string(end_ns - duration) +
          R"(,"end_time_unix_nano":)" + std::to_string(end_ns) + R"(,"status":")" +
          (is_error ? "error" : "ok") + "\"";
  if (is_error) data += R"(,"error_message":"refused by the exchange, code 1003")";
  data += R"(,"attributes":{)";
  bool is_first = true;
  for (const auto& [name, value] : attributes) {
    data += is_first ? "\"" : ",\"";
    is_first = false;
    data += name;
    data += "\":\"" + value + "\"";
  }
  record.bytes = head + data + "}}}";
  return record;
}

Options read_options(int count, char** words) {
  Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = words[i];
    const std::string value = words[i + 1];
    if (name == "--spans") {
      options.spans = std::stoul(value);
    } else if (name == "--format") {
      options.format = value;
    } else if (name == "--traces-at-once") {
      options.traces_at_once = std::stoi(value);
    } else if (name == "--plugin") {
      options.plugin = value;
    } else if (name == "--config") {
      options.config = value;
    } else if (name == "--json") {
      options.json = value;
    } else {
      throw std::runtime_error("unknown option " + std::string(name));
    }
  }
  return options;
}

const ephor_entry& entry_of(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto entry = reinterpret_cast<ephor_entry_function>(dlsym(library, EPHOR_ENTRY_SYMBOL));
  if (entry == nullptr) throw std::runtime_error(path + ": no entry");
  return *entry();
}

int run(const Options& options) {
  FakeHost host;
  host.load_plugin(entry_of(options.plugin), options.config, "tracer");
  const bool is_otlp = options.format == "otlp";
  std::uint16_t topic = 0;
  host.table()->topic_id(host.table()->context, ephor::to_view("ephor.span"), &topic, nullptr);
  // Made in blocks, so that a million spans need not be in memory at once.
  constexpr std::size_t kBlockTraces = 4096;
  std::mt19937_64 random(1);
  std::vector<Record> records;
  std::vector<ephor_event> events;
  double cpu_s = 0.0;
  std::size_t done = 0;
  std::int64_t now_ns = kStart;
  for (std::size_t first = 0; done < options.spans; first += kBlockTraces) {
    records.clear();
    for (std::size_t group = first; group < first + kBlockTraces;
         group += static_cast<std::size_t>(options.traces_at_once)) {
      for (int place = kSpansPerTrace - 1; place >= 0; --place) {
        for (int k = 0; k < options.traces_at_once; ++k) {
          records.push_back(make_span(group + static_cast<std::size_t>(k), place, now_ns += kSpanNs,
                                      is_otlp, random));
        }
      }
    }
    events.assign(records.size(), {});
    for (std::size_t i = 0; i < records.size(); ++i) {
      Record& record = records[i];
      const auto size = static_cast<std::uint32_t>(record.bytes.size());
      record.bytes.append(kPadding, '\0');
      ephor_event& event = events[i];
      event.sequence = done + i + 1;
      event.time_ns = record.time_ns;
      std::memcpy(event.trace_id, record.trace_id, 16);
      event.correlation = record.correlation;
      event.record = record.bytes.data();
      event.record_length = size;
      event.data_offset = record.data_offset;
      event.topic = topic;
      event.encoding = is_otlp ? EPHOR_ENCODING_OTLP : EPHOR_ENCODING_JSON;
    }
    const double begin_s = thread_cpu_s();
    for (std::size_t at = 0; at < events.size(); at += kSliceEvents) {
      const auto size =
          static_cast<std::uint32_t>(std::min<std::size_t>(kSliceEvents, events.size() - at));
      ephor::check([&](ephor_error* error) {
        return host.plugin_table().on_events(host.plugin_table().self, &events[at], size, error);
      });
    }
    cpu_s += thread_cpu_s() - begin_s;
    done += events.size();
  }
  const double per_million = cpu_s / static_cast<double>(done) * 1e6;
  std::printf("%zu spans (%s): %.3f CPU s, %.3f CPU s per million spans\n", done,
              options.format.c_str(), cpu_s, per_million);
  std::printf("%s\n", host.ask("tracer.summary").substr(0, 300).c_str());
  if (!options.json.empty()) {
    std::ofstream(options.json) << "{\"spans\": " << done << ", \"format\": \"" << options.format
                                << "\", \"cpu_s_per_million\": " << per_million << "}\n";
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(read_options(count, words));
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "bench_tracer: %s\n", failure.what());
    return 1;
  }
}
