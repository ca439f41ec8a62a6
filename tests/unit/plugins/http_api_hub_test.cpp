// SPDX-License-Identifier: Apache-2.0
//
// /ws over real sockets: handshake, subscriptions, order, back-pressure.
#include <chrono>
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http_api.hpp"
#include "http_api_client.hpp"
#include "hub_client.hpp"
#include "support/catch.hpp"

using ephor::Json;
using ephor::http_api::HttpApi;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;
using http_api_test::Client;
using namespace std::chrono_literals;

namespace {

struct Fixture {
  explicit Fixture(Json config = Json::object()) {
    config["listen"] = "127.0.0.1:0";
    port = http_api_test::port_of(host.load_plugin<HttpApi>(config.dump()).url());
  }
  void deliver(const std::string& topic, const std::string& data = "{}") {
    host.deliver(CloudEvent{.topic = topic, .data_json = data, .time_ns = ++time}.line());
  }
  FakeHost host;
  std::int64_t time = 0;
  int port = 0;
};

}  // namespace

TEST_CASE("ws: handshake, subscription, events, in order", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  const auto reply = client.upgrade();
  REQUIRE(reply.status == 101);
  CHECK(reply.headers.at("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  client.say(R"({"subscribe": ["ephor.trade", "ephor.s*"], "id": 1})");
  // '*' is a token of its own: the whole command is refused.
  const Json error = Json::parse(client.hear());
  CHECK(error["type"] == "error");
  CHECK(error["id"] == 1);
  client.say(R"({"subscribe": ["ephor.trade", "other.*"], "id": "two"})");
  const Json answer = Json::parse(client.hear());
  CHECK(answer ==
        Json{{"type", "subscribed"}, {"id", "two"}, {"topics", {"ephor.trade", "other.*"}}});
  fixture.deliver("ephor.trade", R"({"trade_id":"t1"})");
  fixture.deliver("ephor.span");
  fixture.deliver("other.x", R"({"n":2})");
  fixture.deliver("other.x.y");
  fixture.deliver("ephor.trade", R"({"trade_id":"t2"})");
  const Json first = Json::parse(client.hear());
  CHECK(first["type"] == "event");
  CHECK(first["event"]["type"] == "ephor.trade");
  CHECK(first["event"]["data"]["trade_id"] == "t1");
  const Json second = Json::parse(client.hear());
  CHECK(second["event"]["data"]["n"] == 2);
  const Json third = Json::parse(client.hear());
  CHECK(third["event"]["data"]["trade_id"] == "t2");
  CHECK(third["sequence"] > second["sequence"]);

  client.say(R"({"unsubscribe": ["ephor.trade"]})");
  CHECK(Json::parse(client.hear()) == Json{{"type", "unsubscribed"}, {"topics", {"other.*"}}});
  fixture.deliver("ephor.trade");
  fixture.deliver("other.z");
  CHECK(Json::parse(client.hear())["event"]["type"] == "other.z");
}

TEST_CASE("ws: topics in the address subscribe at once", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  REQUIRE(client.upgrade("/ws?topics=ephor.trade,ephor.regime").status == 101);
  CHECK(Json::parse(client.hear()) ==
        Json{{"type", "subscribed"}, {"topics", {"ephor.trade", "ephor.regime"}}});
  fixture.deliver("ephor.regime");
  CHECK(Json::parse(client.hear())["event"]["type"] == "ephor.regime");
  Client bad(fixture.port);
  CHECK(bad.upgrade("/ws?topics=a..b").status == 400);
}

TEST_CASE("ws: handshakes that are none are refused", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  CHECK(client.get("/ws").status == 426);
  Client foreign(fixture.port);
  CHECK(foreign.upgrade("/ws", "Origin: https://evil.example\r\n").status == 403);
  Client same(fixture.port);
  CHECK(same.upgrade("/ws", "Origin: http://localhost\r\n").status == 101);
  Client key(fixture.port);
  key.send(
      "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n");
  CHECK(key.reply().status == 400);
}

TEST_CASE("ws: ping, close, and bytes sent along with the handshake", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  client.send(
      "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
      Client::masked("early", 9));
  REQUIRE(client.reply().status == 101);
  const auto pong = client.frame();
  CHECK(pong.opcode == 0xA);
  CHECK(pong.payload == "early");
  client.say("\x03\xe8", 8);
  CHECK(client.frame().opcode == 0x8);
  CHECK(client.is_closed());
}

TEST_CASE("ws: rubbish ends only the client that sent it", "[integration][ws]") {
  Fixture fixture;
  Client good(fixture.port);
  REQUIRE(good.upgrade("/ws?topics=%3E").status == 101);
  good.hear();
  Client bad(fixture.port);
  REQUIRE(bad.upgrade().status == 101);
  bad.send("\xff\xff\xff\xff");
  const auto close = bad.frame();
  CHECK(close.opcode == 0x8);
  CHECK(close.payload.substr(0, 2) == "\x03\xea");  // 1002
  CHECK(bad.is_closed());
  Client binary(fixture.port);
  REQUIRE(binary.upgrade().status == 101);
  binary.say("x", 2);
  CHECK(binary.frame().payload.substr(0, 2) == "\x03\xeb");  // 1003
  Client words(fixture.port);
  REQUIRE(words.upgrade().status == 101);
  for (const char* text : {"no json", "[]", "{}", R"({"subscribe": 5})", R"({"subscribe": [5]})"}) {
    words.say(text);
    CHECK(Json::parse(words.hear())["type"] == "error");
  }
  words.say("{\"id\":" + std::string(10'000, '[') + std::string(10'000, ']') + "}");
  const Json deep = Json::parse(words.hear());
  CHECK(deep["type"] == "error");
  CHECK_FALSE(deep.contains("id"));  // which would be copied
  fixture.deliver("still.here");
  CHECK(Json::parse(good.hear())["event"]["type"] == "still.here");
}

TEST_CASE("ws: too many clients get 503", "[integration][ws]") {
  Fixture fixture(Json{{"websocket", {{"clients_max", 1}}}});
  Client first(fixture.port);
  REQUIRE(first.upgrade("/ws?topics=a").status == 101);
  first.hear();
  Client second(fixture.port);
  CHECK(second.upgrade().status == 503);
}

TEST_CASE("ws: the topic's rate bounds the work, and what is lost is told", "[integration][ws]") {
  Fixture fixture(Json{{"websocket", {{"topic_events_per_s", 10}}}});
  Client client(fixture.port);
  REQUIRE(client.upgrade("/ws?topics=flood,rare").status == 101);
  client.hear();
  for (int i = 0; i < 100; ++i) fixture.deliver("flood");
  fixture.deliver("rare");  // another topic has its own allowance
  int events = 0;
  int lost = 0;
  bool has_rare = false;
  while (events + lost < 101) {
    const Json message = Json::parse(client.hear());
    if (message["type"] == "dropped") lost += message["count"].get<int>();
    if (message["type"] != "event") continue;
    ++events;
    has_rare = has_rare || message["event"]["type"] == "rare";
  }
  CHECK(events + lost == 101);
  CHECK(events >= 11);
  CHECK(has_rare);
}

// The trap of a blocking send: whoever does not read must not hold up the others.
TEST_CASE("ws: a client that never reads costs the others nothing", "[integration][ws]") {
  Fixture fixture(Json{{"websocket", {{"queue_frames", 8}, {"topic_events_per_s", 1e9}}}});
  Client deaf(fixture.port, 4096);
  REQUIRE(deaf.upgrade("/ws?topics=big").status == 101);
  Client good(fixture.port);
  REQUIRE(good.upgrade("/ws?topics=big").status == 101);
  good.hear();
  constexpr int kEvents = 300;
  const std::string data = "{\"text\":\"" + std::string(60'000, 'x') + "\"}";
  for (int i = 0; i < kEvents; ++i) {
    fixture.deliver("big", data);
    REQUIRE(Json::parse(good.hear())["type"] == "event");
  }
  // Now the deaf one reads: whole messages, in order, and every loss is accounted for.
  REQUIRE(Json::parse(deaf.hear())["type"] == "subscribed");
  int events = 0;
  int lost = 0;
  std::uint64_t last = 0;
  while (events + lost < kEvents) {
    const Json message = Json::parse(deaf.hear());
    if (message["type"] == "dropped") {
      lost += message["count"].get<int>();
    } else {
      ++events;
      CHECK(message["sequence"].get<std::uint64_t>() > last);
      last = message["sequence"].get<std::uint64_t>();
    }
  }
  CHECK(events + lost == kEvents);
  CHECK(lost > 0);
  Client metrics(fixture.port);
  metrics.get("/metrics");
  CHECK(fixture.host.metric("ephor_http_websocket_frames_dropped_total") ==
        static_cast<double>(lost));
}

TEST_CASE("ws: many clients all hear everything", "[integration][ws]") {
  Fixture fixture;
  constexpr int kClients = 200;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Client>(fixture.port));
    REQUIRE(clients.back()->upgrade("/ws?topics=all.*").status == 101);
    clients.back()->hear();
  }
  for (int i = 0; i < 10; ++i) fixture.deliver("all.x", "{\"n\":" + std::to_string(i) + "}");
  for (auto& client : clients) {
    for (int i = 0; i < 10; ++i) CHECK(Json::parse(client->hear())["event"]["data"]["n"] == i);
  }
  clients.clear();
}

TEST_CASE("ws: clients are told when the server stops", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  REQUIRE(client.upgrade("/ws?topics=a").status == 101);
  client.hear();
  fixture.host.stop();
  const auto frame = client.frame();
  CHECK(frame.opcode == 0x8);
  CHECK(frame.payload.substr(0, 2) == "\x03\xe9");  // 1001
}

TEST_CASE("ws: without clients an event costs a look at a flag", "[integration][ws]") {
  Fixture fixture;
  for (int i = 0; i < 1000; ++i) fixture.deliver("ephor.trade");
  Client metrics(fixture.port);
  metrics.get("/metrics");
  CHECK(fixture.host.metric("ephor_http_websocket_frames_sent_total") == 0.0);
}
