// SPDX-License-Identifier: Apache-2.0
#include "core/conflater.hpp"

#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "event/error.hpp"
#include "support/catch.hpp"

using namespace ephor::host;

namespace {

// Events with a record of their own each, which a test may destroy after take().
class Events {
 public:
  ephor_event& add(const std::string& data, std::uint16_t topic = 1) {
    const std::string text = R"({"specversion":"1.0","id":"i","data":)" + data + "}";
    Buffer& record = records_.emplace_back(text.size());
    std::memcpy(record.data(), text.data(), text.size());
    std::memset(record.data() + text.size(), 0, kRecordSlackBytes);
    ephor_event event{};
    event.sequence = events_.size() + 1;
    event.topic = topic;
    event.record = record.data();
    event.record_length = static_cast<std::uint32_t>(text.size());
    event.data_offset = static_cast<std::uint32_t>(text.find("\"data\":") + 7);
    event.encoding = EPHOR_ENCODING_JSON;
    return events_.emplace_back(event);
  }
  const std::deque<ephor_event>& all() const { return events_; }
  void forget_records() {
    for (Buffer& record : records_) std::memset(record.data(), 'x', record.capacity());
  }

 private:
  std::deque<Buffer> records_;
  std::deque<ephor_event> events_;
};

bool is_same_key(EventKey& key, const ephor_event& a, const ephor_event& b) {
  return key.of(a) == key.of(b);
}

std::vector<std::uint64_t> sequences_of(Conflater& conflater) {
  std::vector<std::uint64_t> out;
  conflater.seal();
  while (conflater.is_delivering()) {
    const auto slice = conflater.next();
    CHECK(slice.size() <= 256);
    CHECK(conflater.published_ns().size() == slice.size());
    for (const ephor_event& event : slice) out.push_back(event.sequence);
  }
  conflater.clear();
  return out;
}

}  // namespace

TEST_CASE("conflater: a key that no event could have is refused with its name", "[unit][bus]") {
  for (const char* bad : {"name", "topics", "/a~2", "/a~", " "}) {
    try {
      EventKey key(bad);
      FAIL(bad << " was taken");
    } catch (const HostError& refused) {
      CHECK(refused.status() == EPHOR_INVALID);
      CHECK(std::string(refused.what()).find("\"" + std::string(bad) + "\"") != std::string::npos);
    }
  }
  for (const char* good : {"", "topic", "source", "correlation", "/name", "/a/b/0", "/a~1b~0"}) {
    CHECK_NOTHROW(EventKey(good));
  }
}

TEST_CASE("conflater: keys by topic, source and correlation", "[unit][bus]") {
  Events events;
  ephor_event& first = events.add("1", 1);
  ephor_event& second = events.add("2", 2);
  EventKey topic("");
  CHECK_FALSE(is_same_key(topic, first, second));
  second.topic = 1;
  CHECK(is_same_key(topic, first, second));

  EventKey source("source");
  first.source = 7;
  second.source = 8;
  CHECK_FALSE(is_same_key(source, first, second));
  second.source = 7;
  second.topic = 2;
  CHECK(is_same_key(source, first, second));

  EventKey correlation("correlation");
  CHECK_FALSE(is_same_key(correlation, first, second));  // without one: by topic
  first.correlation = second.correlation = 99;
  CHECK(is_same_key(correlation, first, second));
}

TEST_CASE("conflater: a pointer's key is the text or number it finds", "[unit][bus]") {
  Events events;
  EventKey key("/name");
  const auto same = [&](const std::string& a, const std::string& b) {
    return is_same_key(key, events.add(a, 1), events.add(b, 2));
  };
  CHECK(same(R"({"name":"a","x":1})", R"({"x":2,"name":"a"})"));
  CHECK_FALSE(same(R"({"name":"a"})", R"({"name":"b"})"));
  CHECK(same(R"({"name":12.5})", R"({"name": 12.5 , "y":0})"));
  CHECK_FALSE(same(R"({"name":1})", R"({"name":"1"})"));
  CHECK_FALSE(same(R"({"name":1})", R"({"name":1.0})"));
  // No text or number there: by topic, which differs.
  for (const char* without : {"{}", "[1]", "3", "null", R"({"name":null})", R"({"name":{"a":1}})",
                              R"({"name":[1]})", R"({"name":true})"}) {
    CHECK_FALSE(same(without, without));
    CHECK(is_same_key(key, events.add(without, 5), events.add("{}", 5)));
  }
  EventKey deep("/a~1b/1/c");
  CHECK(is_same_key(deep, events.add(R"({"a/b":[0,{"c":"k"}]})", 1),
                    events.add(R"({"a/b":[9,{"c":"k"}]})", 2)));
}

TEST_CASE("conflater: what fits into one slice stays as it is", "[unit][bus]") {
  Conflater conflater(EventKey(""));
  Events events;
  for (int i = 0; i < 256; ++i) conflater.take(&events.add("1"), 1, 0);
  const auto found = sequences_of(conflater);
  CHECK(found.size() == 256);
  CHECK(conflater.superseded() == 0);
}

TEST_CASE("conflater: the newest of each key in log order, whatever the slices, counted exactly",
          "[unit][bus]") {
  std::mt19937 random(5);
  for (int round = 0; round < 40; ++round) {
    Conflater conflater(EventKey("/k"));
    std::uint64_t superseded_before = 0;
    for (int use = 0; use < 2; ++use) {  // a conflater is used again
      Events events;
      const int count = 1 + static_cast<int>(random() % 3000);
      const int key_count = 1 + static_cast<int>(random() % 700);
      std::map<int, std::uint64_t> newest;
      std::map<std::uint64_t, std::string> record_of;
      std::vector<ephor_event> all;
      for (int i = 0; i < count; ++i) {
        const int k = static_cast<int>(random() % static_cast<unsigned>(key_count));
        const ephor_event& event = events.add("{\"k\":" + std::to_string(k) + ",\"pad\":\"" +
                                              std::string(random() % 200, 'p') + "\"}");
        all.push_back(event);
        newest[k] = event.sequence;
        record_of[event.sequence] = std::string(event.record, event.record_length);
      }
      for (std::size_t at = 0; at < all.size();) {
        const std::size_t size = std::min<std::size_t>(1 + random() % 256, all.size() - at);
        conflater.take(all.data() + at, static_cast<std::uint32_t>(size), 0);
        at += size;
      }
      events.forget_records();
      std::vector<std::uint64_t> expected;
      if (count <= 256) {
        for (const ephor_event& event : all) expected.push_back(event.sequence);
      } else {
        for (const auto& [k, sequence] : newest) expected.push_back(sequence);
        std::sort(expected.begin(), expected.end());
      }
      std::vector<std::uint64_t> found;
      conflater.seal();
      while (conflater.is_delivering()) {
        for (const ephor_event& event : conflater.next()) {
          found.push_back(event.sequence);
          CHECK(std::string(event.record, event.record_length) == record_of[event.sequence]);
        }
      }
      conflater.clear();
      CHECK(found == expected);
      CHECK(conflater.superseded() - superseded_before + found.size() == all.size());
      superseded_before = conflater.superseded();
    }
  }
}

TEST_CASE("conflater: too many keys or bytes end a part, and nothing of it is lost",
          "[unit][bus]") {
  Conflater many(EventKey("/k"));
  std::uint64_t taken = 0;
  while (!many.is_full()) {
    Events events;
    many.take(&events.add("{\"k\":" + std::to_string(taken++) + "}"), 1, 0);
    REQUIRE(taken <= Conflater::kKeysMax);
  }
  CHECK(taken == Conflater::kKeysMax);
  CHECK(sequences_of(many).size() == taken);

  Conflater large(EventKey("/k"));
  const std::string padding(1 << 20, 'p');
  taken = 0;
  while (!large.is_full()) {
    Events events;
    large.take(&events.add("{\"k\":" + std::to_string(taken++) + ",\"pad\":\"" + padding + "\"}"),
               1, 0);
    REQUIRE(taken < 1000);
  }
  CHECK(taken <= Conflater::kBytesMax / padding.size());
  CHECK(sequences_of(large).size() == taken);
  CHECK(large.superseded() == 0);
}
