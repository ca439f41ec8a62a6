// SPDX-License-Identifier: Apache-2.0
//
// Slow readers under random schedules: what is delivered, lost and left out adds up to what was
// published. What a reader must have got is worked out from the ring's bounds and the events alone.
#include <algorithm>
#include <random>
#include <vector>

#include "bus_support.hpp"
#include "event/times.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using ephor::testing::make_batch;
using State = Reader::State;

namespace {

struct Published {
  std::vector<std::vector<ephor_event>> batches;  // records are gone
  std::uint64_t events = 0;
};

BatchPointer random_batch(std::mt19937& random, Published& published, std::uint16_t topic_a,
                          std::uint16_t topic_b) {
  const auto count = static_cast<std::uint32_t>(1 + random() % (random() % 5 == 0 ? 900 : 20));
  BatchPointer batch =
      make_batch(published.batches.size() + 1, count, static_cast<std::int64_t>(published.events));
  for (ephor_event& event : batch->events) event.topic = random() % 3 == 0 ? topic_a : topic_b;
  published.batches.push_back(batch->events);
  published.events += count;
  return batch;
}

}  // namespace

TEST_CASE("bus loss: drop_oldest counts what it skips, of whatever topic, and no other event",
          "[unit][bus]") {
  Interner names(10);
  const auto wanted = static_cast<std::uint16_t>(names.id("a"));
  const auto other = static_cast<std::uint16_t>(names.id("b"));
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    Bus bus({.slots = 16, .bytes_max = seed % 2 == 0 ? 64U << 20 : 100'000});
    Reader reader(bus, {TopicFilter(names, {"a"}), OverflowPolicy::drop_oldest, kFromNow});
    Published published;
    std::size_t read_to = 0;  // batches
    std::uint64_t skipped = 0;
    std::uint64_t filtered = 0;
    std::vector<std::int64_t> expected;
    std::vector<std::int64_t> found;
    for (int step = 0; step < 60; ++step) {
      for (unsigned i = random() % 40; i > 0; --i) {
        bus.publish(random_batch(random, published, wanted, other));
      }
      if (published.batches.empty()) continue;
      // Nobody else publishes: what the ring still holds now is what the reader will get.
      const BusStats stats = bus.stats();
      const auto oldest = static_cast<std::size_t>(stats.batches - stats.batches_live);
      for (; read_to < published.batches.size(); ++read_to) {
        for (const ephor_event& event : published.batches[read_to]) {
          if (read_to < oldest) {
            ++skipped;
          } else if (event.topic == wanted) {
            expected.push_back(event.time_ns);
          } else {
            ++filtered;
          }
        }
      }
      const auto sink = [&](const ephor_event* events, std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) found.push_back(events[i].time_ns);
      };
      while (reader.poll(sink, 1 + random() % 600).state == State::delivered) {
      }
    }
    CHECK(skipped > 0);
    CHECK(found == expected);
    CHECK(reader.stats().skipped == skipped);
    CHECK(reader.stats().delivered + reader.stats().skipped + filtered == published.events);
    CHECK(reader.stats().lag == 0);
  }
}

TEST_CASE("bus loss: replay and latest lose nothing on the way through the journal",
          "[unit][bus]") {
  Interner names(10);
  const auto wanted = static_cast<std::uint16_t>(names.id("a"));
  const auto other = static_cast<std::uint16_t>(names.id("b"));
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    const auto policy = seed % 2 == 0 ? OverflowPolicy::replay : OverflowPolicy::latest;
    Bus bus({.slots = 8});
    Reader reader(bus, {TopicFilter(names, {"a"}), policy, kFromNow});
    Published published;
    std::vector<std::int64_t> found;
    std::uint64_t visits_to_journal = 0;
    const auto sink = [&](const ephor_event* events, std::uint32_t count) {
      for (std::uint32_t i = 0; i < count; ++i) found.push_back(events[i].time_ns);
    };
    const auto read_journal = [&] {
      const std::uint64_t next = reader.unread_sequence();
      if (reader.try_rejoin(next)) return;
      ++visits_to_journal;
      const auto& stored = published.batches.at(position_of(next) - 1);
      for (std::size_t i = index_of(next); i < stored.size(); ++i) {
        if (!reader.filter().matches(stored[i].topic)) continue;
        found.push_back(stored[i].time_ns);
        reader.count_delivered(monotonic_ns(), 1);
      }
      reader.read_elsewhere(sequence_of(position_of(next) + 1, 0), stored.size() - index_of(next));
    };
    for (int step = 0; step < 60; ++step) {
      const bool is_last = step == 59;
      for (unsigned i = random() % 12; i > 0; --i) {
        bus.publish(random_batch(random, published, wanted, other));
      }
      for (unsigned polls = is_last ? UINT32_MAX : random() % 6; polls > 0; --polls) {
        const State state = reader.poll(sink, 1 + random() % 300).state;
        if (state == State::fell_behind) read_journal();
        if (state == State::empty) break;
      }
    }
    std::vector<std::int64_t> expected;
    for (const auto& batch : published.batches) {
      for (const ephor_event& event : batch) {
        if (event.topic == wanted) expected.push_back(event.time_ns);
      }
    }
    CHECK(visits_to_journal > 0);
    CHECK(found == expected);
    CHECK(reader.stats().delivered == expected.size());
    CHECK(reader.stats().skipped == 0);
    CHECK(reader.stats().lag == 0);
    CHECK(reader.queue_delay().snapshot().count == expected.size());
  }
}

TEST_CASE("bus loss: while a reader holds, nobody sees its position move", "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  std::uint64_t seen = 0;
  const auto sink = [&](const ephor_event*, std::uint32_t count) { seen += count; };
  bus.publish(make_batch(1, 100, 0));
  CHECK(reader.poll(sink).events == 100);
  reader.hold();
  bus.publish(make_batch(2, 100, 100));
  bus.publish(make_batch(3, 100, 200));
  while (reader.poll(sink).state == State::delivered) {
  }
  CHECK(seen == 300);
  CHECK(reader.next_sequence() == sequence_of(2, 0));
  CHECK(reader.unread_sequence() == sequence_of(4, 0));
  CHECK(reader.stats().delivered == 100);
  CHECK(reader.stats().lag == 200);
  CHECK(reader.stats().lag_ns > 0);
  CHECK_FALSE(bus.wait_until_read(3, 1'000'000));
  reader.release();
  CHECK(reader.next_sequence() == sequence_of(4, 0));
  CHECK(reader.stats().lag == 0);
  CHECK(reader.stats().lag_ns == 0);
  CHECK(bus.wait_until_read(3, 1'000'000));
}

TEST_CASE("bus loss: lag in time is the age of the oldest event not handled", "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  CHECK(reader.stats().lag_ns == 0);
  const std::int64_t before_ns = monotonic_ns();
  bus.publish(make_batch(1, 10, 0));
  const std::int64_t between_ns = monotonic_ns();
  bus.publish(make_batch(2, 10, 10));
  std::int64_t low_ns = monotonic_ns() - between_ns;
  std::int64_t found_ns = reader.stats().lag_ns;
  CHECK(found_ns >= low_ns);
  CHECK(found_ns <= monotonic_ns() - before_ns);
  // In the handler the slice in hand counts as not handled.
  const std::int64_t polled_ns = monotonic_ns();
  reader.poll([&](const ephor_event* events, std::uint32_t) {
    if (events[0].time_ns != 0) return;  // the first slice is of the first batch
    low_ns = monotonic_ns() - between_ns;
    found_ns = reader.stats().lag_ns;
  });
  CHECK(found_ns >= low_ns);
  CHECK(reader.stats().lag_ns == 0);
  const auto delays = reader.queue_delay().snapshot();
  CHECK(delays.count == 20);
  CHECK(delays.max_ns >= static_cast<std::uint64_t>(polled_ns - between_ns));
  CHECK(delays.max_ns <= static_cast<std::uint64_t>(monotonic_ns() - before_ns));
}
