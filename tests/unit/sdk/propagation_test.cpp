// SPDX-License-Identifier: Apache-2.0
#include <ephor/propagation.hpp>

#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "event/hash.hpp"
#include "ingest/envelope.hpp"
#include "support/catch.hpp"

namespace propagation = ephor::propagation;
using propagation::Baggage;
using propagation::Context;
using propagation::HeaderList;
using propagation::Incoming;

namespace {

const std::string kParent = "00-12345678901234567890123456789012-1234567890123456-01";

HeaderList injected(const Context& context) {
  HeaderList list;
  propagation::inject(context,
                      [&](std::string_view name, std::string value) { list.add(name, value); });
  return list;
}
Incoming read(std::vector<std::pair<std::string, std::string>> headers) {
  HeaderList list;
  for (auto& header : headers) list.add(header.first, header.second);
  return propagation::extract(list);
}

}  // namespace

TEST_CASE("xxh3: the same as the library's for every length", "[unit][propagation]") {
  std::mt19937 random(3);
  std::string text;
  for (int size = 0; size <= 4200; ++size) {
    const ephor::host::Hash128 expected = ephor::host::hash128(text);
    const auto found = ephor::xxh3::hash128(text);
    INFO(size);
    REQUIRE(found.low == expected.low);
    REQUIRE(found.high == expected.high);
    text += static_cast<char>(random());
  }
}

TEST_CASE("trace ids: a foreign id names the trace that the host names", "[unit][propagation]") {
  for (const std::string id :
       {"corr-1", "a", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "trade_1743141600000",
        "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF", "\xC3\xA4\xC3\xB6",
        "0123456789abcdef0123456789abcdeg"}) {
    INFO(id);
    CHECK(propagation::trace_id_for(id).bytes == ephor::host::trace_id_of(id));
  }
  CHECK(propagation::trace_id_for(std::string(32, '0')).is_valid());
}

TEST_CASE("trace ids: are read from lower-case hex of the right length only",
          "[unit][propagation]") {
  using propagation::SpanId;
  CHECK(SpanId::parse("00000000000000ff")->bytes[7] == 0xFF);
  CHECK_FALSE(SpanId::parse("00000000000000FF"));
  CHECK_FALSE(SpanId::parse("0000000000000000"));
  CHECK_FALSE(SpanId::parse("00000000000000f"));
  CHECK_FALSE(SpanId::parse(""));
}

TEST_CASE("trace ids: never repeat, in no thread and in no forked child", "[unit][propagation]") {
  constexpr int kEach = 2000;
  std::set<std::string> seen;
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (auto& list : made) {
    threads.emplace_back([&list] {
      auto& ids = propagation::IdGenerator::this_thread();
      for (int i = 0; i < kEach; ++i) list.push_back(ids.trace_id().hex());
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& list : made) seen.insert(list.begin(), list.end());
  CHECK(seen.size() == made.size() * kEach);

  // The parent has used its generator, so that the child inherits its state.
  propagation::IdGenerator::this_thread().bits();
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto bits = propagation::IdGenerator::this_thread().bits();
    const bool is_written = write(pipe_ends[1], &bits, sizeof bits) == sizeof bits;
    _exit(is_written ? 0 : 1);
  }
  std::uint64_t theirs = 0;
  REQUIRE(::read(pipe_ends[0], &theirs, sizeof theirs) == sizeof theirs);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(theirs != propagation::IdGenerator::this_thread().bits());
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST_CASE("trace ids: every bit is as often set as not", "[unit][propagation]") {
  constexpr int kIds = 4000;
  std::map<std::size_t, int> ones;
  propagation::IdGenerator ids;
  for (int i = 0; i < kIds; ++i) {
    const auto id = ids.trace_id();
    for (std::size_t bit = 0; bit < 128; ++bit) ones[bit] += id.bytes[bit / 8] >> (bit % 8) & 1;
  }
  // 8 standard deviations (sqrt(4000)/2 = 31.6): by chance once in 10^13 runs.
  for (const auto& [bit, count] : ones) {
    INFO(bit);
    CHECK(std::abs(count - kIds / 2) < 253);
  }
}

TEST_CASE("extract: an invalid traceparent drops the tracestate", "[unit][w3c]") {
  CHECK(read({{"traceparent", kParent}, {"tracestate", "foo=1"}}).tracestate.header() == "foo=1");
  CHECK(read({{"tracestate", "foo=1"}}).tracestate.empty());
  CHECK(read({{"traceparent", kParent + "."}, {"tracestate", "foo=1"}}).tracestate.empty());
  CHECK(read({{"traceparent", kParent}, {"traceparent", kParent}, {"tracestate", "foo=1"}})
            .tracestate.empty());
}

TEST_CASE("extract: an invalid tracestate leaves the traceparent", "[unit][w3c]") {
  const Incoming found = read({{"traceparent", kParent}, {"tracestate", "foo"}});
  CHECK(found.traceparent);
  CHECK(found.tracestate.empty());
}

TEST_CASE("extract: header names are read in any case, and only whole", "[unit][w3c]") {
  for (const std::string name : {"traceparent", "TraceParent", "TrAcEpArEnT", "TRACEPARENT"}) {
    CHECK(read({{name, kParent}}).traceparent);
  }
  for (const std::string name : {"trace-parent", "trace.parent", "traceparent2", "xtraceparent"}) {
    CHECK_FALSE(read({{name, kParent}}).traceparent);
  }
  CHECK(read({{"Traceparent", kParent}, {"TRACESTATE", "foo=1"}}).tracestate.header() == "foo=1");
  CHECK(read({{"x-correlation-id", " corr-1 "}}).correlation_id == "corr-1");
}

TEST_CASE("continue: a valid caller keeps its trace and is the parent", "[unit][w3c]") {
  const Context mine =
      propagation::continue_from(read({{"traceparent", kParent}, {"tracestate", "foo=1"}}));
  CHECK(mine.trace_id.hex() == kParent.substr(3, 32));
  CHECK(mine.parent_span_id.hex() == kParent.substr(36, 16));
  CHECK(mine.span_id.is_valid());
  CHECK(mine.span_id != mine.parent_span_id);
  CHECK(mine.flags == propagation::kSampled);
  const HeaderList out = injected(propagation::child_of(mine));
  CHECK(out("tracestate") == std::vector<std::string>{"foo=1"});
  CHECK(out("traceparent").front().substr(0, 36) == kParent.substr(0, 36));
  CHECK(out("traceparent").front().substr(36, 16) != kParent.substr(36, 16));
}

TEST_CASE("continue: an unsampled caller stays unsampled", "[unit][w3c]") {
  const std::string unsampled = kParent.substr(0, 53) + "00";
  CHECK_FALSE(propagation::continue_from(read({{"traceparent", unsampled}})).is_sampled());
  CHECK_FALSE(propagation::begin({}, false).is_sampled());
}

TEST_CASE("continue: an invalid caller begins a new trace", "[unit][w3c]") {
  for (const std::string& bad : {kParent + ".", "ff" + kParent.substr(2), std::string()}) {
    const Context mine = propagation::continue_from(read({{"traceparent", bad}}));
    CHECK(mine.trace_id.is_valid());
    CHECK(mine.trace_id.hex() != kParent.substr(3, 32));
    CHECK_FALSE(mine.parent_span_id.is_valid());
  }
}

TEST_CASE("continue: a new trace has the random flag, one from a client's id has not",
          "[unit][w3c]") {
  CHECK(propagation::begin().flags == (propagation::kSampled | propagation::kRandomId));
  CHECK(propagation::begin("corr-1").flags == propagation::kSampled);
}

TEST_CASE("child: each call has a span id of its own below the same parent", "[unit][w3c]") {
  const Context parent = propagation::begin();
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    const Context child = propagation::child_of(parent);
    CHECK(child.parent_span_id == parent.span_id);
    CHECK(child.trace_id == parent.trace_id);
    ids.insert(child.span_id.hex());
  }
  CHECK(ids.size() == 100);
}

TEST_CASE("join: whichever id came, both are there", "[unit][propagation]") {
  const Context by_trace = propagation::continue_from(read({{"traceparent", kParent}}));
  CHECK(by_trace.correlation_id == kParent.substr(3, 32));
  const Context by_correlation = propagation::continue_from(read({{"X-Correlation-ID", "corr-1"}}));
  CHECK(by_correlation.correlation_id == "corr-1");
  CHECK(by_correlation.trace_id.bytes == ephor::host::trace_id_of("corr-1"));
  const Context both =
      propagation::continue_from(read({{"traceparent", kParent}, {"X-Correlation-ID", "corr-1"}}));
  CHECK(both.correlation_id == "corr-1");
  CHECK(both.trace_id.hex() == kParent.substr(3, 32));
  const Context none = propagation::begin();
  CHECK(none.correlation_id == none.trace_id.hex());
}

TEST_CASE("join: a client that passes on one id only does not break the chain",
          "[unit][propagation]") {
  // A -> B knows correlation ids only -> C; and A -> B knows W3C only -> C.
  for (const std::string& id : {std::string(), std::string("corr-1")}) {
    const Context a = propagation::begin(id);
    const HeaderList sent = injected(a);
    HeaderList correlation_only, trace_only;
    correlation_only.add("X-Correlation-ID", sent("X-Correlation-ID").front());
    trace_only.add("traceparent", sent("traceparent").front());
    CHECK(propagation::continue_from(propagation::extract(correlation_only)).trace_id ==
          a.trace_id);
    CHECK(propagation::continue_from(propagation::extract(trace_only)).trace_id == a.trace_id);
  }
}

TEST_CASE("correlation id: one that no header can carry travels in the baggage",
          "[unit][propagation]") {
  for (const std::string id : {"auftrag \xC3\xA4\xC3\xB6 7", "a b", "x,y;z=\"1\"%"}) {
    Context context = propagation::begin(id);
    const HeaderList sent = injected(context);
    const bool has_header = !sent("X-Correlation-ID").empty();
    CHECK(has_header == propagation::is_correlation_header(id));
    CHECK(propagation::extract(sent).correlation_id == id);
  }
  CHECK(read({{"X-Correlation-ID", "a b"}}).correlation_id.empty());
  CHECK(read({{"X-Correlation-ID", std::string(257, 'x')}}).correlation_id.empty());
  CHECK(read({{"X-Correlation-ID", std::string(256, 'x')}}).correlation_id.size() == 256);
  CHECK(read({{"X-Correlation-ID", ""}, {"X-Correlation-ID", "second"}}).correlation_id ==
        "second");
}

TEST_CASE("correlation id: the header's name is configurable", "[unit][propagation]") {
  HeaderList list;
  list.add("X-Request-ID", "r-1");
  CHECK(propagation::extract(list, "x-request-id").correlation_id == "r-1");
  CHECK(propagation::extract(list).correlation_id.empty());
}

TEST_CASE("baggage: members, properties and blanks", "[unit][propagation]") {
  const Baggage found =
      Baggage::parse({"key1 = value1;property1;property2=2 , key2=value%202", "key3=%C3%A4"});
  REQUIRE(found.entries().size() == 3);
  CHECK(found.entries()[0] == Baggage::Entry{"key1", "value1", "property1;property2=2"});
  CHECK(*found.get("key2") == "value 2");
  CHECK(*found.get("key3") == "\xC3\xA4");
  CHECK(found.header() == "key1=value1;property1;property2=2,key2=value%202,key3=%C3%A4");
}

TEST_CASE("baggage: a bad member is left out alone", "[unit][propagation]") {
  CHECK(Baggage::parse({"a=1,b,=2,c d=3,e=\x01,f=\"x\",g=4;p\x7f,h=5"}).header() == "a=1,h=5");
  CHECK(Baggage::parse({"a=1", "a=2"}).header() == "a=2");
}

TEST_CASE("baggage: encoded bytes that are no UTF-8 become the replacement character",
          "[unit][propagation]") {
  CHECK(*Baggage::parse({"a=%FF"}).get("a") == "\xEF\xBF\xBD");
  CHECK(*Baggage::parse({"a=%ED%A0%80"}).get("a") ==
        "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");                                // a surrogate
  CHECK(*Baggage::parse({"a=%C0%AF"}).get("a") == "\xEF\xBF\xBD\xEF\xBF\xBD");  // overlong
  CHECK(*Baggage::parse({"a=%zz%4"}).get("a") == "%zz%4");
}

TEST_CASE("baggage: is bounded in members and bytes", "[unit][propagation]") {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "k" + std::to_string(i) + "=v,";
  CHECK(Baggage::parse({many}).entries().size() == 64);
  const Baggage large =
      Baggage::parse({"a=" + std::string(5000, 'x'), "b=" + std::string(5000, 'x'), "c=1"});
  CHECK(large.entries().size() == 2);  // b does not fit, c does
  CHECK(large.header().size() <= 8192);
  Baggage grown;
  int taken = 0;
  for (int i = 0; i < 200; ++i) taken += grown.set("k" + std::to_string(i), std::string(300, ' '));
  CHECK(taken == static_cast<int>(grown.entries().size()));
  CHECK(grown.header().size() <= 8192);
  CHECK(grown.set("k0", "small"));
  grown.erase("k1");
  CHECK(grown.set("new", std::string(300, ' ')));
}

TEST_CASE("propagation: reading what was injected gives the same back", "[unit][propagation]") {
  std::mt19937 random(11);
  const auto text = [&](std::size_t size_max, bool is_wide) {
    std::string out;
    for (std::size_t i = random() % (size_max + 1); i > 0; --i) {
      if (is_wide && random() % 4 == 0) {
        out += (random() % 2 != 0) ? "\xC3\xA9" : "\xF0\x9F\x93\x88";
      } else {
        out += static_cast<char>(is_wide ? random() % 128 : 'a' + random() % 26);
      }
    }
    return out;
  };
  for (int round = 0; round < 3000; ++round) {
    Context context =
        propagation::begin(random() % 2 != 0 ? text(20, true) : text(20, false), random() % 2 != 0);
    for (auto i = random() % 40; i > 0; --i) context.tracestate.set(text(9, false), text(9, true));
    for (auto i = random() % 70; i > 0; --i) context.baggage.set(text(9, false), text(9, true));
    const HeaderList sent = injected(context);
    for (const auto& header : sent.all()) {
      for (const char c : header.second) REQUIRE((c >= ' ' && c <= '~'));
    }
    const Incoming found = propagation::extract(sent);
    REQUIRE(found.traceparent == context.traceparent());
    REQUIRE(found.tracestate == context.tracestate);
    const std::string* carried = found.baggage.get(propagation::kCorrelationBaggage);
    if (carried == nullptr) REQUIRE(found.baggage == context.baggage);
    // Without room in the baggage an id that fits no header is lost, the trace is not.
    if (propagation::is_correlation_header(context.correlation_id) || carried != nullptr) {
      REQUIRE(found.correlation_id == context.correlation_id);
    }
    REQUIRE(propagation::continue_from(found).trace_id == context.trace_id);
  }
}
