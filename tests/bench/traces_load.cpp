// SPDX-License-Identifier: Apache-2.0
//
// The clients of script/bench traces. Bodies are made before the clock starts.
//
//   bench_traces_load post --url URL --spans N [--encoding protobuf|json|events] [--connections 8]
//                     [--batch 1000] [--rate SPANS_PER_S]          flood or steady load
//   bench_traces_load plan --spans N [--sample K]                  what such a load contains
//   bench_traces_load ask --url URL --paths FILE [--connections 1] GETs, one path a line
//   bench_traces_load visible --url URL --count N [--gap-ms 50]    POST to readable by id
//   bench_traces_load write --out FILE --spans N [--encoding ..]   the bodies into a file
// All take --seed, --base-ns and --step-ns (traces_model.hpp). Each prints one JSON object.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "http_connection.hpp"
#include "traces_bodies.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using Milliseconds = std::chrono::duration<double, std::milli>;
using namespace ephor::bench;

constexpr std::string_view kTracePath = "/api/tracing/traces/";

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    if (argc < 2) throw std::runtime_error("expected post, plan, ask, visible or write");
    command = argv[1];
    for (int i = 2; i + 1 < argc; i += 2) values_[argv[i]] = argv[i + 1];
    if (argc % 2 != 0) throw std::runtime_error(std::string(argv[argc - 1]) + ": no value");
  }
  std::string text(const std::string& name, const std::string& fallback = "") const {
    const auto found = values_.find("--" + name);
    return found == values_.end() ? fallback : found->second;
  }
  std::uint64_t number(const std::string& name, std::uint64_t fallback) const {
    const std::string found = text(name);
    return found.empty() ? fallback : std::stoull(found);
  }
  Encoding encoding() const {
    const std::string name = text("encoding", "protobuf");
    if (name == "protobuf") return Encoding::protobuf;
    if (name == "json") return Encoding::json;
    if (name == "events") return Encoding::events;
    throw std::runtime_error("--encoding: found " + name + ", expected protobuf, json or events");
  }
  TraceOptions traces() const {
    TraceOptions options;
    options.seed = number("seed", options.seed);
    options.base_ns = static_cast<std::int64_t>(number("base-ns", 1'700'000'000'000'000'000));
    options.step_ns =
        static_cast<std::int64_t>(number("step-ns", static_cast<std::uint64_t>(options.step_ns)));
    return options;
  }
  std::string command;

 private:
  std::map<std::string, std::string> values_;
};

struct Body {
  std::string request;  // head and body
  std::uint64_t spans = 0;
};

Body request_of(const Address& address, Encoding encoding, const std::string& body,
                std::uint64_t spans) {
  std::string head = "POST ";
  head.append(path_of(encoding)).append(" HTTP/1.1\r\nHost: ").append(address.host);
  head.append("\r\nContent-Type: ").append(content_type_of(encoding));
  head.append("\r\nContent-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
  return {head + body, spans};
}

struct Totals {
  std::uint64_t spans = 0;    // acknowledged
  std::uint64_t refused = 0;  // spans that an answer said were not taken
  std::uint64_t busy = 0;     // answers 429 and 503, sent again
  std::uint64_t failed = 0;   // requests with any other answer
  std::string failure;
  std::vector<double> milliseconds;

  void add(const Totals& other) {
    spans += other.spans;
    refused += other.refused;
    busy += other.busy;
    failed += other.failed;
    if (failure.empty()) failure = other.failure;
    milliseconds.insert(milliseconds.end(), other.milliseconds.begin(), other.milliseconds.end());
  }
  void fail(std::string why) {
    ++failed;
    if (failure.empty()) failure = why.substr(0, 500);
  }
};

// rejected_spans of an Export*ServiceResponse, or of an answer of /api/events.
std::uint64_t refused_spans(Encoding encoding, const std::string& answer) {
  if (encoding == Encoding::protobuf) {
    // partial_success = 1 {rejected_spans = 1 varint, error_message = 2}
    std::size_t at = 0;
    if (answer.size() < 2 || answer[at] != '\x0a') return 0;
    do ++at;
    while (at < answer.size() && (static_cast<unsigned char>(answer[at]) & 0x80U) != 0);
    if (++at >= answer.size() || answer[at] != '\x08') return 0;
    std::uint64_t value = 0;
    for (unsigned shift = 0; ++at < answer.size() && shift < 64; shift += 7) {
      value |= std::uint64_t{static_cast<unsigned char>(answer[at]) & 0x7FU} << shift;
      if ((static_cast<unsigned char>(answer[at]) & 0x80U) == 0) break;
    }
    return value;
  }
  const Json parsed = Json::parse(answer, nullptr, false);
  if (!parsed.is_object()) return 0;
  if (encoding == Encoding::events) return parsed.value("rejected", std::uint64_t{0});
  const auto partial = parsed.find("partialSuccess");
  if (partial == parsed.end() || !partial->contains("rejectedSpans")) return 0;
  const Json& count = (*partial)["rejectedSpans"];
  return count.is_string() ? std::stoull(count.get<std::string>()) : count.get<std::uint64_t>();
}

// Runs `work(totals)` on so many threads; what one throws is its failure.
template <class Work>
Totals on_threads(std::size_t count, Work work) {
  std::vector<Totals> parts(count);
  std::vector<std::thread> threads;
  for (Totals& part : parts) {
    threads.emplace_back([&] {
      try {
        work(part);
      } catch (const std::exception& failure) {
        part.fail(failure.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Totals totals;
  for (const Totals& part : parts) totals.add(part);
  return totals;
}

void note_latencies(const Totals& totals, const std::string& prefix, Json& figures) {
  figures[prefix + "_p50_ms"] = quantile(totals.milliseconds, 0.50);
  figures[prefix + "_p95_ms"] = quantile(totals.milliseconds, 0.95);
  figures[prefix + "_p99_ms"] = quantile(totals.milliseconds, 0.99);
  figures[prefix + "_max_ms"] = quantile(totals.milliseconds, 1.0);
  figures["failed"] = totals.failed;
  if (!totals.failure.empty()) figures["failure"] = totals.failure;
}

Json post(const Arguments& arguments) {
  const Address address = address_of(arguments.text("url"));
  const Encoding encoding = arguments.encoding();
  const std::uint64_t spans = arguments.number("spans", 500'000);
  const std::uint64_t batch = arguments.number("batch", 1000);
  const auto rate = static_cast<double>(arguments.number("rate", 0));
  const TraceOptions options = arguments.traces();
  std::vector<Body> bodies;
  std::uint64_t bytes = 0;
  for (std::uint64_t at = 0; at < spans; at += batch) {
    const std::uint64_t count = std::min(batch, spans - at);
    const std::string body = make_body(options, encoding, at, count);
    bytes += body.size();
    bodies.push_back(request_of(address, encoding, body, count));
  }

  std::atomic<std::size_t> next{0};
  const double cpu_before = cpu_seconds();
  const auto begin = Clock::now();
  const Totals totals = on_threads(arguments.number("connections", 8), [&](Totals& part) {
    Connection connection(address);
    std::string answer;
    for (std::size_t i = next++; i < bodies.size(); i = next++) {
      if (rate > 0) {
        const std::chrono::duration<double> due(static_cast<double>(i * batch) / rate);
        std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(due));
      }
      for (;;) {
        const auto sent = Clock::now();
        const int status = connection.exchange(bodies[i].request, answer);
        if (status == 429 || status == 503) {
          ++part.busy;
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          continue;
        }
        part.milliseconds.push_back(Milliseconds(Clock::now() - sent).count());
        if (status == 200) {
          const std::uint64_t refused = refused_spans(encoding, answer);
          part.refused += refused;
          part.spans += bodies[i].spans - refused;
        } else {
          part.fail(std::to_string(status) + " " + answer);
        }
        break;
      }
    }
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Json figures{{"seconds", seconds},
               {"client_cpu_seconds", cpu_seconds() - cpu_before},
               {"spans", totals.spans},
               {"refused", totals.refused},
               {"busy_answers", totals.busy},
               {"spans_per_s", static_cast<double>(totals.spans) / seconds},
               {"body_bytes_per_span", static_cast<double>(bytes) / static_cast<double>(spans)}};
  note_latencies(totals, "post", figures);
  return figures;
}

Json facts_of(const Trace& trace) {
  Json spans = Json::array();
  for (const Span& span : trace.spans) {
    spans.push_back({{"span_id", hex(span.span_id.data(), 8)},
                     {"parent_id", span.has_parent ? hex(span.parent_id.data(), 8) : ""},
                     {"service", kServices[span.service]},
                     {"name", span.name},
                     {"start_ns", span.start_ns},
                     {"end_ns", span.end_ns},
                     {"is_error", span.is_error}});
  }
  return {{"trace_id", trace.trace_id},         {"correlation_id", trace.correlation_id},
          {"decision_id", trace.decision_id},   {"order_id", trace.order_id},
          {"is_error", trace.is_error},         {"is_slow", trace.is_slow},
          {"duration_ns", trace.duration_ns()}, {"spans", std::move(spans)}};
}

Json plan(const Arguments& arguments) {
  const TraceOptions options = arguments.traces();
  const std::uint64_t traces = arguments.number("spans", 500'000) / kSpansPerTrace;
  const std::uint64_t sample = std::min(arguments.number("sample", 300), traces);
  Json out{{"traces", traces},
           {"errors", Json::array()},
           {"slow", Json::array()},
           {"sample", Json::array()}};
  for (std::uint64_t i = 0; i < traces; ++i) {
    const Trace trace = make_trace(options, i);
    if (trace.is_error) out["errors"].push_back(trace.trace_id);
    if (trace.is_slow) out["slow"].push_back(trace.trace_id);
    if (sample > 0 && i % (traces / sample) == 0 && out["sample"].size() < sample) {
      out["sample"].push_back(facts_of(trace));
    }
  }
  return out;
}

std::string get_request(const Address& address, const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: " + address.host + "\r\n\r\n";
}

Json ask(const Arguments& arguments) {
  const Address address = address_of(arguments.text("url"));
  std::ifstream file(arguments.text("paths"));
  std::vector<std::string> requests;
  for (std::string path; std::getline(file, path);) {
    if (!path.empty()) requests.push_back(get_request(address, path));
  }
  if (requests.empty()) throw std::runtime_error("--paths: found no path");
  std::atomic<std::size_t> next{0};
  const auto begin = Clock::now();
  const Totals totals = on_threads(arguments.number("connections", 1), [&](Totals& part) {
    Connection connection(address);
    std::string answer;
    for (std::size_t i = next++; i < requests.size(); i = next++) {
      const auto sent = Clock::now();
      const int status = connection.exchange(requests[i], answer);
      part.milliseconds.push_back(Milliseconds(Clock::now() - sent).count());
      if (status != 200) part.fail(std::to_string(status) + " " + answer);
    }
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Json figures{{"gets", totals.milliseconds.size()},
               {"gets_per_s", static_cast<double>(totals.milliseconds.size()) / seconds}};
  note_latencies(totals, "get", figures);
  return figures;
}

bool holds_all_spans(const Trace& trace, const std::string& answer) {
  return std::all_of(trace.spans.begin(), trace.spans.end(), [&](const Span& span) {
    return answer.find(hex(span.span_id.data(), 8)) != std::string::npos;
  });
}

// From the first byte of the POST to the last of an answer that holds every span of the trace.
Json visible(const Arguments& arguments) {
  const Address address = address_of(arguments.text("url"));
  const std::uint64_t count = arguments.number("count", 100);
  const std::chrono::milliseconds gap(arguments.number("gap-ms", 50));
  Connection connection(address);
  Totals totals;
  Totals posts;  // how much of it was the POST
  std::string answer;
  std::uint64_t reads = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    TraceOptions options = arguments.traces();
    options.step_ns = 0;
    options.base_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count() -
                      100'000'000;
    const Trace trace = make_trace(options, i);
    const std::string body =
        make_body(options, Encoding::protobuf, i * kSpansPerTrace, kSpansPerTrace);
    const Body posted = request_of(address, Encoding::protobuf, body, kSpansPerTrace);
    const std::string question = get_request(address, std::string(kTracePath) + trace.trace_id);
    std::this_thread::sleep_for(gap);
    const auto sent = Clock::now();
    const int status = connection.exchange(posted.request, answer);
    posts.milliseconds.push_back(Milliseconds(Clock::now() - sent).count());
    if (status != 200) {
      totals.fail(std::to_string(status) + " " + answer);
      continue;
    }
    for (;;) {
      ++reads;
      const int found = connection.exchange(question, answer);
      const Milliseconds took = Clock::now() - sent;
      if (found == 200 && holds_all_spans(trace, answer)) {
        totals.milliseconds.push_back(took.count());
        break;
      }
      if (took > std::chrono::seconds(10)) {
        totals.fail("not readable after 10 s: " + std::to_string(found) + " " + answer);
        break;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  Json figures{{"traces", totals.milliseconds.size()},
               {"reads_per_trace", static_cast<double>(reads) / static_cast<double>(count)}};
  note_latencies(posts, "visible_post", figures);
  note_latencies(totals, "visible", figures);
  return figures;
}

Json write(const Arguments& arguments) {
  const std::uint64_t spans = arguments.number("spans", 500'000);
  const std::uint64_t batch = arguments.number("batch", 1000);
  std::ofstream out(arguments.text("out"), std::ios::binary);
  std::uint64_t bytes = 0;
  for (std::uint64_t at = 0; at < spans; at += batch) {
    const std::string body =
        make_body(arguments.traces(), arguments.encoding(), at, std::min(batch, spans - at));
    bytes += body.size();
    out << body;
  }
  if (!out.flush()) throw std::runtime_error("--out: cannot be written");
  return {{"bytes", bytes}};
}

int run(const Arguments& arguments) {
  Json figures;
  if (arguments.command == "post") {
    figures = post(arguments);
  } else if (arguments.command == "plan") {
    figures = plan(arguments);
  } else if (arguments.command == "ask") {
    figures = ask(arguments);
  } else if (arguments.command == "visible") {
    figures = visible(arguments);
  } else if (arguments.command == "write") {
    figures = write(arguments);
  } else {
    throw std::runtime_error(arguments.command + ": no such command");
  }
  std::cout << figures.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  return figures.value("failed", 0U) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(Arguments(argc, argv));
  } catch (const std::exception& failure) {
    std::cerr << "bench_traces_load: " << failure.what() << std::endl;
    return 2;
  }
}
