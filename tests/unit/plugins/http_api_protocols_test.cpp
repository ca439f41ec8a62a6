// SPDX-License-Identifier: Apache-2.0
//
// OTLP/HTTP and InfluxDB's write protocols over real sockets: what reaches the host, what the
// client is told. The host's door is a fake one; what it makes of the bytes is tested where it
// lives.
#include <zstd.h>

#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <string>
#include <vector>

#include "http_api.hpp"
#include "http_api_client.hpp"
#include "http_api_protobuf.hpp"
#include "inflate.hpp"
#include "support/catch.hpp"

using ephor::Json;
using ephor::http_api::HttpApi;
using ephor::testing::FakeHost;
using ephor::testing::Ingested;
using http_api_test::Client;
using http_api_test::fields_of;
using http_api_test::Reply;

namespace {

constexpr const char* kProtobuf = "application/x-protobuf";
constexpr const char* kJson = "application/json";

// A door that takes every body whole, but for what a test says.
struct Fixture {
  explicit Fixture(Json config = Json::object()) {
    config["listen"] = "127.0.0.1:0";
    const HttpApi& api = host.load_plugin<HttpApi>(config.dump());
    port = http_api_test::port_of(api.url());
    host.on_ingest([this](const Ingested& body, ephor_ingest_result& result,
                          std::vector<ephor::testing::Rejection>& rejections) {
      result.accepted = accepted;
      result.rejected = rejected;
      result.events = accepted;
      result.last_sequence = 65536;
      for (std::uint32_t i = 1; i <= rejected; ++i) {
        rejections.push_back({i, "/resourceSpans/0/scopeSpans/0/spans/" + std::to_string(i - 1),
                              "found nothing, expected something"});
      }
      static_cast<void>(body);
    });
  }
  FakeHost host;
  std::uint32_t accepted = 3;
  std::uint32_t rejected = 0;
  int port = 0;
};

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

const std::string kBytes("\x0a\x00\xff\x01\x00 any bytes", 15);

}  // namespace

TEST_CASE("otlp: each signal in each encoding reaches the host as it is", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const std::pair<const char*, int> routes[] = {{"/v1/traces", EPHOR_FORMAT_OTLP_TRACES},
                                                {"/v1/metrics", EPHOR_FORMAT_OTLP_METRICS},
                                                {"/v1/logs", EPHOR_FORMAT_OTLP_LOGS}};
  std::vector<std::uint32_t> formats;
  for (const auto& [target, format] : routes) {
    const Reply protobuf = client.post(target, kProtobuf, kBytes);
    CHECK(protobuf.status == 200);
    CHECK(protobuf.body.empty());
    CHECK(protobuf.headers.at("content-type") == kProtobuf);
    CHECK(protobuf.headers.at("ephor-as-of-sequence") == "65536");
    const Reply json = client.post(target, kJson, "{\"a\":1}");
    CHECK(json.status == 200);
    CHECK(json.body == "{}");
    CHECK(json.headers.at("content-type") == kJson);
    formats.push_back(static_cast<std::uint32_t>(format));
    formats.push_back(static_cast<std::uint32_t>(format) + 3);
  }
  const auto ingested = fixture.host.ingested();
  REQUIRE(ingested.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(ingested[i].format == formats[i]);
    CHECK(ingested[i].body == (i % 2 == 0 ? kBytes : "{\"a\":1}"));
  }
}

TEST_CASE("otlp: gzip and zstd are taken, others refused", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  std::string large;
  for (int i = 0; i < 100'000; ++i) large += std::to_string(i);
  CHECK(client
            .post("/v1/traces", kProtobuf, ephor::http_api::deflate_gzip(large),
                  "Content-Encoding: gzip\r\n")
            .status == 200);
  CHECK(client.post("/v1/traces", kProtobuf, zstd(large), "Content-Encoding: zstd\r\n").status ==
        200);
  CHECK(client.post("/v1/traces", kProtobuf, large).status == 200);
  const Reply refused = client.post("/v1/traces", kProtobuf, "x", "Content-Encoding: br\r\n");
  CHECK(refused.status == 415);
  CHECK(fields_of(refused.body).at(2).bytes.find("br") != std::string::npos);
  const Reply broken =
      client.post("/v1/traces", kProtobuf, "no gzip", "Content-Encoding: gzip\r\n");
  CHECK(broken.status == 400);
  CHECK(fields_of(broken.body).at(1).number == 3);
  const auto ingested = fixture.host.ingested();
  REQUIRE(ingested.size() == 3);
  for (const Ingested& body : ingested) CHECK(body.body == large);
}

TEST_CASE("otlp: an empty request is a good one", "[integration][http]") {
  Fixture fixture;
  fixture.accepted = 0;
  Client client(fixture.port);
  const Reply protobuf = client.post("/v1/traces", kProtobuf, "");
  CHECK(protobuf.status == 200);
  CHECK(protobuf.body.empty());
  const Reply json = client.post("/v1/metrics", kJson, R"({"resourceMetrics":[]})");
  CHECK(json.status == 200);
  CHECK(json.body == "{}");
}

TEST_CASE("otlp: rejected spans are told with their reasons", "[integration][http]") {
  Fixture fixture;
  fixture.rejected = 2;
  Client client(fixture.port);
  const Reply protobuf = client.post("/v1/traces", kProtobuf, kBytes);
  CHECK(protobuf.status == 200);
  const auto partial = fields_of(fields_of(protobuf.body).at(1).bytes);
  CHECK(partial.at(1).number == 2);
  CHECK(partial.at(2).bytes ==
        "2 of 5 spans rejected: span 1 /resourceSpans/0/scopeSpans/0/spans/0: found nothing, "
        "expected something; span 2 /resourceSpans/0/scopeSpans/0/spans/1: found nothing, expected "
        "something");
  const Json json = Json::parse(client.post("/v1/traces", kJson, "{}").body);
  CHECK(json["partialSuccess"]["rejectedSpans"] == "2");
  // All of it bad: the client must not send it again, and 400 says so.
  fixture.accepted = 0;
  const Reply bad = client.post("/v1/traces", kProtobuf, kBytes);
  CHECK(bad.status == 400);
  CHECK(fields_of(bad.body).at(1).number == 3);
  CHECK(fields_of(bad.body).at(2).bytes.starts_with("2 of 2 spans rejected"));
}

TEST_CASE("otlp: failures are google.rpc.Status in the request's encoding", "[integration][http]") {
  const Json tokens = {
      {{"name", "sdk"}, {"token", "writer-0123456789abcdef"}, {"scopes", {"write"}}},
      {{"name", "reader"}, {"token", "reader-0123456789abcdef"}, {"scopes", {"read"}}}};
  Fixture fixture(Json{{"tokens", tokens}, {"max_body_bytes", 5000}, {"max_inflated_bytes", 5000}});
  const std::string writer = "authorization: Bearer writer-0123456789abcdef\r\n";
  const auto code_of = [&](const std::string& body, const std::string& headers, int status) {
    Client client(fixture.port);
    const Reply reply = client.post("/v1/traces", kProtobuf, body, headers);
    CHECK(reply.status == status);
    CHECK(reply.headers.at("content-type") == kProtobuf);
    CHECK_FALSE(fields_of(reply.body).at(2).bytes.empty());
    return fields_of(reply.body).at(1).number;
  };
  CHECK(code_of("x", "", 401) == 16);
  CHECK(code_of("x", "Authorization: Bearer reader-0123456789abcdef\r\n", 403) == 7);
  CHECK(code_of(std::string(5001, 'x'), writer, 413) == 8);
  const std::string bomb = ephor::http_api::deflate_gzip(std::string(1'000'000, '0'));
  CHECK(code_of(bomb, writer + "Content-Encoding: gzip\r\n", 413) == 8);
  Client client(fixture.port);
  const Reply wrong = client.post("/v1/traces", "text/plain", "x", writer);
  CHECK(wrong.status == 415);
  CHECK(Json::parse(wrong.body)["code"] == 3);
  CHECK(client.post("/v1/traces", kProtobuf, kBytes, writer).status == 200);
  CHECK(fixture.host.ingested().at(0).default_source == "sdk");
  for (const ephor_status status : {EPHOR_FULL, EPHOR_IO}) {
    fixture.host.fail_ingest(status);
    const Reply busy = client.post("/v1/traces", kProtobuf, kBytes, writer);
    CHECK(busy.status == 503);
    CHECK(busy.headers.contains("retry-after"));
    CHECK(fields_of(busy.body).at(1).number == 14);
  }
}

TEST_CASE("influx: lines of both versions, with their unit and source", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const std::string lines = "cpu,host=a value=1 1\ncpu,host=b value=2 2\n";
  const Reply first =
      client.post("/write?db=telegraf&rp=autogen&precision=ms", "text/plain", lines);
  CHECK(first.status == 204);
  CHECK(first.body.empty());
  CHECK(client.post("/write", "application/x-www-form-urlencoded", lines).status == 204);
  CHECK(client
            .post("/api/v2/write?org=o&bucket=my%20bucket&precision=s", "text/plain",
                  ephor::http_api::deflate_gzip(lines), "Content-Encoding: gzip\r\n")
            .status == 204);
  const auto ingested = fixture.host.ingested();
  REQUIRE(ingested.size() == 3);
  CHECK(ingested[0].format == EPHOR_FORMAT_INFLUX_MS);
  CHECK(ingested[0].default_source == "influx/telegraf");
  CHECK(ingested[0].body == lines);
  CHECK(ingested[1].format == EPHOR_FORMAT_INFLUX_NS);
  CHECK(ingested[1].default_source == "influx");
  CHECK(ingested[2].format == EPHOR_FORMAT_INFLUX_S);
  CHECK(ingested[2].default_source == "influx/my bucket");
  CHECK(ingested[2].body == lines);
}

TEST_CASE("influx: what went wrong, as InfluxDB says it", "[integration][http]") {
  Fixture fixture;
  fixture.rejected = 1;
  Client client(fixture.port);
  const Reply partial = client.post("/write?db=x", "text/plain", "lines");
  CHECK(partial.status == 400);
  const std::string error = Json::parse(partial.body)["error"];
  CHECK(error.starts_with("partial write: 1 of 4 lines rejected: line 1"));
  CHECK(error.ends_with("dropped=1"));
  CHECK(partial.headers.at("x-influxdb-error") == error);
  const Json second = Json::parse(client.post("/api/v2/write?bucket=x", "text/plain", "l").body);
  CHECK(second["code"] == "invalid");
  CHECK(second["message"].get<std::string>().starts_with("partial write"));
  fixture.accepted = 0;
  CHECK(Json::parse(client.post("/write", "text/plain", "l").body)["error"]
            .get<std::string>()
            .starts_with("unable to parse: 1 of 1 lines"));
  CHECK(client.post("/write?precision=h", "text/plain", "l").status == 400);
  fixture.host.fail_ingest(EPHOR_FULL);
  const Reply busy = client.post("/api/v2/write", "text/plain", "l");
  CHECK(busy.status == 503);
  CHECK(busy.headers.contains("retry-after"));
  CHECK(Json::parse(busy.body)["code"] == "unavailable");
}

TEST_CASE("influx: the token's scheme and the ping of its clients", "[integration][http]") {
  const Json tokens = {
      {{"name", "telegraf"}, {"token", "writer-0123456789abcdef"}, {"scopes", {"write"}}}};
  Fixture fixture(Json{{"tokens", tokens}});
  Client client(fixture.port);
  const Reply none = client.post("/write?db=x", "text/plain", "l");
  CHECK(none.status == 401);
  CHECK(Json::parse(none.body)["error"].is_string());
  CHECK(client
            .post("/api/v2/write?bucket=x", "text/plain", "l",
                  "Authorization: Token writer-0123456789abcdef\r\n")
            .status == 204);
  CHECK(fixture.host.ingested().at(0).default_source == "telegraf");
  const Reply ping = client.get("/ping");
  CHECK(ping.status == 204);
  CHECK(ping.headers.contains("x-influxdb-version"));
  client.send("HEAD /ping HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(client.reply(false).status == 204);
}

TEST_CASE("http_api: trace context and correlation id join", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const Reply joined = client.get("/api", "traceparent: 00-" + trace + "-00f067aa0ba902b7-01\r\n");
  const std::string parent = joined.headers.at("traceparent");
  CHECK(parent.size() == 55);
  CHECK(parent.substr(0, 36) == "00-" + trace + "-");
  CHECK(parent.substr(36, 16) != "00f067aa0ba902b7");  // the answer's own span
  CHECK(parent.substr(52) == "-01");
  CHECK(joined.headers.at("x-correlation-id") == trace);
  // Both: each is kept.
  const Reply both = client.get(
      "/api", "traceparent: 00-" + trace + "-00f067aa0ba902b7-00\r\nX-Correlation-ID: c-1\r\n");
  CHECK(both.headers.at("x-correlation-id") == "c-1");
  CHECK(both.headers.at("traceparent").substr(3, 32) == trace);
  // The same correlation id is the same trace; a made one is the hex text of a new trace.
  const Reply one = client.get("/api", "X-Correlation-ID: order-7\r\n");
  const Reply two = client.get("/api", "x-correlation-id: order-7\r\n");
  CHECK(one.headers.at("traceparent").substr(3, 32) == two.headers.at("traceparent").substr(3, 32));
  const Reply none = client.get("/api");
  CHECK(none.headers.at("x-correlation-id") == none.headers.at("traceparent").substr(3, 32));
  // Broken ones count as absent.
  for (const char* bad : {"00-zz", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    const Reply reply = client.get("/api", "traceparent: " + std::string(bad) + "\r\n");
    CHECK(reply.headers.at("traceparent").substr(3, 32) != trace);
  }
}
