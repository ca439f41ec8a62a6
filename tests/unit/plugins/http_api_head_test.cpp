// SPDX-License-Identifier: Apache-2.0
//
// Heads of requests from bytes, and the words of each ingest protocol.
#include <Poco/Net/HTTPRequest.h>

#include <atomic>
#include <ephor/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "access.hpp"
#include "dialect.hpp"
#include "head.hpp"
#include "http_api_protobuf.hpp"
#include "ingest.hpp"
#include "support/catch.hpp"

using namespace ephor::http_api;
using ephor::Json;
using http_api_test::fields_of;
using Poco::Net::HTTPRequest;

namespace {

constexpr HeadLimits kLimits{1000, 100, 5};

int refused(const std::string& head) {
  HTTPRequest request;
  const auto refusal = read_head(head, kLimits, request);
  return refusal ? refusal->status : 0;
}

ephor_ingest_result result_of(std::uint32_t accepted, std::uint32_t duplicate,
                              std::uint32_t rejected) {
  ephor_ingest_result result{};
  result.accepted = accepted;
  result.duplicate = duplicate;
  result.rejected = rejected;
  result.last_sequence = 7;
  return result;
}

Rejections rejections_of(int count) {
  Rejections all;
  for (int i = 1; i <= count; ++i) {
    ++all.count;
    all.listed.push_back({static_cast<std::uint32_t>(i), "/at/" + std::to_string(i), "is bad"});
  }
  return all;
}

}  // namespace

TEST_CASE("head: its end is found wherever the bytes are cut", "[unit][http]") {
  const std::string head = "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
  const std::string bytes = head + "\r\n\r\nbody";
  for (std::size_t step = 1; step < 8; ++step) {
    std::size_t scanned = 0;
    std::size_t found = 0;
    std::size_t size = 0;
    for (; found == 0 && size < bytes.size();) {
      size = std::min(bytes.size(), size + step);
      found = head_size(std::string_view(bytes).substr(0, size), scanned);
      if (found == 0) CHECK(size < head.size());
    }
    CHECK(found == head.size());
  }
  std::size_t scanned = 0;
  CHECK(head_size("GET / HTTP/1.1\nHost: x\n\nbody", scanned) == 24);
  scanned = 0;
  CHECK(head_size("GET / HTTP/1.1\r\nHost: x\r\n", scanned) == 0);
}

TEST_CASE("head: method, target, version and fields are read", "[unit][http]") {
  HTTPRequest request;
  REQUIRE_FALSE(
      read_head("POST /v1/traces?x=1 HTTP/1.1\r\nHost: a:1\r\nX-Empty:\r\n"
                "Accept:\t a b \t\r\naccept: c\r\n\r\n",
                kLimits, request));
  CHECK(request.getMethod() == "POST");
  CHECK(request.getURI() == "/v1/traces?x=1");
  CHECK(request.getVersion() == "HTTP/1.1");
  CHECK(request.get("host") == "a:1");
  CHECK(request.get("x-empty") == "");
  CHECK(request.get("ACCEPT") == "a b");
  CHECK(request.size() == 4);
}

TEST_CASE("head: each limit has its answer", "[unit][http]") {
  CHECK(refused("GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 0);
  CHECK(refused("GET /" + std::string(99, 'a') + " HTTP/1.1\r\n\r\n") == 0);
  CHECK(refused("GET /" + std::string(100, 'a') + " HTTP/1.1\r\n\r\n") == 414);
  CHECK(refused("GET / HTTP/1.1\r\nA: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\n\r\n") == 0);
  CHECK(refused("GET / HTTP/1.1\r\nA: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\nA: 6\r\n\r\n") == 431);
  CHECK(refused("GET / HTTP/1.1\r\nA: " + std::string(1000, 'a') + "\r\n\r\n") == 431);
  CHECK(refused("PRI * HTTP/2.0\r\n\r\n") == 505);
  for (const char* bad :
       {"GET /\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "G(T / HTTP/1.1\r\n\r\n", "\r\n\r\n",
        "GET / FTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nbad name: x\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\x01\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}) {
    INFO(bad);
    CHECK(refused(bad) == 400);
  }
}

TEST_CASE("head: what cannot become good is refused before its end", "[unit][http]") {
  CHECK_FALSE(refusal_of_part("", kLimits));
  CHECK_FALSE(refusal_of_part("GET /x", kLimits));
  CHECK(refusal_of_part("\x16\x03\x01", kLimits)->status == 400);
  CHECK(refusal_of_part("GET /" + std::string(200, 'a'), kLimits)->status == 414);
  CHECK(refusal_of_part("GET / HTTP/1.1\r\nA: " + std::string(1000, 'a'), kLimits)->status == 431);
}

TEST_CASE("head: bodies of events go their own lane", "[unit][http]") {
  for (const char* path :
       {"/api/events", "/v1/traces", "/v1/metrics", "/v1/logs", "/write", "/api/v2/write"}) {
    const std::string text(path);
    CHECK(lane_of("POST " + text + " HTTP/1.1\r\n") == Lane::ingest);
    CHECK(lane_of("POST " + text + "?db=x HTTP/1.1\r\n") == Lane::ingest);
    CHECK(lane_of("GET " + text + " HTTP/1.1\r\n") == Lane::reads);
    CHECK(lane_of("POST " + text + "/more HTTP/1.1\r\n") == Lane::reads);
  }
  CHECK(lane_of("POST /api/faults HTTP/1.1\r\n") == Lane::reads);
}

TEST_CASE("head: random bytes never break the reader", "[unit][http]") {
  std::mt19937 random(7);
  const std::string alphabet = "GET /:\r\n\t aHTTP/1.\x01\xff";
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = round % 2 == 0 ? "GET / HTTP/1.1\r\n" : "";
    for (std::size_t i = random() % 60; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    std::size_t scanned = 0;
    const std::size_t size = head_size(bytes, scanned);
    REQUIRE(size <= bytes.size());
    HTTPRequest request;
    if (size > 0 && !read_head(bytes.substr(0, size), kLimits, request)) {
      REQUIRE(request.size() <= kLimits.fields_max);
    }
  }
}

TEST_CASE("access: tokens are checked by many threads at once", "[unit][http]") {
  // FIPS 180-2, appendix B.1.
  const std::string expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20'000; ++n) wrong += sha256_hex("abc") == expected ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("dialect: OTLP says nothing where all is well", "[unit][http]") {
  const Answer protobuf =
      result_answer(Dialect::otlp_protobuf, Builtin::otlp_traces, result_of(3, 1, 0), {});
  CHECK(protobuf.status == 200);
  CHECK(protobuf.body.empty());
  CHECK(protobuf.content_type == "application/x-protobuf");
  CHECK(protobuf.as_of_sequence == 7);
  const Answer json =
      result_answer(Dialect::otlp_json, Builtin::otlp_traces, result_of(3, 1, 0), {});
  CHECK(json.status == 200);
  CHECK(json.body == "{}");
}

TEST_CASE("dialect: OTLP's partial success has the number and the reasons", "[unit][http]") {
  const Answer protobuf = result_answer(Dialect::otlp_protobuf, Builtin::otlp_logs,
                                        result_of(1000, 0, 300), rejections_of(300));
  CHECK(protobuf.status == 200);
  const auto outer = fields_of(protobuf.body);
  REQUIRE(outer.size() == 1);
  CHECK(outer.at(1).wire_type == 2);
  const auto partial = fields_of(outer.at(1).bytes);
  CHECK(partial.at(1).wire_type == 0);
  CHECK(partial.at(1).number == 300);
  CHECK(
      partial.at(2).bytes.starts_with("300 of 1300 log records rejected: log record 1 /at/1: is"));
  CHECK(partial.at(2).bytes.ends_with("; and 295 more"));
  const std::pair<Builtin, const char*> members[] = {{Builtin::otlp_traces, "rejectedSpans"},
                                                     {Builtin::otlp_metrics, "rejectedDataPoints"},
                                                     {Builtin::otlp_logs, "rejectedLogRecords"}};
  for (const auto& [builtin, member] : members) {
    const Json body = Json::parse(
        result_answer(Dialect::otlp_json, builtin, result_of(0, 1, 2), rejections_of(2)).body);
    CHECK(body["partialSuccess"][member] == "2");
    CHECK(body["partialSuccess"]["errorMessage"].get<std::string>().find("/at/2: is bad") !=
          std::string::npos);
  }
}

TEST_CASE("dialect: failures are google.rpc.Status in OTLP", "[unit][http]") {
  Answer answer = result_answer(Dialect::otlp_protobuf, Builtin::otlp_traces, result_of(0, 0, 2),
                                rejections_of(2));
  CHECK(answer.status == 400);
  speak(Dialect::otlp_protobuf, answer);
  const auto status = fields_of(answer.body);
  CHECK(status.at(1).number == 3);
  CHECK(status.at(2).bytes.find("span 2 /at/2: is bad") != std::string::npos);
  CHECK(answer.content_type == "application/x-protobuf");
  Answer busy = busy_answer("full");
  speak(Dialect::otlp_json, busy);
  CHECK(Json::parse(busy.body) == Json{{"code", 14}, {"message", "full"}});
  CHECK(busy.content_type == "application/json");
  CHECK(rpc_code_of(401) == 16);
  CHECK(rpc_code_of(413) == 8);
}

TEST_CASE("dialect: InfluxDB's words, and what was kept", "[unit][http]") {
  CHECK(result_answer(Dialect::influx1, Builtin::influx_write, result_of(3, 0, 0), {}).status ==
        204);
  Answer partial =
      result_answer(Dialect::influx1, Builtin::influx_write, result_of(3, 0, 2), rejections_of(2));
  CHECK(partial.status == 400);
  speak(Dialect::influx1, partial);
  CHECK(Json::parse(partial.body)["error"] ==
        "partial write: 2 of 5 lines rejected: line 1 /at/1: is bad; line 2 /at/2: is bad "
        "dropped=2");
  Answer none = result_answer(Dialect::influx2, Builtin::influx_write_v2, result_of(0, 0, 1),
                              rejections_of(1));
  speak(Dialect::influx2, none);
  CHECK(none.status == 400);
  CHECK(Json::parse(none.body) ==
        Json{{"code", "invalid"},
             {"message", "unable to parse: 1 of 1 lines rejected: line 1 /at/1: is bad"}});
}

TEST_CASE("ingest: formats by route, type and precision", "[unit][http]") {
  CHECK(otlp_format_of(Builtin::otlp_traces, "application/x-protobuf") == EPHOR_FORMAT_OTLP_TRACES);
  CHECK(otlp_format_of(Builtin::otlp_metrics, "Application/X-Protobuf ; a=b") ==
        EPHOR_FORMAT_OTLP_METRICS);
  CHECK(otlp_format_of(Builtin::otlp_logs, "application/protobuf") == EPHOR_FORMAT_OTLP_LOGS);
  CHECK(otlp_format_of(Builtin::otlp_traces, "application/json") == EPHOR_FORMAT_OTLP_TRACES_JSON);
  CHECK(otlp_format_of(Builtin::otlp_metrics, "application/json;charset=utf-8") ==
        EPHOR_FORMAT_OTLP_METRICS_JSON);
  CHECK(otlp_format_of(Builtin::otlp_logs, "application/json") == EPHOR_FORMAT_OTLP_LOGS_JSON);
  CHECK(otlp_format_of(Builtin::otlp_traces, "text/plain") == -1);
  const std::pair<const char*, int> units[] = {{"", EPHOR_FORMAT_INFLUX_NS},
                                               {"n", EPHOR_FORMAT_INFLUX_NS},
                                               {"ns", EPHOR_FORMAT_INFLUX_NS},
                                               {"u", EPHOR_FORMAT_INFLUX_US},
                                               {"us", EPHOR_FORMAT_INFLUX_US},
                                               {"ms", EPHOR_FORMAT_INFLUX_MS},
                                               {"s", EPHOR_FORMAT_INFLUX_S},
                                               {"m", -1},
                                               {"h", -1}};
  for (const auto& [precision, format] : units) {
    CHECK(influx_format_of(precision, Builtin::influx_write) == format);
  }
  CHECK(influx_format_of("n", Builtin::influx_write_v2) == -1);
  CHECK(influx_format_of("us", Builtin::influx_write_v2) == EPHOR_FORMAT_INFLUX_US);
}
