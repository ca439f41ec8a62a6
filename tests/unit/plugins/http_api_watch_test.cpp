// SPDX-License-Identifier: Apache-2.0
//
// Watched routes over real sockets: the first answer at once, later ones when they change.
#include <atomic>
#include <chrono>
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <string>
#include <thread>

#include "http_api.hpp"
#include "http_api_client.hpp"
#include "support/catch.hpp"

using ephor::Json;
using ephor::http_api::HttpApi;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;
using http_api_test::Client;

namespace {

struct Fixture {
  explicit Fixture(Json config = Json::object()) {
    host.answer_query("test.figure", [this](std::string_view request) {
      ++asked;
      const Json given = Json::parse(request);
      return Json{{"figure", figure.load()}, {"symbol", given.value("symbol", "")}}.dump();
    });
    host.add_route({"GET", "/api/figure", "test.figure", "read", "a figure", "", "", ""});
    host.add_route({"GET", "/api/secret", "test.figure", "admin", "for few", "", "", ""});
    config["listen"] = "127.0.0.1:0";
    if (!config.contains("update_interval_s")) config["update_interval_s"] = 0.05;
    port = http_api_test::port_of(host.load_plugin<HttpApi>(config.dump()).url());
  }
  std::atomic<int> figure{1};
  std::atomic<int> asked{0};
  FakeHost host;  // last made, first gone: its plugin asks the others
  int port = 0;
};

Json hear(Client& client) { return Json::parse(client.hear()); }

}  // namespace

TEST_CASE("watch: the answer comes at once, then only when it changes", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  REQUIRE(client.upgrade().status == 101);
  client.say(R"({"watch": "/api/figure?symbol=BTC", "id": 7})");
  CHECK(hear(client) ==
        Json{{"type", "watching"}, {"id", 7}, {"watches", {"/api/figure?symbol=BTC"}}});
  const Json first = hear(client);
  CHECK(first["type"] == "snapshot");
  CHECK(first["watch"] == "/api/figure?symbol=BTC");
  CHECK(first["status"] == 200);
  CHECK(first["body"] == Json{{"figure", 1}, {"symbol", "BTC"}});
  CHECK(first["as_of_sequence"].is_number_integer());

  // It has been asked again and again, and nothing is sent until it says something else.
  const int asked = fixture.asked;
  while (fixture.asked < asked + 3) std::this_thread::yield();
  fixture.figure = 2;
  CHECK(hear(client)["body"]["figure"] == 2);

  client.say(R"({"unwatch": "/api/figure?symbol=BTC"})");
  CHECK(hear(client) == Json{{"type", "unwatched"}, {"watches", Json::array()}});
}

TEST_CASE("watch: who comes later gets an unchanged answer too", "[integration][ws]") {
  Fixture fixture(Json{{"update_interval_s", 3600}});
  Client early(fixture.port);
  REQUIRE(early.upgrade().status == 101);
  early.say(R"({"watch": "/api/figure"})");
  CHECK(hear(early)["type"] == "watching");
  CHECK(hear(early)["body"]["figure"] == 1);
  Client late(fixture.port);
  REQUIRE(late.upgrade().status == 101);
  late.say(R"({"watch": "/api/figure"})");
  CHECK(hear(late)["type"] == "watching");
  CHECK(hear(late)["body"]["figure"] == 1);
}

TEST_CASE("watch: unknown routes, other scopes and other texts are refused", "[integration][ws]") {
  Fixture fixture;
  Client client(fixture.port);
  REQUIRE(client.upgrade().status == 101);
  client.say(R"({"watch": ["/api/nothing", "/api/secret", "/api/figure?after_sequence=9"]})");
  CHECK(hear(client)["type"] == "watching");
  for (int i = 0; i < 3; ++i) {
    const Json answer = hear(client);
    CHECK(answer["type"] == "snapshot");
    CHECK(answer["status"] == (answer["watch"] == "/api/figure?after_sequence=9" ? 400 : 404));
    CHECK(answer["body"]["error"]["message"].is_string());
  }
  for (const char* bad : {R"({"watch": "/metrics"})", R"({"watch": 3})", R"({"other": 1})"}) {
    client.say(bad);
    CHECK(hear(client)["type"] == "error");
  }
}

TEST_CASE("watch: update_interval_s sets how often a route is asked", "[integration][ws]") {
  const auto asked_in_half_a_second = [](double interval_s) {
    Fixture fixture(Json{{"update_interval_s", interval_s}});
    Client client(fixture.port);
    REQUIRE(client.upgrade().status == 101);
    client.say(R"({"watch": "/api/figure"})");
    hear(client);
    hear(client);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return fixture.asked.load();
  };
  CHECK(asked_in_half_a_second(3600) == 1);
  CHECK(asked_in_half_a_second(0.05) > 2);
}

TEST_CASE("watch: enable_real_time_updates false refuses it, events go on", "[integration][ws]") {
  Fixture fixture(Json{{"enable_real_time_updates", false}});
  Client client(fixture.port);
  REQUIRE(client.upgrade().status == 101);
  client.say(R"({"watch": "/api/figure"})");
  const Json refused = hear(client);
  CHECK(refused["type"] == "error");
  CHECK(refused["message"].get<std::string>().find("enable_real_time_updates") !=
        std::string::npos);
  client.say(R"({"subscribe": ["ephor.trade"]})");
  CHECK(hear(client)["type"] == "subscribed");
}

TEST_CASE("watch: enable_websocket_broadcast false refuses events, watching goes on",
          "[integration][ws]") {
  Fixture fixture(Json{{"enable_websocket_broadcast", false}});
  Client client(fixture.port);
  REQUIRE(client.upgrade().status == 101);
  client.say(R"({"subscribe": ["ephor.trade"]})");
  const Json refused = hear(client);
  CHECK(refused["type"] == "error");
  CHECK(refused["message"].get<std::string>().find("enable_websocket_broadcast") !=
        std::string::npos);
  client.say(R"({"watch": "/api/figure"})");
  CHECK(hear(client)["type"] == "watching");
  CHECK(hear(client)["body"]["figure"] == 1);
  Client by_address(fixture.port);
  CHECK(by_address.upgrade("/ws?topics=ephor.trade").status == 403);
}
