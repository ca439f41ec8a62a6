// SPDX-License-Identifier: Apache-2.0
//
// The same promises with a publisher and readers on threads of their own; meant for the sanitizers
// too, so sizes are small.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "bus_support.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using ephor::testing::Checker;
using ephor::testing::make_batch;
using State = Reader::State;

namespace {

constexpr std::int64_t kMinuteNs = 60'000'000'000;

// A log that publishes batches of changing size; a stand-in for the journal can make any again.
struct Log {
  static std::uint32_t size_at(std::uint64_t position) {
    return 1 + static_cast<std::uint32_t>(position * 7919 % 97);
  }
  explicit Log(std::uint64_t positions) : first_number(positions + 2) {
    for (std::uint64_t position = 1; position <= positions; ++position) {
      first_number[position + 1] = first_number[position] + size_at(position);
    }
  }
  std::uint64_t last() const { return first_number.size() - 2; }
  std::int64_t events() const { return first_number.back(); }
  BatchPointer batch(std::uint64_t position) const {
    return make_batch(position, size_at(position), first_number[position]);
  }
  std::vector<std::int64_t> first_number;  // of the events, by position
};

}  // namespace

TEST_CASE("bus threads: 1 to 5 readers each see everything once and in order", "[unit][bus]") {
  const Log log(3000);
  for (const std::size_t reader_count : {1, 2, 3, 5}) {
    Bus bus({.slots = 4096});
    std::vector<std::unique_ptr<Reader>> readers;
    std::vector<Checker> checkers(reader_count);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < reader_count; ++i) {
      readers.push_back(std::make_unique<Reader>(bus, ReaderOptions{}));
    }
    for (std::size_t i = 0; i < reader_count; ++i) {
      threads.emplace_back([&, i] {
        Waker waker(bus.wakers());
        while (readers[i]->next_position() <= log.last()) {
          const auto state = readers[i]->poll(checkers[i]).state;
          if (state == State::fell_behind) break;
          if (state == State::empty) waker.wait([&] { return readers[i]->has_more(); }, kMinuteNs);
        }
      });
    }
    for (std::uint64_t position = 1; position <= log.last(); ++position) {
      bus.publish(log.batch(position));
    }
    CHECK(bus.wait_until_read(log.last(), kMinuteNs));
    for (std::thread& thread : threads) thread.join();
    for (const Checker& checker : checkers) {
      CHECK(checker.seen == static_cast<std::uint64_t>(log.events()));
      CHECK(checker.wrong == 0);
    }
  }
}

TEST_CASE("bus threads: lossless on a tiny ring, from the journal and back", "[unit][bus]") {
  const Log log(4000);
  Bus bus({.slots = 8});
  std::atomic<std::uint64_t> committed{0};
  std::atomic<std::uint64_t> rejoins{0};
  std::vector<Checker> checkers(3);
  std::vector<std::unique_ptr<Reader>> readers;
  for (std::size_t i = 0; i < checkers.size(); ++i) {
    readers.push_back(std::make_unique<Reader>(bus, ReaderOptions{}));
  }
  const auto read_journal = [&](Reader& reader, Checker& checker) {
    const std::uint64_t position = reader.next_position();
    if (position > committed.load()) return;
    const BatchPointer batch = log.batch(position);
    const std::uint32_t begin = index_of(reader.next_sequence());
    const auto count = static_cast<std::uint32_t>(batch->events.size()) - begin;
    checker(batch->events.data() + begin, count);
    reader.read_elsewhere(sequence_of(position + 1, 0), count);
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < checkers.size(); ++i) {
    threads.emplace_back([&, i] {
      Reader& reader = *readers[i];
      Waker waker(bus.wakers());
      while (reader.next_position() <= log.last()) {
        const auto state = reader.poll(checkers[i], 64).state;
        if (state == State::fell_behind) {
          if (reader.try_rejoin(reader.next_sequence())) {
            rejoins.fetch_add(1);
          } else {
            read_journal(reader, checkers[i]);
          }
        }
        if (state == State::empty) waker.wait([&] { return reader.has_more(); }, kMinuteNs);
        if (i == 2) std::this_thread::yield();
      }
    });
  }
  for (std::uint64_t position = 1; position <= log.last(); ++position) {
    BatchPointer batch = log.batch(position);
    committed.store(position);
    bus.publish(std::move(batch));
  }
  CHECK(bus.wait_until_read(log.last(), kMinuteNs));
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < checkers.size(); ++i) {
    CHECK(checkers[i].seen == static_cast<std::uint64_t>(log.events()));
    CHECK(checkers[i].wrong == 0);
    CHECK(readers[i]->stats().skipped == 0);
    CHECK(readers[i]->stats().lag == 0);
  }
}

TEST_CASE("bus threads: drop_oldest on a tiny ring loses exactly what it counts", "[unit][bus]") {
  const Log log(20'000);
  Bus bus({.slots = 4});
  struct Gaps {
    std::int64_t next = 0;
    std::uint64_t seen = 0;
    std::uint64_t lost = 0;
    std::uint64_t wrong = 0;
    void operator()(const ephor_event* events, std::uint32_t count) {
      for (std::uint32_t i = 0; i < count; ++i) {
        std::int64_t written;
        std::memcpy(&written, events[i].record, sizeof(written));
        if (events[i].time_ns < next || written != events[i].time_ns) ++wrong;
        lost += static_cast<std::uint64_t>(events[i].time_ns - next);
        next = events[i].time_ns + 1;
        ++seen;
      }
    }
  };
  std::vector<Gaps> gaps(2);
  std::vector<std::unique_ptr<Reader>> readers;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < gaps.size(); ++i) {
    readers.push_back(std::make_unique<Reader>(
        bus, ReaderOptions{TopicFilter(), OverflowPolicy::drop_oldest, kFromNow}));
  }
  for (std::size_t i = 0; i < gaps.size(); ++i) {
    threads.emplace_back([&, i] {
      Waker waker(bus.wakers());
      while (readers[i]->next_position() <= log.last()) {
        const auto state = readers[i]->poll(gaps[i], 16).state;
        if (state == State::empty) waker.wait([&] { return readers[i]->has_more(); }, kMinuteNs);
      }
    });
  }
  for (std::uint64_t position = 1; position <= log.last(); ++position) {
    bus.publish(log.batch(position));
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < gaps.size(); ++i) {
    CHECK(gaps[i].wrong == 0);
    CHECK(readers[i]->stats().skipped == gaps[i].lost);
    CHECK(gaps[i].seen + gaps[i].lost == static_cast<std::uint64_t>(log.events()));
  }
}

TEST_CASE("bus threads: readers come and go during publish; the pool gets every batch once",
          "[unit][bus]") {
  const Log log(20'000);
  std::atomic<bool> is_done{false};
  std::vector<std::uint8_t> recycled(log.last() + 1);
  std::uint64_t returned = 0;
  std::atomic<std::uint64_t> wrong{0};
  Bus bus({.slots = 16, .recycle = [&](BatchPointer batch) {
             ++recycled[batch->position];
             ++returned;
           }});
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      while (!is_done.load()) {
        Reader reader(bus,
                      {TopicFilter(), i == 0 ? OverflowPolicy::replay : OverflowPolicy::drop_oldest,
                       kFromNow});
        std::int64_t last = -1;
        const auto sink = [&](const ephor_event* events, std::uint32_t count) {
          for (std::uint32_t at = 0; at < count; ++at) {
            std::int64_t written;
            std::memcpy(&written, events[at].record, sizeof(written));
            if (written != events[at].time_ns || written <= last) wrong.fetch_add(1);
            last = written;
          }
        };
        for (int polls = 0; polls < 50; ++polls) reader.poll(sink);
      }
    });
  }
  for (std::uint64_t position = 1; position <= log.last(); ++position) {
    bus.publish(log.batch(position));
  }
  is_done.store(true);
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  for (const std::uint8_t times : recycled) REQUIRE(times <= 1);
  CHECK(returned + bus.stats().batches_live + bus.stats().retired_pending == log.last());
}

TEST_CASE("bus threads: one dispatcher serves several readers", "[unit][bus]") {
  const Log log(2000);
  Bus bus;
  std::vector<std::unique_ptr<Reader>> readers;
  std::vector<Checker> checkers(4);
  for (std::size_t i = 0; i < checkers.size(); ++i) {
    readers.push_back(std::make_unique<Reader>(bus, ReaderOptions{}));
  }
  std::atomic<bool> is_running{true};
  Waker waker(bus.wakers());
  std::thread dispatcher([&] {
    const auto has_work = [&] {
      return !is_running.load() ||
             std::any_of(readers.begin(), readers.end(),
                         [](const auto& reader) { return reader->has_more(); });
    };
    while (is_running.load()) {
      for (std::size_t i = 0; i < readers.size(); ++i) readers[i]->poll(checkers[i]);
      waker.wait(has_work);
    }
  });
  for (std::uint64_t position = 1; position <= log.last(); ++position) {
    bus.publish(log.batch(position));
    if (position % 100 == 0) CHECK(bus.wait_until_read(position, kMinuteNs));  // replay's rounds
  }
  is_running.store(false);
  waker.wake();
  dispatcher.join();
  for (const Checker& checker : checkers) {
    CHECK(checker.seen == static_cast<std::uint64_t>(log.events()));
    CHECK(checker.wrong == 0);
  }
}
