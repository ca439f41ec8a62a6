// SPDX-License-Identifier: Apache-2.0
//
// Deliveries to a local server: durable, at least once, never of the past, never in replay.
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/ServerSocket.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "alerter_support.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;
using Json = nlohmann::json;

namespace {

struct Received {
  std::string key;
  std::string authorization;
  std::string uri;
  Json body;
};

// Answers the n-th request with the n-th status, and with the last one from then on.
class Receiver {
 public:
  explicit Receiver(std::vector<int> statuses, std::chrono::milliseconds delay = {})
      : statuses_(std::move(statuses)),
        delay_(delay),
        socket_(Poco::Net::SocketAddress("127.0.0.1", 0)),
        server_(new Factory(*this), socket_, new Poco::Net::HTTPServerParams) {
    server_.start();
  }
  // stopAll does not wait for the handlers, which speak of this object.
  ~Receiver() {
    server_.stopAll(true);
    while (server_.currentThreads() > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  std::string url(const std::string& path = "/hook?team=1") const {
    return "http://127.0.0.1:" + std::to_string(socket_.address().port()) + path;
  }
  std::vector<Received> received() const {
    const std::scoped_lock lock(mutex_);
    return received_;
  }

 private:
  class Handler final : public Poco::Net::HTTPRequestHandler {
   public:
    explicit Handler(Receiver& owner) : owner_(owner) {}
    void handleRequest(Poco::Net::HTTPServerRequest& request,
                       Poco::Net::HTTPServerResponse& response) override {
      const std::string body(std::istreambuf_iterator<char>(request.stream()), {});
      int status = 0;
      {
        const std::scoped_lock lock(owner_.mutex_);
        owner_.received_.push_back({request.get("Idempotency-Key", ""),
                                    request.get("Authorization", ""), request.getURI(),
                                    Json::parse(body)});
        status = owner_.statuses_[std::min(owner_.received_.size(), owner_.statuses_.size()) - 1];
      }
      std::this_thread::sleep_for(owner_.delay_);
      response.setStatus(static_cast<Poco::Net::HTTPResponse::HTTPStatus>(status));
      response.setContentLength(3);
      response.send() << "yes";
    }

   private:
    Receiver& owner_;
  };
  class Factory final : public Poco::Net::HTTPRequestHandlerFactory {
   public:
    explicit Factory(Receiver& owner) : owner_(owner) {}
    Poco::Net::HTTPRequestHandler* createRequestHandler(
        const Poco::Net::HTTPServerRequest&) override {
      return new Handler(owner_);
    }

   private:
    Receiver& owner_;
  };

  std::vector<int> statuses_;
  std::chrono::milliseconds delay_;
  mutable std::mutex mutex_;  // guards received_
  std::vector<Received> received_;
  Poco::Net::ServerSocket socket_;
  Poco::Net::HTTPServer server_;
};

bool eventually(const std::function<bool()>& is_true) {
  for (int i = 0; i < 1000; ++i) {
    if (is_true()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::string config_for(const std::string& url, const Json& more = Json::object()) {
  Json config{{"webhooks",
               {{{"url", url},
                 {"name", "ops"},
                 {"headers", {{"Authorization", "Bearer x"}}},
                 {"timeout_s", 0.3}}}},
              {"retry_s", 0.02},
              {"settle_s", 0}};
  config.update(more);
  return config.dump();
}

double now_s() {  // behind kEpoch
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
             .count() -
         static_cast<double>(kEpoch / kSecond);
}

// The status of the only delivery of a finding, read from the log.
std::string status_of(AlerterHost& alerter, const std::string& finding_id) {
  alerter.host.pump();
  const Json deliveries = alerter.get("/api/alerts/" + finding_id)["deliveries"];
  return deliveries.empty() ? "" : deliveries[0]["status"].get<std::string>();
}

Json first_delivery(AlerterHost& alerter, const std::string& finding_id) {
  return alerter.get("/api/alerts/" + finding_id)["deliveries"][0];
}

}  // namespace

TEST_CASE("webhook: sent once, with a stable key; the outcome is an event of the log",
          "[unit][alerter]") {
  Receiver receiver({200});
  AlerterHost alerter(config_for(receiver.url()), "live");
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "delivered"; }));
  const auto received = receiver.received();
  REQUIRE(received.size() == 1);
  const std::string id = alerter.get("/api/alerts/f")["alert_id"];
  CHECK(received[0].key == id + "-1");
  CHECK(received[0].authorization == "Bearer x");
  CHECK(received[0].uri == "/hook?team=1");
  CHECK(received[0].body["idempotency_key"] == id + "-1");
  CHECK(received[0].body["status"] == "firing");
  CHECK(received[0].body["ephor"]["alert_id"] == id);
  const Json delivery = first_delivery(alerter, "f");
  CHECK(delivery["attempts"] == 1);
  CHECK(delivery["webhook"] == "ops");
  CHECK(delivery["at"].is_string());
  const Json event = Json::parse(alerter.host.ingested().at(0).body);
  CHECK(event["type"] == "ephor.alert_delivery");
  CHECK(event["source"] == "ephor/alerter");
  CHECK(alerter.summary()["webhook_deliveries"] == 1);
  alerter.find(finding("f", "closed"), now_s());
  REQUIRE(eventually([&] {
    alerter.host.pump();
    return alerter.summary()["webhook_deliveries"] == 2;
  }));
  CHECK(receiver.received()[1].body["status"] == "resolved");
  CHECK(receiver.received()[1].key == id + "-2");
}

TEST_CASE("webhook: after a fault of the other side it is tried again with the same key",
          "[unit][alerter]") {
  Receiver receiver({500, 429, 200});
  AlerterHost alerter(config_for(receiver.url()), "live");
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "delivered"; }));
  const auto received = receiver.received();
  REQUIRE(received.size() == 3);
  CHECK(received[0].key == received[2].key);
  CHECK(first_delivery(alerter, "f")["attempts"] == 3);
}

TEST_CASE("webhook: what the other side refuses is not tried again", "[unit][alerter]") {
  Receiver receiver({400});
  AlerterHost alerter(config_for(receiver.url()), "live");
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "failed"; }));
  CHECK(receiver.received().size() == 1);
  const std::string detail = first_delivery(alerter, "f")["detail"];
  CHECK(detail.find("400") != std::string::npos);
  CHECK(alerter.summary()["webhook_failures"] == 1);
}

TEST_CASE("webhook: where nobody listens it is given up after max_attempts", "[unit][alerter]") {
  std::string url;
  {
    const Receiver gone({200});
    url = gone.url();
  }
  AlerterHost alerter(config_for(url, {{"max_attempts", 3}}), "live");
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "failed"; }));
  CHECK(first_delivery(alerter, "f")["attempts"] == 3);
  const std::string detail = first_delivery(alerter, "f")["detail"];
  CHECK(detail.find("given up") == 0);
}

TEST_CASE("webhook: a slow one is a failed try and holds up no other", "[unit][alerter]") {
  Receiver slow({200}, std::chrono::milliseconds(800));
  Receiver fast({200});
  const Json config{{"webhooks",
                     {{{"url", slow.url()}, {"name", "slow"}, {"timeout_s", 0.1}},
                      {{"url", fast.url()}, {"name", "fast"}}}},
                    {"max_attempts", 2},
                    {"retry_s", 0.02},
                    {"settle_s", 0}};
  AlerterHost alerter(config.dump(), "live");
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return !fast.received().empty(); }));
  REQUIRE(eventually([&] {
    alerter.host.pump();
    return alerter.summary()["webhook_failures"] == 1;
  }));
  CHECK(alerter.summary()["webhook_deliveries"] == 1);
  CHECK(slow.received().size() == 2);
}

TEST_CASE("webhook: only what is severe enough is sent", "[unit][alerter]") {
  Receiver receiver({200});
  const Json hooks{{{"url", receiver.url()}, {"name", "ops"}, {"min_severity", "critical"}}};
  AlerterHost alerter(Json{{"webhooks", hooks}, {"settle_s", 0}}.dump(), "live");
  alerter.find(finding("mild"), now_s());
  alerter.find(finding("bad", "open", "critical"), now_s());
  REQUIRE(eventually([&] { return status_of(alerter, "bad") == "delivered"; }));
  CHECK(alerter.get("/api/alerts/mild")["deliveries"] == Json::array());
  CHECK(receiver.received().size() == 1);
}

TEST_CASE("webhook: the past is recorded as skipped", "[unit][alerter]") {
  Receiver receiver({200});
  AlerterHost alerter(config_for(receiver.url(), {{"max_age_s", 60}}), "live");
  alerter.find(finding("old"), now_s() - 100);
  REQUIRE(eventually([&] { return status_of(alerter, "old") == "skipped"; }));
  CHECK(first_delivery(alerter, "old")["detail"] == "old");
  CHECK(receiver.received().empty());
}

TEST_CASE("webhook: replay and offline send nothing", "[unit][alerter]") {
  for (const char* mode : {"replay", "offline", ""}) {
    Receiver receiver({200});
    AlerterHost alerter(config_for(receiver.url()), mode);
    alerter.find(finding("f"), now_s());
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    CHECK(status_of(alerter, "f") == "pending");
    CHECK(receiver.received().empty());
    CHECK(alerter.host.ingested().empty());
  }
}

TEST_CASE("webhook: a crash between sending and recording sends again, with the same key",
          "[unit][alerter]") {
  Receiver receiver({200});
  AlerterHost alerter(config_for(receiver.url()), "live");
  alerter.host.save();
  alerter.host.fail_ingest(EPHOR_IO);  // sent, and the outcome cannot be recorded
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return receiver.received().size() == 1; }));
  CHECK(alerter.host.crash());
  alerter.host.fail_ingest(EPHOR_OK);
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "delivered"; }));
  const auto received = receiver.received();
  REQUIRE(received.size() == 2);
  CHECK(received[0].key == received[1].key);
  CHECK(alerter.host.published("ephor.alert").size() == 1);
}

TEST_CASE("webhook: what was recorded is not sent again after a crash", "[unit][alerter]") {
  Receiver receiver({200});
  // After the crash the outcome is read before anything is sent.
  AlerterHost alerter(config_for(receiver.url(), {{"settle_s", 0.2}}), "live");
  alerter.host.save();
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "delivered"; }));
  CHECK(alerter.host.crash());
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  CHECK(status_of(alerter, "f") == "delivered");
  CHECK(receiver.received().size() == 1);
}

TEST_CASE("webhook: what waits survives a restart", "[unit][alerter]") {
  Receiver receiver({503, 503, 200});
  AlerterHost alerter(config_for(receiver.url(), {{"retry_s", 0.2}}), "live");
  alerter.find(finding("f"), now_s());
  REQUIRE(eventually([&] { return !receiver.received().empty(); }));
  CHECK(alerter.host.restart());
  REQUIRE(eventually([&] { return status_of(alerter, "f") == "delivered"; }));
  CHECK(receiver.received().size() >= 3);
}
