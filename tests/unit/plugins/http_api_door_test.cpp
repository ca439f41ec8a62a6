// SPDX-License-Identifier: Apache-2.0
//
// Connections without a thread each: who waits where, and what happens where too many do.
#include <chrono>
#include <condition_variable>
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http_api.hpp"
#include "http_api_client.hpp"
#include "http_api_protobuf.hpp"
#include "support/catch.hpp"
#include "support/patience.hpp"
#include "support/shared_data.hpp"

using ephor::Json;
using ephor::http_api::HttpApi;
using ephor::testing::FakeHost;
using http_api_test::Client;
using http_api_test::Reply;
using namespace std::chrono_literals;

namespace {

constexpr const char* kLines = "application/x-ndjson";
constexpr const char* kProtobuf = "application/x-protobuf";

struct Fixture {
  explicit Fixture(Json config = Json::object()) {
    config["listen"] = "127.0.0.1:0";
    const HttpApi& api = host.load_plugin<HttpApi>(config.dump());
    port = http_api_test::port_of(api.url());
    ingest_port = api.ingest_url().empty() ? 0 : http_api_test::port_of(api.ingest_url());
  }
  double figure(const std::string& name, const std::string& labels = "{}") {
    Client client(port);
    CHECK(client.get("/metrics").status == 200);
    return host.metric(name, labels).value_or(-1);
  }
  FakeHost host;
  int port = 0;
  int ingest_port = 0;
};

// Callers stay in hold() until release().
class Barrier {
 public:
  void hold() {
    std::unique_lock lock(mutex_);
    ++held_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return is_open_; });
  }
  void wait_for(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_ >= count; });
  }
  void release() {
    std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  ~Barrier() { release(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int held_ = 0;
  bool is_open_ = false;
};

int threads_of_this_process() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ++count;
  return count;
}

void provide(FakeHost& host, const std::string& path, ephor::QueryHandler handler) {
  const std::string query = "test" + path;
  host.answer_query(query, std::move(handler));
  host.add_route({"GET", path, query, "read", "a test", "", "", ""});
}

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

std::string post(const std::string& target, const std::string& type, const std::string& body) {
  return "POST " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

template <typename Condition>
bool eventually(Condition&& condition) {
  const auto end = std::chrono::steady_clock::now() + ephor::testing::patience(20s);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

}  // namespace

TEST_CASE("http_api: 500 idle connections cost no thread", "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}});
  Client first(fixture.port);
  CHECK(first.get("/health/live").status != 0);
  const int before = threads_of_this_process();
  std::vector<std::unique_ptr<Client>> silent;
  std::vector<std::unique_ptr<Client>> half;
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<Client>(fixture.port));
  for (int i = 0; i < 200; ++i) {
    half.push_back(std::make_unique<Client>(fixture.port));
    half.back()->send("GET /api HTT");
  }
  for (int i = 0; i < 100; ++i) {
    idle.push_back(std::make_unique<Client>(fixture.port));
    CHECK(idle.back()->get("/api").status == 200);
  }
  CHECK(threads_of_this_process() <= before);
  CHECK(fixture.figure("ephor_http_connections") >= 500);
  CHECK(eventually([&] { return fixture.figure("ephor_http_connections_waiting") >= 500; }));
  for (auto& client : half) {
    client->send("P/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(client->reply().status == 200);
  }
  for (auto& client : idle) CHECK(client->get("/api").status == 200);
  for (auto& client : silent) CHECK(client->get("/api").status == 200);
}

TEST_CASE("http_api: a request may come byte by byte", "[integration][http]") {
  Fixture fixture;
  Client client(fixture.port);
  const std::string bytes = "\r\n" + post("/api/events", kLines, "{}\n") + "\r\n" + get("/api");
  for (const char byte : bytes) client.send(std::string(1, byte));
  CHECK(client.reply().status == 400);  // "{}" is no event
  CHECK(client.reply().status == 200);
}

TEST_CASE("http_api: pipelined requests of both sorts are answered in order",
          "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}, {"ingest_threads", 1}});
  provide(fixture.host, "/api/one", [](std::string_view) { return std::string("[1]"); });
  provide(fixture.host, "/api/two", [](std::string_view) { return std::string("[2]"); });
  Client client(fixture.port);
  std::string bytes;
  constexpr int kRounds = 50;
  for (int i = 0; i < kRounds; ++i) {
    bytes += get("/api/one") + post("/api/events", kLines, "rubbish\n") + get("/api/two");
  }
  bytes += "GET /api/o";
  client.send(bytes);
  for (int i = 0; i < kRounds; ++i) {
    CHECK(client.reply().body == "[1]");
    CHECK(client.reply().status == 400);
    CHECK(client.reply().body == "[2]");
  }
  client.send("ne HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(client.reply().body == "[1]");
}

TEST_CASE("http_api: heads that drip are ended, whoever else is served", "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}, {"header_timeout_ms", 200}});
  std::vector<std::unique_ptr<Client>> dripping;
  for (int i = 0; i < 20; ++i) {
    dripping.push_back(std::make_unique<Client>(fixture.port));
    dripping.back()->send("POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n");
  }
  Client other(fixture.port);
  CHECK(other.get("/api").status == 200);
  for (auto& client : dripping) {
    const Reply reply = client->reply();
    CHECK(reply.status == 408);
    CHECK(reply.headers.at("connection") == "close");
    CHECK(Json::parse(reply.body)["error"]["code"] == "timeout");
    CHECK(client->is_closed());
  }
  Client silent(fixture.port);  // says nothing at all: closed without a word
  CHECK(silent.is_closed());
}

TEST_CASE("http_api: idle connections end after keep_alive_timeout_s", "[integration][http]") {
  Fixture fixture(Json{{"keep_alive_timeout_s", 1}});
  Client client(fixture.port);
  CHECK(client.get("/api").status == 200);
  CHECK(client.is_closed());
}

TEST_CASE("http_api: slow bodies do not starve questions", "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}, {"ingest_threads", 2}, {"ingest_queue", 30}});
  Barrier barrier;
  fixture.host.on_ingest([&](const ephor::testing::Ingested&, ephor_ingest_result& result,
                             std::vector<ephor::testing::Rejection>&) {
    barrier.hold();
    result.accepted = 1;
  });
  std::vector<std::unique_ptr<Client>> posting;
  for (int i = 0; i < 32; ++i) {
    posting.push_back(std::make_unique<Client>(fixture.port));
    posting.back()->send(post("/api/events", kLines, "{}\n"));
  }
  barrier.wait_for(2);
  const std::string pool = R"({"pool":"ingest"})";
  CHECK(eventually([&] { return fixture.figure("ephor_http_pool_queued", pool) == 30; }));
  Client client(fixture.port);
  for (int i = 0; i < 100; ++i) CHECK(client.get("/api").status == 200);
  barrier.release();
  for (auto& one : posting) CHECK(one->reply().status == 200);
  CHECK(fixture.figure("ephor_http_pool_refused_total", pool) == 0);
}

TEST_CASE("http_api: slow questions do not starve bodies", "[integration][http]") {
  Fixture fixture(Json{{"threads", 2}, {"request_queue", 2}});
  Barrier barrier;
  provide(fixture.host, "/api/slow", [&](std::string_view) {
    barrier.hold();
    return std::string("[]");
  });
  std::vector<std::unique_ptr<Client>> asking;
  for (int i = 0; i < 4; ++i) {
    asking.push_back(std::make_unique<Client>(fixture.port));
    asking.back()->send(get("/api/slow"));
  }
  barrier.wait_for(2);
  // The doorman takes them in the order they came: two have threads, two wait, this is the fifth.
  Client beyond(fixture.port);
  const Reply busy = beyond.get("/api");
  CHECK(busy.status == 503);
  CHECK(busy.headers.at("retry-after") == "1");
  CHECK(busy.headers.at("connection") == "close");
  CHECK(Json::parse(busy.body)["error"]["code"] == "busy");
  Client posting(fixture.port);
  CHECK(posting.post("/api/events", kLines, "rubbish\n").status == 400);
  barrier.release();
  for (auto& one : asking) CHECK(one->reply().status == 200);
  CHECK(fixture.figure("ephor_http_pool_refused_total", R"({"pool":"reads"})") >= 1);
  CHECK(fixture.figure("ephor_http_pool_queue_seconds_total", R"({"pool":"reads"})") > 0);
}

TEST_CASE("http_api: threads come where a queue stands still", "[integration][http]") {
  Fixture fixture(Json{{"threads", 40}});
  Barrier barrier;
  provide(fixture.host, "/api/slow", [&](std::string_view) {
    barrier.hold();
    return std::string("[]");
  });
  std::vector<std::unique_ptr<Client>> asking;
  for (int i = 0; i < 39; ++i) {
    asking.push_back(std::make_unique<Client>(fixture.port));
    asking.back()->send(get("/api/slow"));
  }
  barrier.wait_for(39);
  CHECK(fixture.figure("ephor_http_pool_busy", R"({"pool":"reads"})") == 40);  // and this question
  barrier.release();
  for (auto& one : asking) CHECK(one->reply().status == 200);
}

TEST_CASE("http_api: a full pool answers each protocol in its words", "[integration][http]") {
  Fixture fixture(Json{{"ingest_threads", 1}, {"ingest_queue", 0}, {"ingest_receivers", 1}});
  Barrier barrier;
  fixture.host.on_ingest([&](const ephor::testing::Ingested&, ephor_ingest_result& result,
                             std::vector<ephor::testing::Rejection>&) {
    barrier.hold();
    result.accepted = 1;
  });
  Client slow(fixture.port);
  slow.send(post("/v1/traces", kProtobuf, "x"));
  barrier.wait_for(1);
  Client dripping(fixture.port);
  dripping.send(
      "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
      "Content-Length: 10\r\n\r\n123");
  CHECK(eventually(
      [&] { return fixture.figure("ephor_http_pool_busy", R"({"pool":"ingest"})") == 2; }));
  // A body larger than the sockets' buffers: the answer must not be lost to a reset.
  const std::string large(4'000'000, 'x');
  const auto busy = [&](const std::string& target, const std::string& type) {
    Client client(fixture.port);
    auto sending = std::async(std::launch::async, [&] { client.send(post(target, type, large)); });
    const Reply reply = client.reply();
    sending.wait();
    CHECK(reply.status == 503);
    CHECK(reply.headers.at("retry-after") == "1");
    CHECK(reply.headers.at("connection") == "close");
    return reply;
  };
  const Reply protobuf = busy("/v1/traces", kProtobuf);
  CHECK(protobuf.headers.at("content-type") == "application/x-protobuf");
  const auto status = http_api_test::fields_of(protobuf.body);
  CHECK(status.at(1).number == 14);
  CHECK_FALSE(status.at(2).bytes.empty());
  CHECK(Json::parse(busy("/v1/logs", "application/json").body)["code"] == 14);
  CHECK(Json::parse(busy("/api/events", kLines).body)["error"]["code"] == "busy");
  CHECK(Json::parse(busy("/write?db=x", "text/plain").body)["error"].is_string());
  CHECK(Json::parse(busy("/api/v2/write", "text/plain").body)["code"] == "unavailable");
  CHECK(fixture.figure("ephor_http_pool_refused_total", R"({"pool":"ingest"})") == 5);
  barrier.release();
  CHECK(slow.reply().status == 200);
  dripping.send("4567890");
  CHECK(dripping.reply().status == 200);
}

TEST_CASE("http_api: connections beyond the limit are told so", "[integration][http]") {
  Fixture fixture(Json{{"max_connections", 5}});
  std::vector<std::unique_ptr<Client>> open;
  for (int i = 0; i < 5; ++i) {
    open.push_back(std::make_unique<Client>(fixture.port));
    CHECK(open.back()->get("/api").status == 200);
  }
  Client beyond(fixture.port);
  beyond.send(get("/api"));
  const Reply reply = beyond.reply();
  CHECK(reply.status == 503);
  CHECK(reply.headers.at("retry-after") == "1");
  CHECK(Json::parse(reply.body)["error"]["message"].get<std::string>().find("max_connections") !=
        std::string::npos);
  CHECK(open[0]->get("/metrics").status == 200);
  CHECK(fixture.host.metric("ephor_http_connections_refused_total", "{}") == 1);
  open.resize(1);
  CHECK(eventually([&] {
    Client client(fixture.port);
    return client.get("/api").status == 200;
  }));
}

TEST_CASE("http_api: what is being answered is finished while draining", "[integration][http]") {
  Fixture fixture;
  Barrier barrier;
  provide(fixture.host, "/api/slow", [&](std::string_view) {
    barrier.hold();
    return std::string("[]");
  });
  Client busy(fixture.port);
  busy.send(get("/api/slow"));
  Client idle(fixture.port);
  CHECK(idle.get("/api").status == 200);
  Client half(fixture.port);
  half.send("GET /ap");
  barrier.wait_for(1);
  fixture.host.drain();
  CHECK(idle.is_closed());
  CHECK(half.is_closed());
  barrier.release();
  const Reply reply = busy.reply();
  CHECK(reply.status == 200);
  CHECK(reply.headers.at("connection") == "close");
  CHECK(eventually([&] {
    try {
      Client late(fixture.port);
      return false;
    } catch (const std::runtime_error&) {
      return true;
    }
  }));
}

TEST_CASE("http_api: stops at once with many idle and half connections", "[integration][http]") {
  Fixture fixture;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<Client>(fixture.port));
    if (i % 2 == 0) clients.back()->send("POST /v1/traces HTTP/1.1\r\nHo");
    if (i % 4 == 1) CHECK(clients.back()->get("/api").status == 200);
  }
  const auto begin = std::chrono::steady_clock::now();
  fixture.host.drain();
  fixture.host.stop();
  CHECK(std::chrono::steady_clock::now() - begin < ephor::testing::patience(3s));
  for (auto& client : clients) CHECK(client->is_closed());
}

TEST_CASE("http_api: the listener for ingest takes events and nothing else",
          "[integration][http]") {
  const Json tokens = {
      {{"name", "reader"}, {"token", "reader-0123456789abcdef"}, {"scopes", {"read"}}}};
  const ephor::testing::TemporaryDirectory directory;
  const auto file = directory.path() / "ingest-address";
  Fixture fixture(Json{{"ingest_listen", "127.0.0.1:0"},
                       {"ingest_address_file", file.string()},
                       {"tokens", tokens}});
  REQUIRE(fixture.ingest_port != 0);
  std::ifstream in(file);
  std::string url;
  std::getline(in, url);
  CHECK(url == "http://127.0.0.1:" + std::to_string(fixture.ingest_port) + "/");
  const std::string event =
      R"({"specversion":"1.0","id":"1","source":"s","type":"ephor.metric","data":{}})";
  Client ingest(fixture.ingest_port);
  // No token may write, so loopback is open here, while the other listener asks for one.
  CHECK(ingest.post("/api/events", "application/json", event).status == 200);
  CHECK(ingest.get("/health/live").status != 404);
  CHECK(ingest.get("/api").status == 404);
  CHECK(ingest.get("/metrics").status == 404);
  CHECK(ingest.get("/").status == 404);
  Client main(fixture.port);
  CHECK(main.post("/api/events", "application/json", event).status == 401);

  const Json writers = {
      {{"name", "bot"}, {"token", "writer-0123456789abcdef"}, {"scopes", {"write"}}}};
  Fixture guarded(Json{{"ingest_listen", "127.0.0.1:0"}, {"tokens", writers}});
  Client client(guarded.ingest_port);
  CHECK(client.post("/v1/logs", "application/json", "{}").status == 401);
  CHECK(client
            .post("/api/events", "application/json", event,
                  "Authorization: Bearer writer-0123456789abcdef\r\n")
            .status == 200);
}

TEST_CASE("http_api: a listener for ingest that is open to all is refused", "[integration][http]") {
  FakeHost host;
  try {
    host.load_plugin<HttpApi>(
        R"({"listen": "127.0.0.1:0", "ingest_listen": "0.0.0.0:0",
            "tokens": [{"name": "r", "token": "reader-0123456789abcdef", "scopes": ["read"]}]})");
    FAIL("it started");
  } catch (const ephor::Error& failure) {
    CHECK(failure.code() == EPHOR_INVALID);
    CHECK(failure.json_pointer() == "/ingest_listen");
  }
}
