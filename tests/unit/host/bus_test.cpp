// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "bus_support.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using ephor::testing::Checker;
using ephor::testing::make_batch;
using State = Reader::State;

TEST_CASE("bus: a reader sees every event once, in order, in slices of at most 256",
          "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  Checker checker;
  CHECK(reader.poll(checker).state == State::empty);
  std::int64_t number = 0;
  std::uint64_t position = 3;
  for (const std::uint32_t size : {1U, 5U, 1U, 256U, 257U, 1000U, 31U, 32U, 65536U}) {
    bus.publish(make_batch(position, size, number));
    number += size;
    position += 2;  // positions are not dense
  }
  CHECK(reader.stats().lag == static_cast<std::uint64_t>(number));
  while (reader.poll(checker).state == State::delivered) {
  }
  CHECK(checker.seen == static_cast<std::uint64_t>(number));
  CHECK(checker.wrong == 0);
  CHECK(checker.slice_max == 256);
  CHECK(reader.next_position() == position - 1);
  CHECK(reader.stats().delivered == checker.seen);
  CHECK(reader.stats().lag == 0);
  CHECK(reader.stats().lag_max == checker.seen);
  CHECK(bus.stats().events == checker.seen);
  CHECK(bus.stats().batches == 9);
  CHECK(bus.head_position() == position - 2);
}

TEST_CASE("bus: poll stops between slices when the budget is used", "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  bus.publish(make_batch(1, 1000, 0));
  Checker checker;
  CHECK(reader.poll(checker, 1).events == 256);
  CHECK(reader.next_sequence() == sequence_of(1, 256));
  CHECK(reader.poll(checker, 500).events == 512);
  CHECK(reader.stats().lag == 1000 - 768);
  CHECK(reader.poll(checker, 500).events == 1000 - 768);
  CHECK(reader.next_sequence() == sequence_of(2, 0));
  CHECK(checker.wrong == 0);
}

TEST_CASE("bus: whole runs are handed over without a copy, small batches together", "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  BatchPointer large = make_batch(1, 300, 0);
  const ephor_event* own = large->events.data();
  bus.publish(std::move(large));
  for (int i = 0; i < 40; ++i) bus.publish(make_batch(2 + i, 3, 300 + 3 * i));
  std::vector<std::pair<const ephor_event*, std::uint32_t>> slices;
  reader.poll(
      [&](const ephor_event* events, std::uint32_t count) { slices.emplace_back(events, count); },
      1000);
  REQUIRE(slices.size() == 3);
  CHECK(slices[0] == std::pair(own, 256U));
  CHECK(slices[1] == std::pair(own + 256, 44U));
  CHECK(slices[2].second == 120);
}

TEST_CASE("bus: the filter passes what matches and counts only that as delivered", "[unit][bus]") {
  Interner names(100);
  const auto wanted = static_cast<std::uint16_t>(names.id("a.wanted"));
  const auto other = static_cast<std::uint16_t>(names.id("b.other"));
  for (const std::uint32_t batch_size : {1U, 7U, 40U, 700U}) {
    Bus bus;
    Reader reader(bus, {TopicFilter(names, {"a.*"}), OverflowPolicy::replay, kFromNow});
    std::vector<std::int64_t> expected;
    std::int64_t number = 0;
    for (std::uint64_t position = 1; number < 5000; ++position) {
      BatchPointer batch = make_batch(position, batch_size, number, other);
      for (ephor_event& event : batch->events) {
        // Runs of both kinds of several lengths, and single ones.
        if ((event.time_ns / 90) % 2 == 0 || event.time_ns % 13 == 0) {
          event.topic = wanted;
          expected.push_back(event.time_ns);
        }
      }
      bus.publish(std::move(batch));
      number += batch_size;
    }
    std::vector<std::int64_t> found;
    const auto sink = [&](const ephor_event* events, std::uint32_t count) {
      for (std::uint32_t i = 0; i < count; ++i) found.push_back(events[i].time_ns);
    };
    while (reader.poll(sink).state == State::delivered) {
    }
    CHECK(found == expected);
    CHECK(reader.stats().delivered == expected.size());
    CHECK(reader.stats().lag == 0);
  }
}

TEST_CASE("bus: a long run without a match does not hold the caller", "[unit][bus]") {
  Interner names(100);
  Bus bus;
  Reader reader(bus, {TopicFilter(names, {"nobody"}), OverflowPolicy::replay, kFromNow});
  bus.publish(make_batch(1, 60'000, 0));
  const auto sink = [](const ephor_event*, std::uint32_t) { FAIL("nothing matches"); };
  int polls = 0;
  Reader::Result result;
  while ((result = reader.poll(sink)).state == State::delivered) {
    CHECK(result.events == 0);
    ++polls;
  }
  CHECK(polls > 5);
  CHECK(reader.next_position() == 2);
}

TEST_CASE("bus: a lossless reader that falls behind says so and comes back", "[unit][bus]") {
  Bus bus({.slots = 4});
  Reader reader(bus, {});
  Checker checker;
  bus.publish(make_batch(1, 100, 0));
  CHECK(reader.poll(checker, 1).state == State::delivered);
  for (std::uint64_t position = 2; position <= 20; ++position) {
    bus.publish(make_batch(position, 100, static_cast<std::int64_t>(position - 1) * 100));
  }
  CHECK(reader.poll(checker).state == State::fell_behind);
  CHECK(reader.poll(checker).state == State::fell_behind);
  CHECK(reader.is_behind());
  CHECK(reader.has_more());
  CHECK(reader.next_sequence() == sequence_of(2, 0));
  CHECK(reader.stats().lag == 1900);
  CHECK(reader.stats().skipped == 0);

  // The ring holds at least half of its slots and the newest.
  CHECK_FALSE(reader.try_rejoin(reader.next_sequence()));
  CHECK_FALSE(reader.try_rejoin(sequence_of(16, 0)));
  const std::uint64_t live = bus.stats().batches_live;
  CHECK(live == 3);
  reader.read_elsewhere(sequence_of(18, 0), 1600);
  CHECK(reader.stats().lag == 300);
  CHECK(reader.try_rejoin(sequence_of(18, 40)));
  checker.next = 1740;
  while (reader.poll(checker).state == State::delivered) {
  }
  CHECK(checker.wrong == 0);
  CHECK(checker.next == 2000);
  CHECK_FALSE(reader.is_behind());
  CHECK(reader.stats().lag == 0);
  CHECK(reader.stats().delivered == 100 + 260);
}

TEST_CASE("bus: what was read from the journal ahead of the ring does not come again",
          "[unit][bus]") {
  Bus bus({.slots = 4, .last_position = 10});
  Reader reader(bus, {TopicFilter(), OverflowPolicy::replay, sequence_of(5, 0)});
  Checker checker;
  CHECK(reader.poll(checker).state == State::fell_behind);
  bus.publish(make_batch(11, 10, 0));
  // The journal has 12 and half of 13 already.
  reader.read_elsewhere(sequence_of(13, 5), 10);
  CHECK(reader.try_rejoin(sequence_of(13, 5)));
  CHECK(reader.poll(checker).state == State::empty);
  bus.publish(make_batch(12, 10, 10));
  bus.publish(make_batch(13, 10, 20));
  bus.publish(make_batch(14, 10, 30));
  checker.next = 25;
  while (reader.poll(checker).state == State::delivered) {
  }
  CHECK(checker.wrong == 0);
  CHECK(checker.seen == 15);
  CHECK(reader.stats().lag == 0);
}

TEST_CASE("bus: a reader starts at the end of the log, in the ring, or on the journal",
          "[unit][bus]") {
  Bus bus({.slots = 8, .last_position = 7});
  CHECK(bus.head_position() == 7);
  Reader at_end(bus, {});
  Reader right_after(bus, {TopicFilter(), OverflowPolicy::replay, sequence_of(8, 0)});
  Reader older(bus, {TopicFilter(), OverflowPolicy::drop_oldest, sequence_of(7, 3)});
  CHECK_FALSE(at_end.is_behind());
  CHECK_FALSE(right_after.is_behind());
  CHECK(older.is_behind());
  bus.publish(make_batch(8, 5, 0));
  bus.publish(make_batch(9, 5, 5));
  Reader in_ring(bus, {TopicFilter(), OverflowPolicy::replay, sequence_of(9, 2)});
  Reader late(bus, {});
  Checker checker;
  CHECK(late.poll(checker).state == State::empty);
  CHECK(late.stats().lag == 0);
  checker.next = 7;
  CHECK(in_ring.poll(checker).events == 3);
  checker.next = 0;
  CHECK(right_after.poll(checker).events == 10);
  checker.next = 0;
  CHECK(at_end.poll(checker).events == 10);
  CHECK(checker.wrong == 0);
}

TEST_CASE("bus: drop_oldest counts every event it skips", "[unit][bus]") {
  Bus bus({.slots = 4});
  Reader reader(bus, {TopicFilter(), OverflowPolicy::drop_oldest, kFromNow});
  std::int64_t number = 0;
  std::uint64_t position = 1;
  std::uint64_t gaps = 0;
  std::uint64_t seen = 0;
  std::int64_t next = 0;
  const auto sink = [&](const ephor_event* events, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      gaps += static_cast<std::uint64_t>(events[i].time_ns - next);
      next = events[i].time_ns + 1;
      ++seen;
    }
  };
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < round % 9; ++i, ++position) {
      const std::uint32_t size = 1 + static_cast<std::uint32_t>(position * 37 % 400);
      bus.publish(make_batch(position, size, number));
      number += size;
    }
    CHECK(reader.poll(sink, 200).state != State::fell_behind);  // often in the middle of a batch
  }
  while (reader.poll(sink).state == State::delivered) {
  }
  CHECK(gaps > 0);
  CHECK(reader.stats().skipped == gaps);
  CHECK(seen + gaps == static_cast<std::uint64_t>(number));
  CHECK(reader.stats().lag == 0);
}

TEST_CASE("bus: bounded in bytes, but for the newest batch", "[unit][bus]") {
  const std::size_t batch_bytes = make_batch(1, 100, 0)->size_bytes();
  Bus bus({.slots = 1024, .bytes_max = 10 * batch_bytes});
  Reader reader(bus, {});  // never polls: nothing is retired because it was read
  for (std::uint64_t position = 1; position <= 100; ++position) {
    bus.publish(make_batch(position, 100, 0));
    CHECK(bus.stats().bytes_live <= 10 * batch_bytes);
  }
  CHECK(bus.stats().batches_live >= 9);
  bus.publish(make_batch(101, 5000, 0));
  CHECK(bus.stats().batches_live == 1);
  CHECK(bus.stats().bytes_live > 10 * batch_bytes);
  bus.publish(make_batch(102, 1, 0));
  CHECK(bus.stats().batches_live == 1);
  CHECK(bus.stats().retired_pending == 0);
}

TEST_CASE("bus: a batch in hand outlives its place in the ring", "[unit][bus]") {
  std::vector<std::uint64_t> recycled;
  Bus bus(
      {.slots = 2, .recycle = [&](BatchPointer batch) { recycled.push_back(batch->position); }});
  Reader reader(bus, {});
  bus.publish(make_batch(1, 40, 0));
  reader.poll(
      [&](const ephor_event* events, std::uint32_t count) {
        for (std::uint64_t position = 2; position <= 9; ++position) {
          bus.publish(make_batch(position, 40, static_cast<std::int64_t>(position - 1) * 40));
        }
        CHECK(bus.stats().retired_pending == 1);
        Checker checker;
        checker(events, count);
        CHECK(checker.wrong == 0);
        CHECK(std::count(recycled.begin(), recycled.end(), 1) == 0);
      },
      1);
  bus.publish(make_batch(10, 40, 360));
  CHECK(std::count(recycled.begin(), recycled.end(), 1) == 1);
  CHECK(bus.stats().retired_pending == 0);
}

TEST_CASE("bus: what everyone has read is given back early", "[unit][bus]") {
  std::uint64_t recycled = 0;
  Bus bus({.slots = 1024, .history_batches = 4, .recycle = [&](BatchPointer) { ++recycled; }});
  Reader fast(bus, {});
  auto slow = std::make_unique<Reader>(bus, ReaderOptions{});
  Checker checker;
  const auto publish_and_read = [&](std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t position = begin; position < end; ++position) {
      bus.publish(make_batch(position, 1, static_cast<std::int64_t>(position - 1)));
      fast.poll(checker);
    }
  };
  publish_and_read(1, 300);
  CHECK(recycled == 0);
  slow.reset();
  publish_and_read(300, 600);
  CHECK(recycled > 500);
  CHECK(bus.stats().batches_live >= 4);
  CHECK(checker.wrong == 0);
}

TEST_CASE("bus: a sink that throws has seen its slice", "[unit][bus]") {
  Bus bus({.slots = 4});
  Reader reader(bus, {});
  bus.publish(make_batch(1, 300, 0));
  CHECK_THROWS_AS(
      reader.poll([](const ephor_event*, std::uint32_t) { throw std::runtime_error("no"); }),
      std::runtime_error);
  Checker checker;
  checker.next = 256;
  CHECK(reader.poll(checker).events == 44);
  CHECK(checker.wrong == 0);
  for (std::uint64_t position = 2; position <= 9; ++position)
    bus.publish(make_batch(position, 1, 0));
  CHECK(bus.stats().retired_pending == 0);  // its announcement ended too
}

TEST_CASE("bus: wait_until_read looks at lossless readers and keeps its time-out", "[unit][bus]") {
  Bus bus;
  CHECK(bus.wait_until_read(99, 0));
  Reader reader(bus, {});
  Reader dropping(bus, {TopicFilter(), OverflowPolicy::drop_oldest, kFromNow});
  bus.publish(make_batch(1, 10, 0));
  CHECK_FALSE(bus.wait_until_read(1, 0));
  CHECK_FALSE(bus.wait_until_read(1, 1'000'000));
  Checker checker;
  reader.poll(checker);
  CHECK(bus.wait_until_read(1));
  CHECK_FALSE(bus.wait_until_read(2, 0));
}

TEST_CASE("bus: options out of range are refused", "[unit][bus]") {
  CHECK_THROWS_WITH(Bus({.slots = 100}), "bus: slots is 100, expected a power of two >= 2");
  CHECK_THROWS_AS(Bus({.slots = 1}), std::invalid_argument);
  CHECK_THROWS_AS(Bus({.bytes_max = 0}), std::invalid_argument);
}

TEST_CASE("bus: a restarted reader reads again from where it is told", "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  for (int i = 0; i < 5; ++i) bus.publish(make_batch(1 + i, 100, 100 * i));
  Checker checker;
  CHECK(reader.poll(checker, 250).events == 300);

  SECTION("what the ring still holds, in the middle of a batch") {
    const std::uint64_t back = reader.events_read() - 150;
    reader.restart({}, OverflowPolicy::replay, sequence_of(2, 50), back);
    CHECK(reader.next_sequence() == sequence_of(2, 50));
    Checker again;
    again.next = 150;
    while (reader.poll(again).state == State::delivered) {
    }
    CHECK(again.seen == 350);
    CHECK(again.wrong == 0);
    CHECK(reader.stats().lag == 0);
  }
  SECTION("what the ring never held is for the journal") {
    Bus later({.last_position = 10});
    Reader behind(later, {});
    later.publish(make_batch(11, 100, 0));
    Checker first;
    behind.poll(first);
    behind.restart({}, OverflowPolicy::replay, sequence_of(4, 0), behind.events_read());
    CHECK(behind.poll(first).state == State::fell_behind);
    CHECK(behind.next_sequence() == sequence_of(4, 0));
    CHECK(behind.stats().lag == 100);
    behind.read_elsewhere(sequence_of(11, 0), 0);
    REQUIRE(behind.try_rejoin(sequence_of(11, 0)));
    Checker again;
    behind.poll(again);
    CHECK(again.seen == 100);
    CHECK(again.wrong == 0);
  }
  SECTION("with another subscription") {
    Interner names(100);
    const auto one = static_cast<std::uint16_t>(names.id("a.one"));
    const auto two = static_cast<std::uint16_t>(names.id("b.two"));
    Bus mixed;
    Reader choosing(mixed, {TopicFilter(names, {"a.*"}), OverflowPolicy::replay, kFromNow});
    mixed.publish(make_batch(1, 40, 0, one));
    mixed.publish(make_batch(2, 50, 40, two));
    Checker first;
    while (choosing.poll(first).state == State::delivered) {
    }
    CHECK(first.seen == 40);
    choosing.restart(TopicFilter(names, {"b.>"}), OverflowPolicy::replay, sequence_of(1, 0), 0);
    Checker second;
    second.next = 40;
    while (choosing.poll(second).state == State::delivered) {
    }
    CHECK(second.seen == 50);
    CHECK(second.wrong == 0);
    CHECK(choosing.next_sequence() == sequence_of(3, 0));
  }
}

TEST_CASE("bus: a sink that throws leaves the position before its slice", "[unit][bus]") {
  Bus bus;
  Reader reader(bus, {});
  bus.publish(make_batch(1, 300, 0));
  int calls = 0;
  CHECK_THROWS_AS(reader.poll(
                      [&](const ephor_event*, std::uint32_t) {
                        if (++calls == 2) throw std::runtime_error("no");
                      },
                      1000),
                  std::runtime_error);
  CHECK(reader.next_sequence() == sequence_of(1, 256));
  reader.restart({}, OverflowPolicy::replay, reader.next_sequence(), 0);
  Checker checker;
  checker.next = 256;
  while (reader.poll(checker).state == State::delivered) {
  }
  CHECK(checker.seen == 44);
  CHECK(checker.wrong == 0);
}

TEST_CASE("bus: nobody waits for a detached reader, and nothing is kept for it", "[unit][bus]") {
  Bus bus({.slots = 8});
  Reader reader(bus, {});
  Reader other(bus, {});
  Checker checker;
  bus.publish(make_batch(1, 10, 0));
  CHECK(other.poll(checker).events == 10);
  CHECK_FALSE(bus.wait_until_read(1, 1'000'000));
  reader.detach();
  CHECK(bus.wait_until_read(1, 1'000'000));
  for (int i = 1; i < 200; ++i) {
    bus.publish(make_batch(1 + i, 10, 10 * i));
    while (other.poll(checker).state == State::delivered) {
    }
  }
  CHECK(checker.wrong == 0);
  CHECK(bus.stats().batches_live <= 8);
  // It comes back through the journal.
  reader.restart({}, OverflowPolicy::replay, sequence_of(1, 0), 0);
  CHECK_FALSE(reader.is_detached());
  CHECK_FALSE(bus.wait_until_read(200, 1'000'000));
  CHECK(reader.poll(checker).state == State::fell_behind);
  REQUIRE(reader.try_rejoin(sequence_of(201, 0)));
  CHECK(bus.wait_until_read(200, 1'000'000));
}
