// SPDX-License-Identifier: Apache-2.0
//
// What a reader that sleeps costs the others. A publisher stores and publishes batches at full
// rate; one reader takes them as they come. In every second run another reader's handler falls
// asleep in the middle. It has to get every event in the end (from the journal: the ring has long
// moved on), while the publisher's rate and the other reader's delay stay what they are without it.
//
// Runs with and without the sleeper take turns; a figure is the median over the pairs. Rate and
// delay are taken over the time of the sleep. What the catching up costs afterwards, when a third
// thread wants one of two cores, is reported beside it.
//
// Bars: sleeper's count and checksum those of the publisher; rate > 0.9, p99 of the delay < 2 times
// that without the sleeper.
#include <getopt.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bus/reader.hpp"
#include "event/times.hpp"
#include "store/sqlite_journal.hpp"
#include "support/shared_data.hpp"

namespace {
using namespace ephor::host;

constexpr std::size_t kBatchEvents = 1000;
constexpr std::size_t kPayloadBytes = 128;

void sleep_s(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// Order and content of all that was seen.
struct Tally {
  std::uint64_t count = 0;
  std::uint64_t checksum = 0;
  void take(std::uint64_t number) {
    ++count;
    checksum = (checksum ^ number) * 0x9E3779B97F4A7C15ULL;
  }
};

std::uint64_t number_of(const char* record) {
  std::uint64_t number;
  std::memcpy(&number, record, sizeof number);
  return number;
}

class Publisher {
 public:
  Publisher(SqliteJournal& journal, Bus& bus) : journal_(journal), bus_(bus) {}

  void publish() {
    auto batch = std::make_unique<Batch>();
    batch->buffers.emplace_back(kBatchEvents * kPayloadBytes);
    char* to = batch->buffers[0].data();
    for (std::size_t i = 0; i < kBatchEvents; ++i, to += kPayloadBytes) {
      const std::uint64_t number = tally_.count;
      std::memset(to, static_cast<int>(number * 31 & 0xff), kPayloadBytes);
      std::memcpy(to, &number, sizeof number);
      ephor_event event{};
      event.record = to;
      event.record_length = kPayloadBytes;
      event.topic = 1;
      batch->events.push_back(event);
      batch->ids.push_back(hash128({to, sizeof number}));
      tally_.take(number);
    }
    Pending pending{batch.get(), journal_.encode(*batch)};
    journal_.append({&pending, 1});
    last_position_.store(batch->position);
    bus_.publish(std::move(batch));
  }
  const Tally& tally() const { return tally_; }
  std::uint64_t last_position() const { return last_position_.load(); }

 private:
  SqliteJournal& journal_;
  Bus& bus_;
  Tally tally_;
  std::atomic<std::uint64_t> last_position_{0};
};

// A reader on a thread of its own, until `is_done` and everything is read.
class ReaderThread {
 public:
  ReaderThread(SqliteJournal& journal, Bus& bus, double sleep_s)
      : journal_(journal), bus_(bus), reader_(bus, {}), sleep_s_(sleep_s), thread_([this] {
          run();
        }) {}
  void fall_asleep() { must_sleep_ = true; }
  void finish(std::uint64_t last_position) {
    last_position_ = last_position;
    bus_.wakers().wake_parked();
    thread_.join();
  }
  const Tally& tally() const { return tally_; }
  const Reader& reader() const { return reader_; }
  bool has_slept() const { return has_slept_; }
  std::uint64_t stored_batches() const { return stored_batches_; }

 private:
  void run() {
    Waker waker(bus_.wakers());
    const auto sink = [this](const ephor_event* events, std::uint32_t count) {
      if (must_sleep_.exchange(false)) {
        ::sleep_s(sleep_s_);
        has_slept_ = true;
      }
      for (std::uint32_t i = 0; i < count; ++i) tally_.take(number_of(events[i].record));
    };
    while (reader_.next_position() <= last_position_) {
      const Reader::State state = reader_.poll(sink).state;
      if (state == Reader::State::fell_behind) read_journal();
      if (state == Reader::State::empty) {
        waker.wait([this] { return reader_.has_more(); }, 10'000'000);
      }
    }
  }
  void read_journal() {
    const std::uint64_t next = reader_.unread_sequence();
    if (reader_.try_rejoin(next)) return;
    if (!journal_.next(position_of(next), stored_)) return;
    ++stored_batches_;
    std::size_t at = stored_.position == position_of(next) ? index_of(next) : 0;
    const std::size_t first = at;
    for (; at < stored_.records.size(); ++at) tally_.take(number_of(stored_.record(at).data()));
    reader_.read_elsewhere(sequence_of(stored_.position + 1, 0), at - first);
  }

  SqliteJournal& journal_;
  Bus& bus_;
  Reader reader_;
  const double sleep_s_;
  std::atomic<bool> must_sleep_{false};
  std::atomic<bool> has_slept_{false};
  std::atomic<std::uint64_t> last_position_{UINT64_MAX - 1};
  Tally tally_;
  StoredBatch stored_;
  std::uint64_t stored_batches_ = 0;
  std::thread thread_;
};

struct Measured {
  double events_per_s = 0;           // during the sleep
  double p99_us = 0;                 // of the reader that is awake, during the sleep
  double catch_up_events_per_s = 0;  // of the publisher, while the sleeper catches up
  double catch_up_s = 0;
};

Measured run_once(bool has_sleeper, double sleep_seconds) {
  const ephor::testing::TemporaryDirectory directory;
  SqliteJournalOptions options;
  options.durability = Durability::normal;
  SqliteJournal journal(directory.path(), options);
  Bus bus;
  Publisher publisher(journal, bus);
  ReaderThread awake(journal, bus, 0);
  std::unique_ptr<ReaderThread> sleeper;
  if (has_sleeper) sleeper = std::make_unique<ReaderThread>(journal, bus, sleep_seconds);

  const auto publish_for = [&](double seconds) {
    const std::int64_t begin_ns = monotonic_ns();
    const auto until_ns = begin_ns + static_cast<std::int64_t>(seconds * 1e9);
    const std::uint64_t before = publisher.tally().count;
    while (monotonic_ns() < until_ns) publisher.publish();
    return static_cast<double>(publisher.tally().count - before) /
           (static_cast<double>(monotonic_ns() - begin_ns) * 1e-9);
  };
  publish_for(0.5);
  if (has_sleeper) sleeper->fall_asleep();
  const auto before = awake.reader().queue_delay().snapshot();
  Measured out;
  out.events_per_s = publish_for(sleep_seconds * 0.95);
  const auto delays = awake.reader().queue_delay().snapshot() - before;
  out.p99_us = static_cast<double>(delays.quantile_ns(0.99)) * 1e-3;
  out.catch_up_events_per_s = publish_for(std::min(5.0, sleep_seconds * 0.2));
  const std::int64_t end_ns = monotonic_ns();
  awake.finish(publisher.last_position());
  if (has_sleeper) {
    sleeper->finish(publisher.last_position());
    out.catch_up_s = static_cast<double>(monotonic_ns() - end_ns) * 1e-9;
    if (!sleeper->has_slept() || sleeper->stored_batches() == 0) {
      throw std::logic_error("the sleeper was never behind");
    }
  }
  for (const ReaderThread* reader :
       std::initializer_list<const ReaderThread*>{&awake, sleeper.get()}) {
    if (reader == nullptr) continue;
    if (reader->tally().count != publisher.tally().count ||
        reader->tally().checksum != publisher.tally().checksum) {
      throw std::logic_error("a reader has other events than were published: " +
                             std::to_string(reader->tally().count) + " of " +
                             std::to_string(publisher.tally().count));
    }
  }
  return out;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

int run(double sleep_seconds, int repetitions, const char* json_file) {
  std::vector<double> rate_ratios, delay_ratios, catch_up_ratios, catch_up_s, rates, p99s;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    Measured with, without;
    if (repetition % 2 == 0) with = run_once(true, sleep_seconds);
    without = run_once(false, sleep_seconds);
    if (repetition % 2 != 0) with = run_once(true, sleep_seconds);
    rates.push_back(without.events_per_s);
    p99s.push_back(without.p99_us);
    rate_ratios.push_back(with.events_per_s / without.events_per_s);
    delay_ratios.push_back(with.p99_us / without.p99_us);
    catch_up_ratios.push_back(with.catch_up_events_per_s / without.catch_up_events_per_s);
    catch_up_s.push_back(with.catch_up_s);
    std::printf(
        "pair %d: %.0f events/s, p99 %.0f us alone; %.0f events/s, p99 %.0f us with a "
        "sleeper; every event arrived\n",
        repetition + 1, without.events_per_s, without.p99_us, with.events_per_s, with.p99_us);
    std::fflush(stdout);
  }
  const nlohmann::json figures{{"sleep_seconds", sleep_seconds},
                               {"pairs", repetitions},
                               {"events_per_s", median_of(rates)},
                               {"p99_delay_us", median_of(p99s)},
                               {"rate_ratio", median_of(rate_ratios)},
                               {"p99_delay_ratio", median_of(delay_ratios)},
                               {"catch_up_rate_ratio", median_of(catch_up_ratios)},
                               {"catch_up_seconds_after_the_last_event", median_of(catch_up_s)}};
  for (const auto& [name, value] : figures.items()) {
    std::printf("%-38s %.4g\n", name.c_str(), value.get<double>());
  }
  if (json_file != nullptr) {
    std::ofstream out(json_file);
    out << nlohmann::json{{"name", "slow_reader"}, {"figures", figures}}.dump(2) << '\n';
    if (!out.flush()) throw std::runtime_error(std::string(json_file) + ": cannot be written");
  }
  return figures["rate_ratio"].get<double>() > 0.9 && figures["p99_delay_ratio"].get<double>() < 2.0
             ? 0
             : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const option options[] = {{"json", required_argument, nullptr, 'j'},
                            {"repetitions", required_argument, nullptr, 'r'},
                            {"sleep-s", required_argument, nullptr, 's'},
                            {"data", required_argument, nullptr, 'd'},
                            {}};
  const char* json_file = nullptr;
  int repetitions = 5;
  double sleep_seconds = 3.0;
  for (int letter; (letter = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    if (letter == 'j') json_file = optarg;
    if (letter == 'r') repetitions = std::atoi(optarg);
    if (letter == 's') sleep_seconds = std::atof(optarg);
    if (letter == '?') return 2;
  }
  if (repetitions < 1 || sleep_seconds < 0.5 || optind != argc) {
    std::fprintf(stderr,
                 "usage: bench_slow_reader [--json FILE] [--repetitions N] [--sleep-s SECONDS]\n");
    return 2;
  }
  try {
    return run(sleep_seconds, repetitions, json_file);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_slow_reader: %s\n", error.what());
    return 1;
  }
}
