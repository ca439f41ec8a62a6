// SPDX-License-Identifier: Apache-2.0
//
// The search language against a plain evaluation of the same question, and that a search misses
// nothing, wherever a summary lies: in memory, in rows, or nowhere.
#include "trace_search.hpp"

#include <algorithm>
#include <ephor/json.hpp>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "trace_store.hpp"

using namespace ephor::tracer;
using ephor::Json;

namespace {

TraceId trace_number(std::uint64_t number) {
  std::mt19937_64 random(number + 1);
  TraceId id{};
  for (std::uint8_t& byte : id) byte = static_cast<std::uint8_t>(random());
  return id;
}

// A trace as it was made up; the store is asked for the same.
struct Planted {
  std::string service;
  std::string component;
  std::string operation;
  std::string decision;
  std::string symbol;
  std::string colour;  // an attribute that is in no summary
  std::int64_t start_ns = 0;
  std::int64_t duration_ns = 0;
  bool is_error = false;
};

std::vector<Planted> plant(std::size_t count) {
  std::mt19937_64 random(5);
  std::vector<Planted> out;
  for (std::size_t i = 0; i < count; ++i) {
    Planted trace;
    trace.service = "s" + std::to_string(random() % 4);
    trace.component = "c" + std::to_string(random() % 5);
    trace.operation = "o" + std::to_string(random() % 7);
    trace.decision = "decision:" + std::to_string(i);
    trace.symbol = random() % 3 == 0 ? "BTCUSDT" : "ETHUSDT";
    trace.colour = random() % 50 == 0 ? "red" : "blue";
    trace.start_ns = 1'700'000'000'000'000'000 + static_cast<std::int64_t>(i) * 1'000'000'000;
    trace.duration_ns = static_cast<std::int64_t>(random() % 2'000'000'000);
    trace.is_error = random() % 20 == 0;
    out.push_back(std::move(trace));
  }
  return out;
}

// A store whose rows live in a map, and the journal that the spans would be in.
struct World {
  explicit World(const std::vector<Planted>& planted, std::size_t memory_max = 1'000'000,
                 std::size_t history_max = 1'000'000)
      : traces(planted),
        store({history_max, 1'000'000, memory_max, 0}, [this](std::uint64_t chunk) {
          ++rows_read;
          const auto found = rows.find(chunk);
          return found == rows.end() ? std::optional<std::string>() : found->second;
        }) {
    source.monotonic_ns = [this] { return now_ns += tick_ns; };
    source.events_of = [this](const std::string& id) { return events_of(id); };
    for (std::size_t i = 0; i < planted.size(); ++i) {
      add(i);
      if (i % 700 == 0) save();
    }
  }

  void add(std::size_t i) {
    const Planted& trace = traces[i];
    SpanFacts span;
    span.trace_id = trace_number(i);
    span.service = trace.service;
    span.component = trace.component;
    span.operation = trace.operation;
    span.ids = {{IdKind::decision, trace.decision}, {IdKind::symbol, trace.symbol}};
    span.start_ns = trace.start_ns;
    span.end_ns = trace.start_ns + trace.duration_ns;
    span.is_root = true;
    span.is_error = trace.is_error;
    store.add(span, true);
  }
  void save() {
    store.save_rows([&](const TraceChunk& chunk) { rows[chunk.number()] = chunk.encode(); },
                    [&](std::uint64_t chunk) { rows.erase(chunk); });
  }

  StoryEvent event_of(std::size_t i) const {
    const Planted& trace = traces[i];
    StoryEvent event;
    event.sequence = i + 1;
    event.topic = "ephor.span";
    event.event = {{"id", std::to_string(i)},
                   {"source", trace.service},
                   {"data",
                    {{"trace_id", hex_of(trace_number(i))},
                     {"span_id", std::to_string(i)},
                     {"component", trace.component},
                     {"operation", trace.operation},
                     {"start_time_unix_nano", trace.start_ns},
                     {"end_time_unix_nano", trace.start_ns + trace.duration_ns},
                     {"status", trace.is_error ? "error" : "ok"},
                     {"attributes",
                      {{"decision.id", trace.decision},
                       {"symbol", trace.symbol},
                       {"colour", trace.colour}}}}}};
    return event;
  }
  std::vector<StoryEvent> events_of(const std::string& id) {
    ++journal_reads;
    std::vector<StoryEvent> out;
    if (is_journal_gone) return out;
    if (by_id.empty()) {
      for (std::size_t i = 0; i < traces.size(); ++i) {
        by_id[hex_of(trace_number(i))] = i;
        by_id[traces[i].decision] = i;
      }
    }
    const auto found = by_id.find(id);
    if (found != by_id.end()) out.push_back(event_of(found->second));
    return out;
  }

  Json search(const Json& request) {
    return TraceSearch(store, source).answer(SearchRequest::of(request));
  }
  // Every page of it.
  std::vector<std::string> all(Json request) {
    std::vector<std::string> ids;
    request["limit"] = 50;
    request["deadline_ms"] = 10'000;
    for (;;) {
      const Json answer = search(request);
      REQUIRE(answer["over"]["complete"] == true);
      for (const Json& trace : answer["traces"]) ids.push_back(trace["trace_id"]);
      if (answer["next_cursor"].is_null()) return ids;
      request["cursor"] = answer["next_cursor"];
    }
  }

  std::vector<Planted> traces;
  std::map<std::uint64_t, std::string> rows;
  TraceStore store;
  TraceSource source;
  std::map<std::string, std::size_t> by_id;
  std::int64_t now_ns = 0;
  std::int64_t tick_ns = 0;
  int rows_read = 0;
  int journal_reads = 0;
  bool is_journal_gone = false;
};

// Newest first, as a search gives them.
template <typename Wanted>
std::vector<std::string> expected(const std::vector<Planted>& traces, Wanted&& wanted,
                                  std::size_t from = 0) {
  std::vector<std::string> ids;
  for (std::size_t i = traces.size(); i-- > from;) {
    if (wanted(traces[i])) ids.push_back(hex_of(trace_number(i)));
  }
  return ids;
}

std::string fault_of(const std::string& text) {
  try {
    SearchExpression::parse(text);
    return "";
  } catch (const ephor::Error& failure) {
    REQUIRE(failure.code() == EPHOR_INVALID);
    REQUIRE(failure.json_pointer() == "/q");
    return failure.what();
  }
}

}  // namespace

TEST_CASE("search: expressions say what a plain evaluation says", "[unit][tracing]") {
  const std::vector<Planted> traces = plant(3000);
  World world(traces);
  const auto check = [&](const std::string& q, auto&& wanted) {
    INFO(q);
    const auto ids = world.all({{"q", q}});
    REQUIRE(ids == expected(traces, wanted));
    return ids.size();
  };
  using P = const Planted&;
  REQUIRE(check("error", [](P t) { return t.is_error; }) > 50);
  REQUIRE(check("service=s1", [](P t) { return t.service == "s1"; }) > 300);
  check("service=nowhere", [](P) { return false; });
  REQUIRE(check("service=s1 and duration>1s and error", [](P t) {
            return t.service == "s1" && t.duration_ns > 1'000'000'000 && t.is_error;
          }) > 0);
  check("duration<=1500ms not (component=c1 or operation=o2)", [](P t) {
    return t.duration_ns <= 1'500'000'000 && t.component != "c1" && t.operation != "o2";
  });
  check("symbol = BTCUSDT and status=ok or error and component != \"c3\"", [](P t) {
    return (t.symbol == "BTCUSDT" && !t.is_error) || (t.is_error && t.component != "c3");
  });
  check("root_operation=o3 root_service!=s2",
        [](P t) { return t.operation == "o3" && t.service != "s2"; });
  check("spans>=2", [](P) { return false; });
  check("", [](P) { return true; });
  // Attributes stand in no summary.
  REQUIRE(check("colour=red and error", [](P t) { return t.colour == "red" && t.is_error; }) > 0);
  check("not colour=blue", [](P t) { return t.colour != "blue"; });
  check("attr.colour=red duration<100ms",
        [](P t) { return t.colour == "red" && t.duration_ns < 100'000'000; });
}

TEST_CASE("search: typed filters mean the same as their terms", "[unit][tracing]") {
  const std::vector<Planted> traces = plant(2000);
  World world(traces);
  using P = const Planted&;
  REQUIRE(world.all({{"status", "error"}}) == expected(traces, [](P t) { return t.is_error; }));
  REQUIRE(world.all({{"service", "s2"}, {"min_duration", "1.2s"}, {"max_duration", "1900ms"}}) ==
          expected(traces, [](P t) {
            return t.service == "s2" && t.duration_ns >= 1'200'000'000 &&
                   t.duration_ns <= 1'900'000'000;
          }));
  REQUIRE(world.all({{"from", "2023-11-14T22:13:30Z"}, {"to", "2023-11-14T22:14:20Z"}}) ==
          expected(traces, [](P t) {
            return t.start_ns >= 1'700'000'010'000'000'000 &&
                   t.start_ns < 1'700'000'060'000'000'000;
          }));
  REQUIRE(world.all({{"attribute", "colour=red"}, {"component", "c1"}}) ==
          expected(traces, [](P t) { return t.colour == "red" && t.component == "c1"; }));
  REQUIRE(world.all({{"decision_id", "decision:77"}}) ==
          std::vector<std::string>{hex_of(trace_number(77))});
  REQUIRE(world.all({{"decision_id", "decision:77"}, {"q", "not error or error"}}).size() == 1);
  REQUIRE(world.all({{"decision_id", "decision:77"}, {"service", "elsewhere"}}).empty());
  REQUIRE(world.all({{"trace_id", hex_of(trace_number(5))}}) ==
          std::vector<std::string>{hex_of(trace_number(5))});
}

TEST_CASE("search: a wrong expression is told where and what", "[unit][tracing]") {
  REQUIRE(fault_of("service=").find("character 9: found the end, expected a value") !=
          std::string::npos);
  REQUIRE(fault_of("service").find("expected an operator") != std::string::npos);
  REQUIRE(fault_of("duration>fast").find("\"fast\", expected a duration") != std::string::npos);
  REQUIRE(fault_of("service>a").find("expected = or !=") != std::string::npos);
  REQUIRE(fault_of("(error").find("expected ')'") != std::string::npos);
  REQUIRE(fault_of("error )").find("\")\"") != std::string::npos);
  REQUIRE(fault_of("error and").find("the end") != std::string::npos);
  REQUIRE(fault_of("colour=\"red").find("closing quote") != std::string::npos);
  REQUIRE(fault_of("trace_id=12").find("32 hex digits") != std::string::npos);
  REQUIRE(fault_of("spans>x").find("expected a number") != std::string::npos);
  REQUIRE(fault_of(std::string(5000, '(')).find("fewer brackets") != std::string::npos);
  std::string nots;
  for (int i = 0; i < 5000; ++i) nots += "not ";
  REQUIRE_FALSE(fault_of(nots + "error").empty());
  REQUIRE(fault_of("service=\"a \\\" b\" and attr.service=x").empty());
}

TEST_CASE("search: bytes from outside never break the parser", "[unit][tracing]") {
  std::mt19937_64 random(9);
  const std::string alphabet = "()=!<>\"\\ andornoteerrorservice.duration12ms\t";
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::size_t n = random() % 40; n > 0; --n) text += alphabet[random() % alphabet.size()];
    try {
      SearchExpression::parse(text);
    } catch (const ephor::Error& failure) {
      REQUIRE(failure.code() == EPHOR_INVALID);
    }
  }
}

TEST_CASE("search: is complete across memory and rows", "[unit][tracing]") {
  const std::vector<Planted> traces = plant(5000);
  World small(traces, 512);
  small.save();
  small.save();
  small.rows_read = 0;
  using P = const Planted&;
  REQUIRE(small.store.size_in_memory() <= 1024);
  REQUIRE(small.all({{"q", "error and service=s3"}}) ==
          expected(traces, [](P t) { return t.is_error && t.service == "s3"; }));
  REQUIRE(small.rows_read > 10);
  REQUIRE(small.all({{"q", "colour=red"}}) ==
          expected(traces, [](P t) { return t.colour == "red"; }));
  // A late span of a trace whose chunk has left memory goes on from its row.
  small.traces[40].is_error = true;
  small.add(40);
  const TraceStore::Found late = small.store.find(trace_number(40));
  REQUIRE(late);
  REQUIRE(late->span_count == 2);
  REQUIRE(late->error_count == 1 + (traces[40].is_error ? 1 : 0));

  // The history bounds what is found, to one trace.
  World shorter(traces, 512, 1234);
  shorter.save();
  REQUIRE(shorter.store.size() == 1234);
  REQUIRE(shorter.all({{"q", "error"}}) ==
          expected(
              traces, [](P t) { return t.is_error; }, 5000 - 1234));
  REQUIRE(shorter.rows.size() <= 1234 / 256 + 2);
}

TEST_CASE("search: ids are found without a summary, and without the journal", "[unit][tracing]") {
  const std::vector<Planted> traces = plant(1000);
  World world(traces, 1'000'000, 100);
  const Json evicted = world.search({{"decision_id", "decision:3"}});
  REQUIRE(evicted["traces"].size() == 1);
  REQUIRE(evicted["traces"][0]["trace_id"] == hex_of(trace_number(3)));
  REQUIRE(evicted["traces"][0]["root_operation"] == traces[3].operation);
  world.is_journal_gone = true;
  REQUIRE(world.search({{"decision_id", "decision:3"}})["traces"].empty());
  const Json kept = world.search({{"decision_id", "decision:950"}});
  REQUIRE(kept["traces"].size() == 1);
  REQUIRE(kept["traces"][0]["decision_id"] == "decision:950");
  REQUIRE(world.search({{"attribute", "decision.id=decision:950"}})["traces"] == kept["traces"]);
}

TEST_CASE("search: a deadline is told, and how far back it looked", "[unit][tracing]") {
  const std::vector<Planted> traces = plant(1000);
  World world(traces);
  world.tick_ns = 1'000'000;  // every look at the clock is a millisecond
  const Json answer = world.search({{"q", "colour=green"}, {"deadline_ms", "100"}});
  REQUIRE(answer["over"]["complete"] == false);
  REQUIRE(answer["over"]["traces_read"].get<int>() > 50);
  REQUIRE(answer["over"]["traces_read"].get<int>() < 110);
  REQUIRE(answer["over"]["searched_back_to"].is_string());
  world.tick_ns = 0;
  const Json whole = world.search({{"q", "colour=green"}});
  REQUIRE(whole["over"]["complete"] == true);
  REQUIRE(whole["over"]["searched_back_to"].is_null());
  REQUIRE(whole["over"]["traces_read"] == 1000);
}

TEST_CASE("trace rows: a chunk comes back as it was, and damage is refused", "[unit][tracing]") {
  const std::vector<Planted> traces = plant(256);
  World world(traces);
  world.store.decide(17, Verdict::kept, Reason::slow);
  world.store.decide(18, Verdict::dropped, Reason::none);
  world.save();
  const std::string body = world.rows.at(0);
  const TraceChunk chunk = TraceChunk::decode(0, body);
  REQUIRE(chunk.encode() == body);
  for (std::uint64_t i = 0; i < 256; ++i) {
    const TraceSummary* summary = chunk.find(i);
    REQUIRE(summary != nullptr);
    REQUIRE(summary->id == trace_number(i));
    REQUIRE(summary->start_ns == traces[i].start_ns);
    REQUIRE(summary->duration_ns() == traces[i].duration_ns);
    REQUIRE(summary->error_count == (traces[i].is_error ? 1 : 0));
    REQUIRE(summary->has_id(IdKind::decision, traces[i].decision));
    REQUIRE(summary->id_of(IdKind::symbol) == traces[i].symbol);
    REQUIRE(chunk.operations()[summary->root].operation == traces[i].operation);
    REQUIRE(chunk.may_have_id(traces[i].decision));
  }
  REQUIRE(chunk.find(17)->verdict == Verdict::kept);
  REQUIRE(chunk.find(17)->reason == Reason::slow);
  REQUIRE(chunk.find(18)->verdict == Verdict::dropped);
  REQUIRE_FALSE(chunk.may_have_id("decision:256"));
  std::mt19937_64 random(3);
  for (int i = 0; i < 500; ++i) {
    std::string damaged = body;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 + random() % 255);
    if (i % 3 == 0) damaged.resize(random() % damaged.size());
    REQUIRE_THROWS_AS(TraceChunk::decode(0, damaged), ephor::Error);
  }
}

TEST_CASE("trace store: retention by age lets whole chunks go", "[unit][tracing]") {
  std::vector<Planted> traces = plant(2000);
  TraceStore store({1'000'000, 1'000'000, 1'000'000, 600'000'000'000});
  std::set<std::uint64_t> erased;
  for (std::size_t i = 0; i < traces.size(); ++i) {
    SpanFacts span;
    span.trace_id = trace_number(i);
    span.start_ns = span.end_ns = traces[i].start_ns;
    store.add(span, true);
  }
  store.save_rows([](const TraceChunk&) {}, [&](std::uint64_t chunk) { erased.insert(chunk); });
  // One trace a second: the last 600 s are kept, and at most one chunk more.
  REQUIRE(store.size() >= 600);
  REQUIRE(store.size() <= 600 + 256);
  REQUIRE(store.size() + store.evicted_count() == 2000);
  REQUIRE(erased.size() * 256 == store.evicted_count());
  REQUIRE_FALSE(store.find(trace_number(0)));
  REQUIRE(store.find(trace_number(1999)));
}
