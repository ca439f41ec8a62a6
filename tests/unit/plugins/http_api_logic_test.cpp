// SPDX-License-Identifier: Apache-2.0
#include <ephor/json.hpp>

#include "access.hpp"
#include "admission.hpp"
#include "answer.hpp"
#include "config_schema.hpp"
#include "exchange.hpp"
#include "ingest.hpp"
#include "openapi.hpp"
#include "options.hpp"
#include "route_table.hpp"
#include "router.hpp"
#include "support/catch.hpp"
#include "target.hpp"
#include "topic_pattern.hpp"

using namespace ephor::http_api;
using ephor::Json;

namespace {

Endpoint endpoint(std::string method, std::string path) {
  Endpoint out;
  out.method = std::move(method);
  out.path = std::move(path);
  out.query = out.method + out.path;
  out.scope = "read";
  return out;
}

Router::Match find(const Router& router, std::string_view method, std::string_view path) {
  return router.find(method, parse_target(path)->segments);
}

}  // namespace

TEST_CASE("target: segments and parameters are decoded", "[unit][http]") {
  const auto target = parse_target("/api/c/a%2Fb%20c?from=2017-11-07T06%3A29%3A00Z&q=a+b&x&y=");
  REQUIRE(target);
  CHECK(target->segments == std::vector<std::string>{"api", "c", "a/b c"});
  CHECK(find_parameter(target->query, "from") == "2017-11-07T06:29:00Z");
  CHECK(find_parameter(target->query, "q") == "a b");
  CHECK(target->query.size() == 4);
  CHECK(find_parameter(target->query, "absent").empty());
}

TEST_CASE("target: the last of equal parameters counts", "[unit][http]") {
  CHECK(find_parameter(parse_target("/?a=1&a=2")->query, "a") == "2");
}

TEST_CASE("target: absolute form and fragments are understood", "[unit][http]") {
  CHECK(parse_target("http://localhost:8780/api?x=1#top")->segments ==
        std::vector<std::string>{"api"});
  CHECK(parse_target("http://localhost")->segments.empty());
}

TEST_CASE("target: broken escapes and control characters are refused", "[unit][http]") {
  for (const char* raw :
       {"/%", "/%2", "/%zz", "/%00", "/a%0d%0ab", "/?a=%", "api", "*", "", "/?%0a=1"}) {
    INFO(raw);
    CHECK_FALSE(parse_target(raw));
  }
  CHECK(percent_decode("a+b", false) == "a+b");
}

TEST_CASE("router: literals win over parameters", "[unit][http]") {
  Router router;
  REQUIRE(router.add(endpoint("GET", "/api/trades/{trade_id}")));
  REQUIRE(router.add(endpoint("GET", "/api/trades/summary")));
  REQUIRE(router.add(endpoint("GET", "/api/{kind}/summary/deep")));
  CHECK(find(router, "GET", "/api/trades/summary").endpoint->path == "/api/trades/summary");
  const auto match = find(router, "GET", "/api/trades/t-1");
  REQUIRE(match.endpoint != nullptr);
  CHECK(match.parameters == Parameters{{"trade_id", "t-1"}});
  // Needs to go back from the literal branch.
  const auto deep = find(router, "GET", "/api/trades/summary/deep");
  REQUIRE(deep.endpoint != nullptr);
  CHECK(deep.parameters == Parameters{{"kind", "trades"}});
}

TEST_CASE("router: unknown paths and wrong methods differ", "[unit][http]") {
  Router router;
  router.add(endpoint("GET", "/api/x"));
  router.add(endpoint("POST", "/api/x"));
  CHECK(find(router, "GET", "/api").allow.empty());
  CHECK(find(router, "GET", "/api/x/y").allow.empty());
  const auto match = find(router, "DELETE", "/api/x");
  CHECK(match.endpoint == nullptr);
  CHECK(match.allow == "GET, HEAD, POST, OPTIONS");
  CHECK(find(router, "HEAD", "/api/x").endpoint->method == "GET");
}

TEST_CASE("router: parameters carry the names of the template that matched", "[unit][http]") {
  Router router;
  router.add(endpoint("GET", "/a/{first}"));
  router.add(endpoint("POST", "/a/{second}"));
  CHECK(find(router, "POST", "/a/7").parameters == Parameters{{"second", "7"}});
  CHECK_FALSE(router.add(endpoint("GET", "/a/{other}")));
}

TEST_CASE("router: an empty segment does not match a parameter", "[unit][http]") {
  Router router;
  router.add(endpoint("GET", "/a/{id}"));
  CHECK(find(router, "GET", "/a/").allow.empty());
}

TEST_CASE("topic pattern: star is one token, a final '>' the rest", "[unit][http]") {
  CHECK(topic_matches("ephor.trade", "ephor.trade"));
  CHECK_FALSE(topic_matches("ephor.trade", "ephor.trades"));
  CHECK_FALSE(topic_matches("ephor", "ephor.trade"));
  CHECK(topic_matches("ephor.*", "ephor.trade"));
  CHECK_FALSE(topic_matches("ephor.*", "ephor.a.b"));
  CHECK_FALSE(topic_matches("ephor.*", "ephor"));
  CHECK(topic_matches("*.trade", "ephor.trade"));
  CHECK(topic_matches(">", "ephor.a.b"));
  CHECK(topic_matches("ephor.>", "ephor.a.b"));
  CHECK_FALSE(topic_matches("ephor.>", "ephor"));
}

TEST_CASE("topic pattern: bad ones are refused", "[unit][http]") {
  for (const char* good : {"a", "a.b", "*", ">", "a.*.b", "a.>"}) CHECK(is_topic_pattern(good));
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a.>.b", "a*", "a b", "a.>x", "a\n"}) {
    INFO(bad);
    CHECK_FALSE(is_topic_pattern(bad));
  }
  CHECK_FALSE(is_topic_pattern(std::string(300, 'a')));
}

TEST_CASE("answer: gzip is used only when asked for", "[unit][http]") {
  CHECK(accepts_gzip("gzip"));
  CHECK(accepts_gzip("deflate, gzip;q=0.5, br"));
  CHECK(accepts_gzip("*"));
  CHECK_FALSE(accepts_gzip(""));
  CHECK_FALSE(accepts_gzip("br, deflate"));
  CHECK_FALSE(accepts_gzip("gzip;q=0"));
  CHECK_FALSE(accepts_gzip("gzip;q=0.0, br"));
}

TEST_CASE("answer: statuses of the ABI map to those of HTTP", "[unit][http]") {
  CHECK(http_status_of(EPHOR_INVALID) == 400);
  CHECK(http_status_of(EPHOR_NOT_FOUND) == 404);
  CHECK(http_status_of(EPHOR_DENIED) == 403);
  CHECK(http_status_of(EPHOR_STATE) == 503);
  CHECK(http_status_of(EPHOR_FULL) == 503);
  CHECK(http_status_of(EPHOR_TIMEOUT) == 504);
  CHECK(http_status_of(EPHOR_INTERNAL) == 500);
  CHECK(http_status_of(9999) == 500);
}

TEST_CASE("answer: nothing in a header can end it early", "[unit][http]") {
  Answer answer;
  answer.headers.emplace_back("X-Test", "a\r\nSet-Cookie: b");
  const std::string text = render_answer(answer, false, true);
  CHECK(text.find("\r\nSet-Cookie") == std::string::npos);
  CHECK(text.find("X-Test: aSet-Cookie: b\r\n") != std::string::npos);
}

TEST_CASE("answer: HEAD has the length but not the body", "[unit][http]") {
  Answer answer;
  answer.body = "12345";
  const std::string text = render_answer(answer, true, false);
  CHECK(text.find("Content-Length: 5\r\n") != std::string::npos);
  CHECK(text.ends_with("\r\n\r\n"));
}

// FIPS 180-4, example of one block.
TEST_CASE("access: sha256 is the standard's", "[unit][http]") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("access: without tokens everything is open", "[unit][http]") {
  const Access access(Options{}, true);
  CHECK(access.is_open());
  CHECK(access.check("", "admin").is_allowed);
}

TEST_CASE("access: a token grants its scopes, admin all", "[unit][http]") {
  Options options;
  options.tokens = {{"reader", "reader-token-0123456789", "", {"read"}},
                    {"boss", "", sha256_hex("boss-token-0123456789"), {"admin"}}};
  const Access access(options, true);
  CHECK_FALSE(access.check("", "read").is_known);
  CHECK_FALSE(access.check("wrong", "read").is_known);
  CHECK(access.check("reader-token-0123456789", "read").is_allowed);
  CHECK(access.check("reader-token-0123456789", "write").is_known);
  CHECK_FALSE(access.check("reader-token-0123456789", "write").is_allowed);
  CHECK(access.check("boss-token-0123456789", "write").is_allowed);
  CHECK(access.check("boss-token-0123456789", "write").name == "boss");
  CHECK(access.check("", "").is_allowed);
}

TEST_CASE("access: on loopback only its names are taken", "[unit][http]") {
  Options options;
  options.allowed_hosts = {"Ephor.example"};
  const Access access(options, true);
  for (const char* good :
       {"localhost", "LOCALHOST:8780", "127.0.0.1:1", "[::1]:8780", "ephor.example:80"}) {
    INFO(good);
    CHECK(access.is_host_allowed(good));
  }
  for (const char* bad :
       {"evil.example", "localhost.evil.example", "127.0.0.1.evil", "", "[::2]"}) {
    INFO(bad);
    CHECK_FALSE(access.is_host_allowed(bad));
  }
  CHECK(Access(Options{}, false).is_host_allowed("anything"));
}

TEST_CASE("access: origins", "[unit][http]") {
  Options options;
  options.cors_origins = {"https://dash.example"};
  const Access access(options, true);
  CHECK(access.is_same_origin("http://localhost:8780", "localhost:8780"));
  CHECK_FALSE(access.is_same_origin("http://localhost:9999", "localhost:8780"));
  CHECK_FALSE(access.is_same_origin("null", "localhost:8780"));
  CHECK(access.is_cors_origin("https://dash.example"));
  CHECK_FALSE(access.is_cors_origin("https://dash.example.evil"));
}

TEST_CASE("access: bearer scheme in any case", "[unit][http]") {
  CHECK(bearer_of("Bearer abc") == "abc");
  CHECK(bearer_of("bearer   abc") == "abc");
  CHECK(bearer_of("Basic abc").empty());
  CHECK(bearer_of("Bearer").empty());
}

TEST_CASE("gate: lets in so many, queues so many, turns the rest away", "[unit][http]") {
  using namespace std::chrono_literals;
  Gate gate(1, 0);
  const Gate::Pass first(gate, 0ms);
  CHECK(first);
  {
    const Gate::Pass second(gate, 0ms);
    CHECK_FALSE(second);
  }
  Gate waiting(1, 1);
  const Gate::Pass in(waiting, 0ms);
  const Gate::Pass late(waiting, 1ms);
  CHECK_FALSE(late);
}

TEST_CASE("budget: shares are given back", "[unit][http]") {
  Budget budget(100);
  {
    Budget::Share share(budget);
    CHECK(share.raise_to(60));
    CHECK(share.raise_to(30));  // it has them
    Budget::Share other(budget);
    CHECK_FALSE(other.raise_to(41));
    CHECK(other.raise_to(40));
  }
  Budget::Share share(budget);
  CHECK(share.raise_to(100));
}

TEST_CASE("options: defaults equal those of the schema", "[unit][http]") {
  Json config = Json::object();
  const Json schema = Json::parse(kConfigSchema);
  for (const auto& [name, property] : schema["properties"].items()) {
    INFO(name);
    REQUIRE(property.contains("default"));
    REQUIRE(property.contains("description"));
    config[name] = property["default"];
  }
  const Options from_schema = options_from(config.dump());
  const Options plain;
  CHECK(from_schema.listen == plain.listen);
  CHECK(from_schema.max_body_bytes == plain.max_body_bytes);
  CHECK(from_schema.max_inflated_bytes == plain.max_inflated_bytes);
  CHECK(from_schema.ingest_threads == plain.ingest_threads);
  CHECK(from_schema.ingest_queue == plain.ingest_queue);
  CHECK(from_schema.threads == plain.threads);
  CHECK(from_schema.max_connections == plain.max_connections);
  CHECK(from_schema.keep_alive_timeout_s == plain.keep_alive_timeout_s);
  CHECK(from_schema.request_timeout_ms == plain.request_timeout_ms);
  CHECK(from_schema.header_timeout_ms == plain.header_timeout_ms);
  CHECK(from_schema.correlation_id_header == plain.correlation_id_header);
  const Json limits = schema["properties"]["websocket"]["properties"];
  const WebsocketOptions websocket;
  CHECK(limits["clients_max"]["default"] == websocket.clients_max);
  CHECK(limits["queue_frames"]["default"] == websocket.queue_frames);
  CHECK(limits["queue_bytes"]["default"] == websocket.queue_bytes);
  CHECK(limits["message_bytes_max"]["default"] == websocket.message_bytes_max);
  CHECK(limits["ping_interval_s"]["default"] == websocket.ping_interval_s);
  CHECK(limits["topic_events_per_s"]["default"] == websocket.topic_events_per_s);
  CHECK(schema["properties"]["correlation_id_header"]["x-ephor-from"] ==
        "monitoring.advanced_tracer.correlation_id_header");
}

TEST_CASE("options: bad ones name their place", "[unit][http]") {
  const auto pointer_of = [](const char* config) {
    try {
      options_from(config);
      return std::string("accepted");
    } catch (const ephor::Error& failure) {
      return failure.json_pointer();
    }
  };
  CHECK(pointer_of(R"({"threads": 1})") == "/threads");
  CHECK(pointer_of(R"({"threads": "many"})") == "/threads");
  CHECK(pointer_of(R"({"tokens": [{"name": "a", "scopes": []}]})") == "/tokens/0");
  CHECK(pointer_of(R"({"tokens": [{"name": "a", "token": "short", "scopes": []}]})") ==
        "/tokens/0/token");
  CHECK(pointer_of(R"({"tokens": [{"name": "a", "sha256": "xyz", "scopes": []}]})") ==
        "/tokens/0/sha256");
}

TEST_CASE("ingest: media types of events", "[unit][http]") {
  CHECK(ingest_format_of("application/cloudevents+json; charset=UTF-8") == EPHOR_FORMAT_SINGLE);
  CHECK(ingest_format_of("Application/JSON") == EPHOR_FORMAT_AUTO);
  CHECK(ingest_format_of("application/cloudevents-batch+json") == EPHOR_FORMAT_BATCH);
  CHECK(ingest_format_of("application/x-ndjson") == EPHOR_FORMAT_LINES);
  CHECK(ingest_format_of("text/plain") == -1);
  CHECK(ingest_format_of("") == -1);
}

TEST_CASE("openapi: holds every route with its parameters", "[unit][http]") {
  Router router;
  for (Endpoint& own : builtin_endpoints()) router.add(std::move(own));
  Endpoint traces = endpoint("GET", "/api/tracing/traces/{trace_id}");
  traces.request_schema = R"({"type":"object","properties":{"trace_id":{"type":"string"},
                              "limit":{"type":"integer"}}})";
  traces.response_schema = R"({"type":"object"})";
  router.add(std::move(traces));
  Endpoint broken = endpoint("POST", "/api/broken");
  broken.request_schema = "{not json";
  router.add(std::move(broken));

  const Json document = Json::parse(openapi_document(router.endpoints(), "1", true));
  CHECK(document["openapi"] == "3.1.0");
  CHECK(document["paths"].contains("/api/events"));
  CHECK(document["paths"]["/health/live"]["get"]["security"] == Json::array());
  const Json parameters = document["paths"]["/api/tracing/traces/{trace_id}"]["get"]["parameters"];
  REQUIRE(parameters.size() == 3);
  CHECK(parameters[0]["in"] == "path");
  CHECK(parameters[0]["required"] == true);
  CHECK(parameters[1]["name"] == "limit");
  CHECK(parameters[2]["name"] == "after_sequence");
  CHECK(document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer");
  CHECK(Json::parse(route_list(router.endpoints()))["routes"].size() == 22);
}
