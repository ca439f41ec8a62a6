// SPDX-License-Identifier: Apache-2.0
#include "reporter_host.hpp"
#include "reporter_smtp_server.hpp"
#include "support/catch.hpp"
#include "support/patience.hpp"

using namespace ephor::reporter;
using namespace ephor::reporter::testing;
using ephor::Json;

namespace {

std::string with_server(const SmtpServer& server, const std::string& more = "") {
  return R"({"smtp": {"host": "127.0.0.1", "security": "none", "retry_s": 1, "timeout_s": 3, "port": )" +
         std::to_string(server.port()) + more + "}}";
}

constexpr const char* kThree =
    R"({"from": "2017-11-08", "to": "2017-11-09", "recipients": ["a@x.org", "b@x.org", "c@x.org"]})";
constexpr const char* kOne =
    R"({"from": "2017-11-08", "to": "2017-11-09", "recipients": ["a@x.org"]})";

std::string generate(ReporterHost& one, const std::string& body) {
  const std::string id =
      Json::parse(one.host.request("POST", "/api/reports/generate", body))["report_id"];
  one.host.pump();
  return id;
}

// {recipient: state}
Json states_of(ReporterHost& one, const std::string& id) {
  Json out = Json::object();
  const Json report = one.report(id);
  for (const Json& delivery : report["deliveries"])
    out[std::string(delivery["recipient"])] = delivery["state"];
  return out;
}

bool wait_until_settled(ReporterHost& one, const std::string& id) {
  return one.wait_for([&] {
    const Json states = states_of(one, id);
    for (const Json& state : states) {
      if (state == "queued" || state == "deferred") return false;
    }
    return true;
  });
}

std::string message_id_in(const std::string& data) {
  const std::size_t at = data.find("Message-ID: ");
  return at == std::string::npos ? "" : data.substr(at, data.find('\n', at) - at);
}

}  // namespace

TEST_CASE("outbox: each recipient gets a mail of its own", "[reporter]") {
  SmtpServer server;
  ReporterHost one(with_server(server));
  const std::string id = generate(one, kThree);
  REQUIRE(wait_until_settled(one, id));
  CHECK(states_of(one, id) ==
        Json({{"a@x.org", "sent"}, {"b@x.org", "sent"}, {"c@x.org", "sent"}}));
  REQUIRE(server.received().size() == 3);
  for (const auto& mail : server.received()) {
    CHECK(mail.sender == "<ephor@localhost>");
    CHECK(mail.data.find("To: <" + mail.recipient + ">") != std::string::npos);
    CHECK(mail.data.find("filename=\"" + id + ".html\"") != std::string::npos);
    CHECK(mail.data.find("Bcc") == std::string::npos);
  }
  one.host.save();
  CHECK(one.host.rows("report_outbox").size() == 3);
}

TEST_CASE("outbox: one refused of three does not cost the others theirs", "[reporter]") {
  SmtpServer server;
  server.answer_recipient("b@x.org", "550 no such user", 1);
  ReporterHost one(with_server(server));
  const std::string id = generate(one, kThree);
  REQUIRE(wait_until_settled(one, id));
  CHECK(states_of(one, id) ==
        Json({{"a@x.org", "sent"}, {"b@x.org", "dead"}, {"c@x.org", "sent"}}));
  CHECK(server.received().size() == 2);
  CHECK(one.report(id)["deliveries"][1]["error"].get<std::string>().find("550") !=
        std::string::npos);
}

TEST_CASE("outbox: not now is tried again, at the door and for a recipient", "[reporter]") {
  SmtpServer server;
  server.greet_with("421 too busy", 1);
  server.answer_recipient("a@x.org", "450 come back", 1);
  ReporterHost one(with_server(server));
  const std::string id = generate(one, kOne);
  REQUIRE(wait_until_settled(one, id));
  CHECK(states_of(one, id) == Json({{"a@x.org", "sent"}}));
  CHECK(one.report(id)["deliveries"][0]["attempts"] == 3);
  CHECK(server.received().size() == 1);
}

TEST_CASE("outbox: a connection lost after the data is tried again with the same Message-ID",
          "[reporter]") {
  SmtpServer server;
  server.drop_after_data(1);
  ReporterHost one(with_server(server));
  const std::string id = generate(one, kOne);
  REQUIRE(wait_until_settled(one, id));
  const auto received = server.received();
  REQUIRE(received.size() == 2);
  CHECK(message_id_in(received[0].data) == message_id_in(received[1].data));
  CHECK_FALSE(message_id_in(received[0].data).empty());
}

TEST_CASE("outbox: what never succeeds is given up and said", "[reporter]") {
  SmtpServer server;
  server.greet_with("421 too busy", 100);
  ReporterHost one(with_server(server, R"(, "max_attempts": 2)"));
  const std::string id = generate(one, kOne);
  REQUIRE(wait_until_settled(one, id));
  CHECK(states_of(one, id) == Json({{"a@x.org", "dead"}}));
  CHECK(one.report(id)["deliveries"][0]["error"].get<std::string>().starts_with(
      "given up after 2 tries"));
  CHECK(Json::parse(one.host.ask("reporter.summary"))["report_mails_dead"] == 1);
}

TEST_CASE("outbox: without STARTTLS nothing is sent where it is asked for", "[reporter]") {
  SmtpServer server;
  ReporterHost one(R"({"smtp": {"host": "127.0.0.1", "max_attempts": 1, "user": "u",
                       "password": "secret-word", "port": )" +
                   std::to_string(server.port()) + "}}");
  const std::string id = generate(one, kOne);
  REQUIRE(wait_until_settled(one, id));
  CHECK(server.received().empty());
  const std::string error = one.report(id)["deliveries"][0]["error"];
  CHECK(error.find("STARTTLS") != std::string::npos);
  for (const auto& line : one.host.log_lines())
    CHECK(line.message.find("secret-word") == std::string::npos);
  for (const auto& body : one.host.ingested())
    CHECK(body.body.find("secret-word") == std::string::npos);
}

TEST_CASE("outbox: a crash sends what is left and nothing twice", "[reporter]") {
  SmtpServer server;
  server.answer_recipient("b@x.org", "450 come back", 1);
  ReporterHost one(with_server(server));
  const std::string id = generate(one, kThree);
  REQUIRE(one.wait_for([&] { return server.received().size() == 2; }));
  one.host.save();  // whatever is known by now
  one.host.crash();
  REQUIRE(wait_until_settled(one, id));
  one.host.crash();  // everything behind the save is read again
  REQUIRE(wait_until_settled(one, id));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::map<std::string, std::set<std::string>> ids;
  for (const auto& mail : server.received()) ids[mail.recipient].insert(message_id_in(mail.data));
  CHECK(ids.size() == 3);
  for (const auto& [recipient, message_ids] : ids) CHECK(message_ids.size() == 1);
  // A try whose result was not noted before the crash may come again, with the same Message-ID.
  CHECK(server.received().size() <= 4);
}

TEST_CASE("outbox: a stop does not wait for a slow server", "[reporter]") {
  // Accepts and says nothing.
  Poco::Net::ServerSocket silent(Poco::Net::SocketAddress("127.0.0.1", 0));
  ReporterHost one(
      R"({"smtp": {"host": "127.0.0.1", "security": "none", "timeout_s": 60, "port": )" +
      std::to_string(silent.address().port()) + "}}");
  generate(one, kOne);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto before = std::chrono::steady_clock::now();
  one.host.unload();
  CHECK(std::chrono::steady_clock::now() - before <
        ephor::testing::patience(std::chrono::seconds(5)));
}
