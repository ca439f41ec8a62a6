// SPDX-License-Identifier: Apache-2.0
#include <ephor/state.hpp>
#include <ephor/testing/fake_host.hpp>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace ephor;  // the test reads as a plugin's own test does
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;

namespace {

// Counts events per topic, keeps one row per topic, and publishes "probe.seen" for each metric.
class Probe final : public Plugin {
 public:
  static constexpr std::string_view kConfigSchema =
      R"({"type":"object","properties":{"limit":{"type":"integer","default":7},
          "deep":{"type":"object","properties":{"on":{"type":"boolean","default":true}}}}})";
  static constexpr std::uint32_t kStateVersion = 3;

  Probe(Host host, std::string_view config) : config_(config), host_(std::move(host)) {
    host_.declare_tables(R"({"version":1,"tables":[{"name":"seen","key":["topic"],"columns":[
        {"name":"topic","type":"text"},{"name":"count","type":"integer"}]}]})");
    host_.subscribe({"ephor.*", "deep.>"});
    host_.provide_route({.method = "GET",
                         .path = "/api/probe/{topic}",
                         .query = "probe.count",
                         .summary = "How many"},
                        [this](std::string_view request) { return answer(request); });
    host_.provide_route(
        {.method = "GET", .path = "/api/probe/all", .query = "probe.all", .summary = "All"},
        [](std::string_view) { return std::string("\"all\""); });
    events_ = host_.counter("probe_events_total", "Events", R"({"kind":"any"})");
  }
  void on_events(std::span<const Event> events) override {
    slice_sizes_.push_back(events.size());
    last_record_ = std::string_view(events.front().record, events.front().record_length);
    for (const Event& event : events) {
      const std::string topic(host_.topic_name(event.topic));
      if (topic == "ephor.bad") throw Error(EPHOR_INVALID, "bad event", "/data");
      ++counts_[topic];
      events_.add();
      flags_ |= event.flags;
      if (topic == "ephor.metric") {
        host_.publish({.topic = "probe.seen", .data_json = R"({"n":1})", .cause = &event});
      }
    }
  }
  void save(const Rows& rows, std::string& state) override {
    StateWriter out(state);
    out.varint(counts_.size());
    for (const auto& [topic, count] : counts_) {
      out.text(topic).u64(count);
      rows.upsert("seen",
                  {Cell::text(topic), Cell::integer_value(static_cast<std::int64_t>(count))});
    }
    if (is_save_broken_) throw std::runtime_error("disk on fire");
  }
  bool load(std::uint32_t version, std::string_view state) override {
    return version == kStateVersion && read_state(state, [&](StateReader& in) {
             for (std::size_t left = in.count(9); left > 0; --left) {
               std::string topic = in.text();
               counts_[std::move(topic)] = in.u64();
             }
           });
  }

  std::string answer(std::string_view request) {
    last_request_ = request;
    return std::to_string(counts_.size());
  }

  std::string config_;
  std::map<std::string, std::uint64_t> counts_;
  std::vector<std::size_t> slice_sizes_;
  std::string_view last_record_;
  std::string last_request_;
  std::uint8_t flags_ = 0;
  bool is_save_broken_ = false;

 private:
  Host host_;
  Series events_;
};

std::string metric(std::int64_t time_ns) {
  return CloudEvent{.topic = "ephor.metric", .data_json = R"({"value":1})", .time_ns = time_ns}
             .line() +
         "\n";
}

// Keeps the descriptor of the last event and what the record said while it was alive.
class Keeper final : public Plugin {
 public:
  Keeper(Host host, std::string_view) : host_(std::move(host)) { host_.subscribe({">"}); }
  void on_event(const Event& event) override {
    last_ = event;
    record_.assign(event.record, event.record_length);
    data_ = record_.substr(event.data_offset);
    source_ = host_.source_name(event.source);
    slack_is_readable_ = std::string_view(event.record + event.record_length, 64).size() == 64;
  }
  Event last_{};
  std::string record_, data_, source_;
  bool slack_is_readable_ = false;

 private:
  Host host_;
};

}  // namespace

TEST_CASE("fake host: an event's descriptor says what its record says", "[unit][fake_host]") {
  FakeHost host;
  auto& keeper = host.load_plugin<Keeper>();
  const std::string line =
      R"({"specversion":"1.0","id":"7-1","type":"ephor.span","source":"analyst",)"
      R"("time":"2017-11-07T06:29:00.072608193Z","correlationid":"corr-07","data":{"a":"\u00e9"},)"
      R"("traceparent":"00-f03e2fb81f223f4192c58efd5185f071-1ef7677a1f132a81-01"})";
  const std::uint64_t sequence = host.deliver(line);
  CHECK(keeper.last_.sequence == sequence);
  CHECK(keeper.record_ == line);
  CHECK(keeper.data_.starts_with(R"({"a":"\u00e9"},"traceparent")"));
  CHECK(keeper.source_ == "analyst");
  CHECK(keeper.slack_is_readable_);
  // 2017-11-07T06:29:00Z is 1510036140 (date -d ... +%s).
  CHECK(keeper.last_.time_ns == 1'510'036'140'072'608'193);
  CHECK(testing::hex_of(keeper.last_.trace_id) == "f03e2fb81f223f4192c58efd5185f071");
  CHECK(keeper.last_.correlation != 0);
  CHECK(keeper.last_.flags == 0);

  host.deliver(R"({"specversion":"1.0","id":"8","type":"t","source":"s"})");
  CHECK(keeper.last_.data_offset == keeper.last_.record_length);
  CHECK(keeper.last_.correlation == 0);
  CHECK(keeper.last_.flags == EPHOR_EVENT_TIME_ARRIVAL);
  CHECK(testing::hex_of(keeper.last_.trace_id).empty());

  host.deliver(
      R"({"specversion":"1.0","id":"9","type":"t","source":"s","time":"1970-01-01 00:00:01"})",
      EPHOR_EVENT_LATE);
  CHECK(keeper.last_.flags == (EPHOR_EVENT_TIME_NAIVE | EPHOR_EVENT_LATE));
  CHECK(keeper.last_.time_ns == 1'000'000'000);
}

TEST_CASE("fake host: times are read and written", "[unit][fake_host]") {
  CHECK(testing::parse_rfc3339("1970-01-01T00:00:00Z")->time_ns == 0);
  CHECK(testing::parse_rfc3339("2000-02-29T12:00:00.5+02:00")->time_ns == 951'818'400'500'000'000);
  CHECK_FALSE(testing::parse_rfc3339("2001-02-29T12:00:00Z"));
  CHECK_FALSE(testing::parse_rfc3339("yesterday, at noon"));
  CHECK(testing::rfc3339(951'818'400'500'000'000) == "2000-02-29T10:00:00.500000000Z");
  CHECK(testing::rfc3339(0) == "1970-01-01T00:00:00Z");
  CHECK(testing::rfc3339(-1) == "1969-12-31T23:59:59.999999999Z");
}

TEST_CASE("fake host: patterns match tokens", "[unit][fake_host]") {
  const auto matches = testing::topic_matches;
  CHECK(matches(">", "a"));
  CHECK(matches("a.>", "a.b.c"));
  CHECK_FALSE(matches("a.>", "a"));
  CHECK(matches("a.*", "a.b"));
  CHECK_FALSE(matches("a.*", "a.b.c"));
  CHECK_FALSE(matches("a.*", "a"));
  CHECK(matches("*.b", "a.b"));
  CHECK_FALSE(matches("a.b", "a.bb"));
  CHECK_FALSE(matches("a.b.c", "a.b"));
}

TEST_CASE("fake host: delivers what is subscribed to, in slices", "[unit][fake_host]") {
  FakeHost host;
  auto& probe = host.load_plugin<Probe>();
  std::string lines;
  for (int i = 0; i < 600; ++i) lines += metric(i);
  lines += CloudEvent{.topic = "other.topic"}.line() + "\n\n";
  lines += CloudEvent{.topic = "deep.er.still"}.line();
  host.deliver(lines);
  CHECK(probe.slice_sizes_ == std::vector<std::size_t>{256, 256, 89});
  CHECK(probe.counts_ ==
        std::map<std::string, std::uint64_t>{{"deep.er.still", 1}, {"ephor.metric", 600}});
  CHECK(host.metric("probe_events_total", R"({"kind":"any"})") == 601.0);
  CHECK_FALSE(host.metric("probe_events_total"));
}

TEST_CASE("fake host: ticks and flushes are host events at their time", "[unit][fake_host]") {
  FakeHost host;
  auto& keeper = host.load_plugin<Keeper>();
  host.tick(5'000'000'000);
  CHECK(keeper.last_.time_ns == 5'000'000'000);
  CHECK(keeper.last_.flags == EPHOR_EVENT_HOST);
  CHECK(keeper.record_.find(R"("type":"ephor.tick")") != std::string::npos);
  host.flush(6'000'000'000);
  CHECK(keeper.record_.find(R"("type":"ephor.flush")") != std::string::npos);
}

TEST_CASE("fake host: fills defaults of the schema, nested ones too", "[unit][fake_host]") {
  FakeHost host;
  CHECK(host.load_plugin<Probe>().config_ == R"({"limit":7,"deep":{"on":true}})");
  FakeHost other;
  CHECK(other.load_plugin<Probe>(R"({"deep":{"x":1}, "limit": 2})").config_ ==
        R"({"deep":{"x":1,"on":true},"limit":2})");
}

TEST_CASE("fake host: keeps what was published, with its cause", "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Probe>();
  const std::string trace = "0102030405060708090a0b0c0d0e0f10";
  const auto cause = host.deliver(CloudEvent{.topic = "ephor.metric", .trace_id = trace}.line());
  const auto events = host.published("probe.*");
  REQUIRE(events.size() == 1);
  CHECK(events[0].topic == "probe.seen");
  CHECK(events[0].data_json == R"({"n":1})");
  CHECK(events[0].cause_sequence == cause);
  CHECK(events[0].trace_id == trace);
  CHECK(host.published("nothing").empty());

  host.fail_publish(EPHOR_FULL);
  CHECK_THROWS_AS(host.deliver(metric(1)), Error);
}

TEST_CASE("fake host: a failing handler throws into the test, or is counted", "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Probe>();
  const std::string bad = CloudEvent{.topic = "ephor.bad"}.line();
  try {
    host.deliver(bad);
    FAIL("it did not throw");
  } catch (const Error& error) {
    CHECK(error.code() == EPHOR_INVALID);
    CHECK(error.json_pointer() == "/data");
  }
  host.tolerate_failures();
  host.deliver(bad);
  CHECK(host.failures() == std::vector<std::string>{"bad event"});
  CHECK_THROWS_AS(host.deliver("{\"type\":"), Error);
}

TEST_CASE("fake host: routes carry path, query string and body", "[unit][fake_host]") {
  FakeHost host;
  auto& probe = host.load_plugin<Probe>();
  CHECK(host.request("GET", "/api/probe/a%2Fb?limit=5&x=a+b", R"({"k":1})") == "0");
  CHECK(probe.last_request_ == R"({"topic":"a/b","limit":"5","x":"a b","body":{"k":1}})");
  CHECK(host.request("GET", "/api/probe/all") == "\"all\"");
  CHECK_THROWS_AS(host.request("POST", "/api/probe/all"), Error);
  CHECK_THROWS_AS(host.ask("probe.none"), Error);
  CHECK(host.routes().size() == 2);
  CHECK(host.routes()[0].scope == "read");
}

TEST_CASE("fake host: registration ends with start", "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Probe>();
  ephor_error error{};
  error.struct_size = sizeof error;
  const ephor_view pattern = to_view(">");
  const ephor_subscription subscription{sizeof subscription, 0, &pattern, 1, 0, {}};
  const ephor_host* table = host.table();
  CHECK(table->subscribe(table->context, &subscription, &error) == EPHOR_STATE);
}

struct Subscriber final : Plugin {
  static inline std::uint32_t policy = 0;
  static inline std::string key;
  Subscriber(Host host, std::string_view) { host.subscribe({"ephor.metric"}, policy, key); }
};

TEST_CASE("fake host: policy and key of the subscription are seen and checked",
          "[unit][fake_host]") {
  const auto load = [](FakeHost& host, std::uint32_t policy, const char* key) {
    Subscriber::policy = policy;
    Subscriber::key = key;
    host.load_plugin<Subscriber>();
  };
  FakeHost host;
  load(host, EPHOR_POLICY_LATEST, "/name");
  CHECK(host.subscription_policy() == EPHOR_POLICY_LATEST);
  CHECK(host.subscription_key() == "/name");
  for (const auto& [policy, key] : {std::pair(EPHOR_POLICY_LATEST, "name"),
                                    {EPHOR_POLICY_REPLAY, "/name"},
                                    {EPHOR_POLICY_DROP_OLDEST, "topic"},
                                    {3, ""}}) {
    FakeHost other;
    CHECK_THROWS_AS(load(other, static_cast<std::uint32_t>(policy), key), Error);
  }
}

TEST_CASE("fake host: a checkpoint takes rows and state together", "[unit][fake_host]") {
  FakeHost host;
  auto& probe = host.load_plugin<Probe>();
  host.deliver(metric(1) + metric(2));
  CHECK(host.rows("seen").empty());
  host.save();
  REQUIRE(host.rows("seen").size() == 1);
  CHECK(host.rows("seen")[0].at("topic").bytes == "ephor.metric");
  CHECK(host.rows("seen")[0].at("count").integer == 2);

  host.deliver(metric(3));
  probe.is_save_broken_ = true;
  const std::string state = host.saved_state();
  CHECK_THROWS_AS(host.save(), Error);
  CHECK(host.rows("seen")[0].at("count").integer == 2);
  CHECK(host.saved_state() == state);
}

TEST_CASE("fake host: after a crash the events behind the checkpoint come again",
          "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Probe>();
  host.deliver(metric(1) + metric(2));
  host.save();
  host.deliver(metric(3));
  REQUIRE(host.crash());
  auto& probe = host.plugin<Probe>();
  CHECK(probe.counts_.at("ephor.metric") == 3);
  CHECK(probe.slice_sizes_ == std::vector<std::size_t>{1});
  CHECK(host.published().size() == 3);
  CHECK(host.republished_count() == 1);

  CHECK(host.restart());
  CHECK(host.plugin<Probe>().counts_.at("ephor.metric") == 3);
  CHECK(host.plugin<Probe>().slice_sizes_.empty());
}

TEST_CASE("fake host: an unreadable state is rebuilt from the log", "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Probe>();
  host.deliver(metric(1) + metric(2));
  host.set_saved_state(3, "\xFF\xFF garbage");
  CHECK_FALSE(host.crash());
  CHECK(host.plugin<Probe>().counts_.at("ephor.metric") == 2);
  host.set_saved_state(2, "");
  CHECK_FALSE(host.crash());
  CHECK(host.plugin<Probe>().counts_.at("ephor.metric") == 2);
}

TEST_CASE("fake host: derived events are fed back when asked for", "[unit][fake_host]") {
  FakeHost probe_host;
  auto& probe = probe_host.load_plugin<Probe>();
  probe_host.feed_back_published();
  probe_host.deliver(metric(1));
  CHECK(probe.counts_.size() == 1);  // probe.seen is not in its subscription
  std::uint64_t next = 1;
  const auto* journal = static_cast<const ephor_journal*>(
      probe_host.table()->get_extension(probe_host.table()->context, to_view("ephor.journal/1")));
  std::vector<ephor_event> events;
  REQUIRE(journal->read(
              journal->context, 0, to_view(">"), 10,
              [](void* user, const ephor_event* event) {
                static_cast<std::vector<ephor_event>*>(user)->push_back(*event);
              },
              &events, &next, nullptr) == EPHOR_OK);
  CHECK(next == 0);
  REQUIRE(events.size() == 2);
  CHECK(events[0].flags == 0);
  CHECK(events[1].flags == EPHOR_EVENT_DERIVED);
  const ephor_host* table = probe_host.table();
  CHECK(to_text(table->source_name(table->context, events[1].source)) == "ephor/test");
}

TEST_CASE("fake host: ingest counts and rejects by line", "[unit][fake_host]") {
  FakeHost host;
  auto& keeper = host.load_plugin<Keeper>();
  const auto* journal = static_cast<const ephor_journal*>(
      host.table()->get_extension(host.table()->context, to_view("ephor.journal/1")));
  const auto ingest = [&](std::string_view body, ephor_ingest_result& result,
                          std::vector<std::uint32_t>& lines) {
    char* data = nullptr;
    ephor_buffer* buffer = journal->acquire(journal->context, body.size(), &data);
    REQUIRE(buffer != nullptr);
    body.copy(data, body.size());
    return journal->ingest(
        journal->context, buffer, body.size(), EPHOR_FORMAT_AUTO, to_view("me"),
        [](void* user, const ephor_rejection* rejection) {
          static_cast<std::vector<std::uint32_t>*>(user)->push_back(rejection->line);
        },
        &lines, &result, nullptr);
  };
  ephor_ingest_result result{};
  result.struct_size = sizeof result;
  std::vector<std::uint32_t> lines;
  const std::string event = CloudEvent{.topic = "a.b", .id = "1"}.line();
  const std::string body = event + "\n7\n" + event + "\n{\"type\":\"trade_record\"}\n";
  REQUIRE(ingest(body, result, lines) == EPHOR_OK);
  CHECK(result.accepted == 2);
  CHECK(result.duplicate == 1);
  CHECK(result.rejected == 1);
  CHECK(lines == std::vector<std::uint32_t>{2});
  CHECK(host.ingested().size() == 1);
  CHECK(host.ingested()[0].default_source == "me");
  CHECK(keeper.record_.empty());
  host.pump();
  CHECK(keeper.record_ == event);

  host.fail_ingest(EPHOR_IO);
  CHECK(ingest(event, result, lines) == EPHOR_IO);
  host.set_body_limit(10);
  char* data = nullptr;
  CHECK(journal->acquire(journal->context, 11, &data) == nullptr);
}

namespace {
// Answers from another thread; asks another plugin.
class Later final : public Plugin {
 public:
  Later(Host host, std::string_view) : host_(std::move(host)) {
    const auto& query = host_.required<ephor_query>("ephor.query/1");
    query.provide(query.context, to_view("later.answer"), to_view(""), &answer, this, nullptr);
    host_.provide_query("later.other", "", [this](std::string_view) { return host_.ask("other"); });
  }
  ~Later() override {
    for (auto& thread : threads_) thread.join();
  }

 private:
  static ephor_status answer(void* user, ephor_view, ephor_reply* reply, ephor_error*) {
    static_cast<Later*>(user)->threads_.emplace_back([reply] {
      reply->write(reply->context, to_view("\"late\""));
      reply->finish(reply->context, EPHOR_OK, nullptr);
    });
    return EPHOR_PENDING;
  }
  Host host_;
  std::vector<std::thread> threads_;
};
}  // namespace

TEST_CASE("fake host: answers may come later, or from a stand-in", "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Later>();
  CHECK(host.ask("later.answer") == "\"late\"");
  CHECK_THROWS_AS(host.ask("later.other"), Error);
  host.answer_query("other", [](std::string_view request) { return std::string(request); });
  CHECK(host.ask("later.other") == "{}");
  host.stop();
  CHECK_THROWS_AS(host.ask("later.answer"), Error);
}

namespace {
class Talkative final : public Plugin {
 public:
  Talkative(Host host, std::string_view) : host_(std::move(host)) {
    host_.log(EPHOR_LOG_INFO, "hello");
    host_.report_health(EPHOR_HEALTH_DEGRADED, "still waking up");
    host_.provide_command("say", "", [](std::string_view arguments, ephor_writer& out) {
      out.write(out.context, to_view(arguments));
    });
    host_.provide_route({.method = "GET", .path = "/x", .query = "x", .summary = ""},
                        [](std::string_view) { return std::string("1"); });
  }
  Host host_;
};
}  // namespace

TEST_CASE("fake host: log, health and commands are kept", "[unit][fake_host]") {
  FakeHost host;
  host.withhold("ephor.http/1");
  host.load_plugin<Talkative>();
  REQUIRE(host.log_lines().size() == 1);
  CHECK(host.log_lines()[0].message == "hello");
  REQUIRE(host.health_reports().size() == 1);
  CHECK(host.health_reports()[0].state == EPHOR_HEALTH_DEGRADED);
  CHECK(host.run_command("say", R"(["a"])") == R"(["a"])");
  CHECK(host.routes().empty());
  CHECK(host.ask("x") == "1");
  CHECK_THROWS_AS(host.save(), Error);
}

namespace {
class Broken final : public Plugin {
 public:
  Broken(Host, std::string_view) { throw Error(EPHOR_INVALID, "no", "/limit"); }
};
}  // namespace

TEST_CASE("fake host: a constructor that throws leaves nothing behind", "[unit][fake_host]") {
  FakeHost host;
  CHECK_THROWS_AS(host.load_plugin<Broken>(), Error);
  CHECK_NOTHROW(host.load_plugin<Keeper>());
}

TEST_CASE("fake host: select is answered by the test", "[unit][fake_host]") {
  FakeHost host;
  host.load_plugin<Keeper>();
  const Host view(host.table(), "test");
  const auto nothing = [](std::span<const ephor_cell>) {};
  CHECK_THROWS_AS(view.select("SELECT 1", {}, nothing), Error);
  host.on_select([](std::string_view, std::span<const ephor_cell> parameters) {
    return std::vector<std::vector<testing::StoredCell>>{
        {testing::StoredCell::from(parameters[0])}};
  });
  std::string found;
  view.select("SELECT ?", {Cell::text("x")},
              [&](std::span<const ephor_cell> cells) { found = to_text(cells[0].bytes); });
  CHECK(found == "x");
}

TEST_CASE("fake host: JSON is read as RFC 8259 says", "[unit][fake_host]") {
  using testing::parse_json_value;
  CHECK(parse_json_value(R"("\ud83d\ude00\u20ac")").text == "\xF0\x9F\x98\x80\xE2\x82\xAC");
  CHECK(parse_json_value(" {\"a\" : [1, -2.5e+3, true, null]} ").find("a")->elements.size() == 4);
  for (const char* const bad : {"", "{", "[1,]", "{\"a\"}", "01", "1.", "\"\t\"", "\"\\x\"", "tru",
                                "1 2", "\"\\ud800\"", "-", "+1", "\"", "{\"a\":1,}"}) {
    INFO(bad);
    CHECK_THROWS_AS(parse_json_value(bad), Error);
  }
  CHECK_THROWS_AS(parse_json_value(std::string(100'000, '[')), Error);
  CHECK(testing::json_quoted("a\"\\\n\x01") == R"("a\"\\\u000a\u0001")");
}
