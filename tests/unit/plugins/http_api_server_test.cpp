// SPDX-License-Identifier: Apache-2.0
//
// The whole plugin over real sockets, against the fake host.
#include <zlib.h>

#include <chrono>
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <fstream>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include "http_api.hpp"
#include "http_api_client.hpp"
#include "inflate.hpp"
#include "support/catch.hpp"
#include "support/patience.hpp"
#include "support/shared_data.hpp"

using ephor::Json;
using ephor::http_api::HttpApi;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;
using http_api_test::Client;
using http_api_test::Reply;
using namespace std::chrono_literals;

namespace {

constexpr const char* kLines = "application/x-ndjson";

struct Fixture {
  explicit Fixture(Json config = Json::object()) {
    config["listen"] = "127.0.0.1:0";
    const HttpApi& api = host.load_plugin<HttpApi>(config.dump());
    port = http_api_test::port_of(api.url());
  }
  FakeHost host;
  int port = 0;
};

std::string line(int i) {
  return CloudEvent{
      .topic = "ephor.metric", .data_json = "{\"value\":" + std::to_string(i) + "}", .time_ns = i}
      .line();
}

std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line(i) + "\n";
  return text;
}

void provide(FakeHost& host, const std::string& method, const std::string& path,
             ephor::QueryHandler handler) {
  const std::string query = "test." + method + path;
  host.answer_query(query, std::move(handler));
  host.add_route({method, path, query, "read", "a test", "", "", ""});
}

std::string chunk(const std::string& text) {
  char head[20];
  std::snprintf(head, sizeof head, "%zx\r\n", text.size());
  return head + text + "\r\n";
}

}  // namespace

TEST_CASE("http_api: counts of posted lines come back", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const Reply reply = client.post("/api/events", kLines, lines(3));
  CHECK(reply.status == 200);
  const Json result = Json::parse(reply.body);
  CHECK(result["accepted"] == 3);
  CHECK(result["duplicate"] == 0);
  CHECK(result["rejected"] == 0);
  CHECK(result["rejections"] == Json::array());
  CHECK(result["rejections_truncated"] == false);
  CHECK(result["last_sequence"] == fixture.host.last_sequence());
  CHECK(reply.headers.at("ephor-as-of-sequence") == std::to_string(fixture.host.last_sequence()));
  REQUIRE(fixture.host.ingested().size() == 1);
  CHECK(fixture.host.ingested()[0].format == EPHOR_FORMAT_LINES);
  CHECK(fixture.host.metric("ephor_http_ingest_records_total", R"({"result":"accepted"})") == 3.0);
}

TEST_CASE("http_api: one object and an array are taken", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  CHECK(client.post("/api/events", "application/cloudevents+json", line(1)).status == 200);
  CHECK(client
            .post("/api/events", "application/cloudevents-batch+json",
                  "[" + line(2) + "," + line(3) + "]")
            .status == 200);
  CHECK(client.post("/api/events", "application/json; charset=utf-8", line(4)).status == 200);
  const auto ingested = fixture.host.ingested();
  REQUIRE(ingested.size() == 3);
  CHECK(ingested[0].format == EPHOR_FORMAT_SINGLE);
  CHECK(ingested[1].format == EPHOR_FORMAT_BATCH);
  CHECK(ingested[2].format == EPHOR_FORMAT_AUTO);
}

TEST_CASE("http_api: gzip and chunked bodies arrive whole", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const std::string text = lines(2000);
  const std::string packed = ephor::http_api::deflate_gzip(text);
  CHECK(client.post("/api/events", kLines, packed, "Content-Encoding: gzip\r\n").status == 200);

  client.send(
      "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
      "Transfer-Encoding: chunked\r\n\r\n");
  for (std::size_t at = 0; at < text.size(); at += 10'000)
    client.send(chunk(text.substr(at, 10'000)));
  client.send("0\r\n\r\n");
  CHECK(client.reply().status == 200);

  client.send(
      "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
      "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" +
      chunk(packed.substr(0, 100)) + chunk(packed.substr(100)) + "0\r\n\r\n");
  CHECK(client.reply().status == 200);
  const auto ingested = fixture.host.ingested();
  REQUIRE(ingested.size() == 3);
  for (const auto& body : ingested) CHECK(body.body == text);
}

TEST_CASE("http_api: pipelined posts do not run together", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  std::string request;
  for (int i = 0; i < 5; ++i) {
    request +=
        "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: " +
        std::to_string(line(i).size()) + "\r\n\r\n" + line(i);
  }
  client.send(request);
  for (int i = 0; i < 5; ++i) CHECK(client.reply().status == 200);
  REQUIRE(fixture.host.ingested().size() == 5);
  CHECK(fixture.host.ingested()[4].body == line(4));
}

TEST_CASE("http_api: Expect: 100-continue is answered when the body is wanted",
          "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const std::string body = line(1);
  client.send(
      "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n");
  CHECK(client.reply(false).status == 100);
  client.send(body);
  CHECK(client.reply().status == 200);
  // And not when it is refused.
  client.send(
      "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
      "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  CHECK(client.reply().status == 415);
}

TEST_CASE("http_api: rejected records are listed, good ones kept", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const Reply reply = client.post("/api/events", kLines, line(1) + "\nrubbish\n" + line(2) + "\n");
  CHECK(reply.status == 200);
  const Json result = Json::parse(reply.body);
  CHECK(result["accepted"] == 2);
  CHECK(result["rejected"] == 1);
  REQUIRE(result["rejections"].size() == 1);
  CHECK(result["rejections"][0]["line"] == 2);
  CHECK_FALSE(result["rejections"][0]["reason"].get<std::string>().empty());

  const Reply none = client.post("/api/events", kLines, "rubbish\n");
  CHECK(none.status == 400);
  CHECK(Json::parse(none.body)["rejected"] == 1);
}

TEST_CASE("http_api: the list of rejections is bounded", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  std::string text;
  for (int i = 0; i < 1500; ++i) text += "rubbish\n";
  const Json result = Json::parse(client.post("/api/events", kLines, text).body);
  CHECK(result["rejected"] == 1500);
  CHECK(result["rejections"].size() == 1000);
  CHECK(result["rejections_truncated"] == true);
}

TEST_CASE("http_api: each failure of ingest has its status", "[integration][http]") {
  Fixture fixture(Json{{"max_body_bytes", 10'000}, {"max_inflated_bytes", 20'000}});
  const auto post = [&](const std::string& type, const std::string& body,
                        const std::string& headers = "") {
    Client client(fixture.port);
    return client.post("/api/events", type, body, headers);
  };
  CHECK(post("text/plain", "x").status == 415);
  CHECK(post(kLines, line(1), "Content-Encoding: br\r\n").status == 415);
  CHECK(post(kLines, "").status == 400);
  CHECK(post(kLines, "\n\n").status == 400);
  CHECK(post(kLines, std::string(10'001, 'x')).status == 413);
  CHECK(post(kLines, "no gzip", "Content-Encoding: gzip\r\n").status == 400);
  const std::string bomb = ephor::http_api::deflate_gzip(std::string(1'000'000, '0'));
  REQUIRE(bomb.size() < 10'000);
  const Reply reply = post(kLines, bomb, "Content-Encoding: gzip\r\n");
  CHECK(reply.status == 413);
  CHECK(Json::parse(reply.body)["error"]["code"] == "too_large");
  CHECK(post(kLines, ephor::http_api::deflate_gzip("\n"), "Content-Encoding: gzip\r\n").status ==
        400);
  CHECK(fixture.host.ingested().empty() == false);  // the blank ones reached the door
  // Chunked: the size is known only when it is too late.
  Client client(fixture.port);
  client.send(
      "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
      "Transfer-Encoding: chunked\r\n\r\n" +
      chunk(std::string(9000, 'x')) + chunk(std::string(9000, 'x')));
  CHECK(client.reply().status == 413);
  CHECK(client.is_closed());
}

TEST_CASE("http_api: a full or failing journal gives 503 with Retry-After", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  for (const ephor_status status : {EPHOR_FULL, EPHOR_IO}) {
    fixture.host.fail_ingest(status);
    const Reply reply = client.post("/api/events", kLines, line(1));
    CHECK(reply.status == 503);
    CHECK(reply.headers.contains("retry-after"));
  }
  fixture.host.fail_ingest(EPHOR_OK);
  CHECK(client.post("/api/events", kLines, line(1)).status == 200);
}

TEST_CASE("http_api: the host's own body limit gives 413", "[integration][http]") {
  Fixture fixture;
  fixture.host.set_body_limit(100);
  Client client(fixture.port);
  CHECK(client.post("/api/events", kLines, lines(10)).status == 413);
}

TEST_CASE("http_api: routes of the registry, with their parameters", "[integration][http]") {
  Fixture fixture;
  std::string asked;
  provide(fixture.host, "GET", "/api/c/{id}", [&](std::string_view request) {
    asked = request;
    return std::string(R"({"found":true})");
  });
  Client client(fixture.port);
  const Reply reply = client.get("/api/c/corr%2F1?limit=5&q=a+b");
  CHECK(reply.status == 200);
  CHECK(reply.body == R"({"found":true})");
  CHECK(reply.headers.at("content-type") == "application/json");
  CHECK(Json::parse(asked) == Json{{"id", "corr/1"}, {"limit", "5"}, {"q", "a b"}});
  // Made while the server runs: the generation tells.
  provide(fixture.host, "GET", "/api/later", [](std::string_view) { return std::string("[]"); });
  CHECK(client.get("/api/later").status == 200);
  CHECK(fixture.host.metric("ephor_http_requests_total",
                            R"({"method":"GET","route":"/api/c/{id}","status":"2xx"})") == 1.0);
}

TEST_CASE("http_api: a body is handed on as JSON", "[integration][http]") {
  Fixture fixture;
  std::string asked;
  provide(fixture.host, "POST", "/api/faults", [&](std::string_view request) {
    asked = request;
    return std::string("{}");
  });
  Client client(fixture.port);
  CHECK(
      client.post("/api/faults?x=1", "application/json", R"({"kind":"drift","for_s":3})").status ==
      200);
  CHECK(Json::parse(asked) == Json{{"x", "1"}, {"body", {{"kind", "drift"}, {"for_s", 3}}}});
  // What would end the object early is refused, as is what is nested without end.
  CHECK(client.post("/api/faults", "application/json", R"(1},"x":{"y":1)").status == 400);
  CHECK(
      client
          .post("/api/faults", "application/json", std::string(1000, '[') + std::string(1000, ']'))
          .status == 400);
  CHECK(client.post("/api/faults", "application/json", "\"" + std::string(2'000'000, 'a') + "\"")
            .status == 413);
}

TEST_CASE("http_api: failures of queries have their status and pointer", "[integration][http]") {
  Fixture fixture;
  const std::pair<ephor_status, int> expected[] = {
      {EPHOR_INVALID, 400}, {EPHOR_NOT_FOUND, 404}, {EPHOR_DENIED, 403},  {EPHOR_STATE, 503},
      {EPHOR_FULL, 503},    {EPHOR_TIMEOUT, 504},   {EPHOR_INTERNAL, 500}};
  ephor_status status = EPHOR_OK;
  provide(fixture.host, "GET", "/api/fails", [&](std::string_view) -> std::string {
    throw ephor::Error(status, "limit: found \"x\", expected an integer", "/limit");
  });
  Client client(fixture.port);
  for (const auto& [code, http] : expected) {
    status = code;
    const Reply reply = client.get("/api/fails");
    INFO(code);
    CHECK(reply.status == http);
    const Json error = Json::parse(reply.body)["error"];
    CHECK(error["message"] == "limit: found \"x\", expected an integer");
    CHECK(error["pointer"] == "/limit");
  }
}

TEST_CASE("http_api: after_sequence is checked and kept from the query", "[integration][http]") {
  Fixture fixture;
  std::string asked;
  provide(fixture.host, "GET", "/api/x", [&](std::string_view request) {
    asked = request;
    return std::string("{}");
  });
  Client client(fixture.port);
  fixture.host.deliver(line(1));
  CHECK(client.get("/api/x?after_sequence=1").status == 200);
  CHECK(Json::parse(asked) == Json::object());
  CHECK(client.get("/api/x?after_sequence=-1").status == 400);
  CHECK(client.get("/api/x?after_sequence=x").status == 400);
}

TEST_CASE("http_api: unknown paths, wrong methods, HEAD and OPTIONS", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const Reply missing = client.get("/nope");
  CHECK(missing.status == 404);
  CHECK(Json::parse(missing.body)["error"]["code"] == "not_found");
  const Reply wrong = client.get("/api/events");
  CHECK(wrong.status == 405);
  CHECK(wrong.headers.at("allow") == "POST, OPTIONS");
  client.send("HEAD /api HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Reply head = client.reply(false);
  CHECK(head.status == 200);
  CHECK(std::stoi(head.headers.at("content-length")) > 100);
  client.send("OPTIONS /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Reply options = client.reply();
  CHECK(options.status == 204);
  CHECK(options.headers.at("allow") == "POST, OPTIONS");
  CHECK_FALSE(options.headers.contains("access-control-allow-origin"));
  CHECK(client.get("/api/%zz").status == 400);
}

TEST_CASE("http_api: correlation ids are echoed or made", "[integration][http]") {
  Fixture fixture(Json{{"correlation_id_header", "X-My-Id"}});
  Client client(fixture.port);
  CHECK(client.get("/health/live", "X-My-Id: corr-7\r\n").headers.at("x-my-id") == "corr-7");
  const std::string made = client.get("/health/live").headers.at("x-my-id");
  CHECK(made.size() == 32);
  CHECK(made != client.get("/health/live").headers.at("x-my-id"));
  CHECK(client.get("/health/live", "X-My-Id: a b\r\n").headers.at("x-my-id") != "a b");
}

TEST_CASE("http_api: long answers are packed when asked for", "[integration][http]") {
  Fixture fixture;
  const std::string text = "[\"" + std::string(100'000, 'x') + "\"]";
  provide(fixture.host, "GET", "/api/long", [&](std::string_view) { return text; });
  provide(fixture.host, "GET", "/api/short", [&](std::string_view) { return std::string("[]"); });
  Client client(fixture.port);
  const Reply packed = client.get("/api/long", "Accept-Encoding: br, gzip\r\n");
  CHECK(packed.headers.at("content-encoding") == "gzip");
  CHECK(packed.body.size() < 2000);
  std::string out(text.size(), '\0');
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 31) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.body.data()));
  stream.avail_in = static_cast<uInt>(packed.body.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  inflateEnd(&stream);
  CHECK(out == text);
  CHECK(client.get("/api/long").body == text);
  CHECK_FALSE(
      client.get("/api/short", "Accept-Encoding: gzip\r\n").headers.contains("content-encoding"));
}

TEST_CASE("http_api: health, metrics, openapi, routes, page", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  fixture.host.set_health_snapshot(R"({"ready":true,"live":true,"instances":[],"log_time":null})");
  CHECK(client.get("/health/live").status == 200);
  CHECK(client.get("/health/ready").status == 200);
  fixture.host.set_health_snapshot(R"({"ready":false,"live":true,"instances":[],"log_time":null})");
  CHECK(client.get("/health/live").status == 200);
  CHECK(client.get("/health/ready").status == 503);
  fixture.host.set_health_snapshot(R"({"ready":true,"live":true,"data_dir":"/home/me/data"})");
  CHECK(client.get("/health/ready").body == R"({"live":true,"ready":true})");
  const Reply metrics = client.get("/metrics");
  CHECK(metrics.headers.at("content-type") == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(metrics.body.find("ephor_http_requests_total") != std::string::npos);
  CHECK(metrics.body.find("ephor_http_websocket_clients") != std::string::npos);
  provide(fixture.host, "GET", "/api/c/{id}", [](std::string_view) { return std::string("{}"); });
  const Json document = Json::parse(client.get("/openapi.json").body);
  CHECK(document["paths"].contains("/api/c/{id}"));
  CHECK(document["paths"].contains("/api/events"));
  CHECK(Json::parse(client.get("/api").body)["routes"].size() == 21);
  const Reply page = client.get("/");
  CHECK(page.headers.at("content-type") == "text/html; charset=utf-8");
  CHECK(page.headers.at("content-security-policy").find("script-src 'self'") != std::string::npos);
  CHECK(page.body.find("<script src=\"/app.js\"") != std::string::npos);
  CHECK(page.body.find("http://") == std::string::npos);
  CHECK(client.get("/live.js").body.find("new WebSocket") != std::string::npos);
  for (const char* script : {"/app.js", "/chart.js", "/format.js", "/live.js", "/sections.js"}) {
    CHECK(client.get(script).headers.at("content-type") == "text/javascript; charset=utf-8");
  }
  CHECK(client.get("/app.css").headers.at("content-type") == "text/css; charset=utf-8");
}

TEST_CASE("http_api: a plugin's page may have a style of its own, and nothing else",
          "[integration][http]") {
  Fixture fixture;
  fixture.host.answer_query("test.page", [](std::string_view) { return std::string("<p>hi"); });
  fixture.host.add_route(
      {"GET", "/api/page", "test.page", "read", "a page", "", "", "text/html; charset=utf-8"});
  Client client(fixture.port);
  CHECK(client.get("/api/page").headers.at("content-security-policy") ==
        "default-src 'none'; frame-ancestors 'none'; style-src 'unsafe-inline'; img-src data:");
  CHECK(client.get("/health/live").headers.at("content-security-policy") ==
        "default-src 'none'; frame-ancestors 'none'");
}

TEST_CASE("http_api: other hosts and other sites are kept out", "[integration][http]") {
  Fixture fixture(Json{{"cors_origins", {"https://dash.example"}}});
  Client client(fixture.port);
  client.send("GET /api HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  CHECK(client.reply().status == 403);
  client.send("GET /api HTTP/1.1\r\n\r\n");
  CHECK(client.reply().status == 400);
  CHECK(client.post("/api/events", kLines, line(1), "Origin: https://evil.example\r\n").status ==
        403);
  CHECK(client.post("/api/events", kLines, line(1), "Origin: http://localhost\r\n").status == 200);
  const Reply shared =
      client.post("/api/events", kLines, line(2), "Origin: https://dash.example\r\n");
  CHECK(shared.status == 200);
  CHECK(shared.headers.at("access-control-allow-origin") == "https://dash.example");
  CHECK_FALSE(client.get("/api", "Origin: https://evil.example\r\n")
                  .headers.contains("access-control-allow-origin"));
  client.send(
      "OPTIONS /api/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://dash.example\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n");
  const Reply preflight = client.reply();
  CHECK(preflight.headers.at("access-control-allow-methods") == "POST, OPTIONS");
}

TEST_CASE("http_api: tokens and scopes", "[integration][http]") {
  const Json tokens = {
      {{"name", "reader"}, {"token", "reader-0123456789abcdef"}, {"scopes", {"read"}}},
      {{"name", "bot"}, {"token", "writer-0123456789abcdef"}, {"scopes", {"write"}}}};
  Fixture fixture(Json{{"tokens", tokens}});
  Client client(fixture.port);
  const std::string reader = "Authorization: Bearer reader-0123456789abcdef\r\n";
  const std::string writer = "Authorization: Bearer writer-0123456789abcdef\r\n";
  const Reply none = client.get("/api");
  CHECK(none.status == 401);
  CHECK(none.headers.contains("www-authenticate"));
  CHECK(client.get("/api", "Authorization: Bearer wrong\r\n").status == 401);
  CHECK(client.get("/api", reader).status == 200);
  CHECK(client.post("/api/events", kLines, line(1), reader).status == 403);
  CHECK(client.post("/api/events", kLines, line(1), writer).status == 200);
  CHECK(fixture.host.ingested().at(0).default_source == "bot");
  CHECK(client.get("/health/live").status != 401);
  CHECK(client.get("/").status == 200);
  Client socket(fixture.port);
  CHECK(socket.upgrade().status == 401);
  Client good(fixture.port);
  CHECK(good.upgrade("/ws?access_token=reader-0123456789abcdef").status == 101);
}

TEST_CASE("http_api: an open address without tokens is refused", "[integration][http]") {
  FakeHost host;
  try {
    host.load_plugin<HttpApi>(R"({"listen": "0.0.0.0:0"})");
    FAIL("it started");
  } catch (const ephor::Error& failure) {
    CHECK(failure.code() == EPHOR_INVALID);
    CHECK(failure.json_pointer() == "/listen");
    CHECK(std::string(failure.what()).find("tokens") != std::string::npos);
  }
}

TEST_CASE("http_api: a port that is taken is a clear error", "[integration][http]") {
  Fixture fixture;
  FakeHost second;
  try {
    second.load_plugin<HttpApi>("{\"listen\": \"127.0.0.1:" + std::to_string(fixture.port) + "\"}");
    FAIL("two servers on one port");
  } catch (const ephor::Error& failure) {
    CHECK(failure.code() == EPHOR_IO);
    CHECK(failure.json_pointer() == "/listen");
  }
}

TEST_CASE("http_api: the address is written and logged", "[integration][http]") {
  const ephor::testing::TemporaryDirectory directory;
  const auto file = directory.path() / "address";
  Fixture fixture(Json{{"address_file", file.string()}});
  std::ifstream in(file);
  std::string url;
  std::getline(in, url);
  CHECK(url == "http://127.0.0.1:" + std::to_string(fixture.port) + "/");
  REQUIRE_FALSE(fixture.host.log_lines().empty());
  CHECK(fixture.host.log_lines().back().message == "http_api: " + url);
}

TEST_CASE("http_api: hostile heads get an answer and the server lives", "[integration][http]") {
  Fixture fixture(Json{{"header_timeout_ms", 1000}});
  const auto status_of = [&](const std::string& bytes) {
    Client client(fixture.port);
    client.send(bytes);
    try {
      return client.reply().status;
    } catch (const std::runtime_error&) {
      return 0;  // closed unanswered
    }
  };
  const std::string host = "Host: localhost\r\n";
  CHECK(status_of("GET /api HTTP/1.1\r\n" + host + "X: " + std::string(40'000, 'a') + "\r\n\r\n") ==
        431);
  std::string many = "GET /api HTTP/1.1\r\n" + host;
  for (int i = 0; i < 300; ++i) many += "X-" + std::to_string(i) + ": 1\r\n";
  CHECK(status_of(many + "\r\n") == 431);
  CHECK(status_of("GET /" + std::string(40'000, 'a') + " HTTP/1.1\r\n" + host + "\r\n") == 414);
  CHECK(status_of("POST /api/events HTTP/1.1\r\n" + host +
                  "Content-Type: application/json\r\nContent-Length: 5\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400);
  CHECK(status_of("POST /api/events HTTP/1.1\r\n" + host +
                  "Content-Type: application/json\r\nContent-Length: -1\r\n\r\n") == 400);
  CHECK(
      status_of("POST /api/events HTTP/1.1\r\n" + host +
                "Content-Type: application/json\r\nContent-Length: 99999999999999999999\r\n\r\n") ==
      400);
  CHECK(status_of("POST /api/events HTTP/1.1\r\n" + host +
                  "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n") ==
        400);
  const int garbage =
      status_of(std::string("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 11) + "\r\n\r\n");
  CHECK((garbage == 0 || garbage == 400 || garbage == 408));
  CHECK(status_of("GET /api HTTP/1.1\r\n" + host + "\r\n") == 200);
}

TEST_CASE("http_api: a head that drips is ended in bounded time", "[integration][http]") {
  Fixture fixture(Json{{"header_timeout_ms", 200}, {"request_timeout_ms", 300}});
  const auto begin = std::chrono::steady_clock::now();
  Client head(fixture.port);
  head.send("GET /api HTTP/1.1\r\nHo");
  CHECK(head.reply().status == 408);
  Client body(fixture.port);
  body.send(
      "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
      "Content-Length: 100\r\n\r\n{");
  const int status = body.reply().status;
  CHECK((status == 400 || status == 408));
  CHECK(std::chrono::steady_clock::now() - begin < ephor::testing::patience(5s));
}

TEST_CASE("http_api: bodies beyond the gate are turned away, reads go on", "[integration][http]") {
  Fixture fixture(Json{{"ingest_threads", 1}, {"ingest_queue", 0}});
  std::promise<void> entered;
  std::promise<void> release;
  auto released = release.get_future().share();
  std::atomic<bool> is_first{true};
  fixture.host.on_ingest([&, released](const ephor::testing::Ingested&, ephor_ingest_result& result,
                                       std::vector<ephor::testing::Rejection>&) {
    if (is_first.exchange(false)) {
      entered.set_value();
      released.wait();
    }
    result.accepted = 1;
  });
  auto slow = std::async(std::launch::async, [&] {
    Client client(fixture.port);
    return client.post("/api/events", kLines, line(1)).status;
  });
  entered.get_future().wait();
  Client client(fixture.port);
  const Reply busy = client.post("/api/events", kLines, line(2));
  CHECK(busy.status == 503);
  CHECK(busy.headers.contains("retry-after"));
  CHECK(client.get("/api").status == 200);
  release.set_value();
  CHECK(slow.get() == 200);
  CHECK(client.post("/api/events", kLines, line(3)).status == 200);
}

TEST_CASE("http_api: more connections than threads are all served", "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}, {"max_connections", 100}});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<Client>(fixture.port));
  for (auto& client : clients) {
    client->send("GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  for (auto& client : clients) CHECK(client->reply().status == 200);
}

TEST_CASE("http_api: idle connections need no thread and are kept", "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}, {"keep_alive_timeout_s", 3600}});
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 5; ++i) {
    idle.push_back(std::make_unique<Client>(fixture.port));
    CHECK(idle.back()->get("/api").headers.at("connection") == "keep-alive");
  }
  Client late(fixture.port);
  CHECK(late.get("/api").status == 200);
  for (auto& client : idle) CHECK(client->get("/api").status == 200);
}

TEST_CASE("http_api: connections are kept while threads are free", "[integration][http]") {
  Fixture fixture;
  for (int i = 0; i < 100; ++i) {
    Client one(fixture.port);
    Client other(fixture.port);
    one.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    other.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(one.reply().headers.at("connection") == "keep-alive");
    CHECK(other.reply().headers.at("connection") == "keep-alive");
  }
}

TEST_CASE("http_api: stops at once, with idle connections, and twice", "[integration][http]") {
  Fixture fixture;
  Client idle(fixture.port);
  CHECK(idle.get("/api").status == 200);
  Client half(fixture.port);
  half.send("GET /ap");
  const auto begin = std::chrono::steady_clock::now();
  fixture.host.drain();
  fixture.host.stop();
  fixture.host.stop();
  CHECK(std::chrono::steady_clock::now() - begin < ephor::testing::patience(3s));
  CHECK(idle.is_closed());
  CHECK_THROWS(Client(fixture.port));
}
