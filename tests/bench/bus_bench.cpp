// SPDX-License-Identifier: Apache-2.0
//
// The bus through the C plugin table, beside moodycamel's queue, ZeroMQ inproc and mutex +
// condition variable, in one run. One producer; every reader gets every event; a reader checks the
// count, the order, and the first and last byte of each 128-byte payload that the producer filled.
//
// All are lossless and hold at most 16,384 events between the producer and the slowest reader: the
// bus's producer waits for its readers (as the journal would make it wait), ZeroMQ blocks
// (XPUB_NODROP), the queues' producers give up the core until there is room. Batches of the bus
// come from a pool. The queues carry a shared_ptr per event, as a broadcast over queues must.
//
// Variants are interleaved within each repetition; a figure is the median over the repetitions. CPU
// time is that of all threads of the process.
#include <getopt.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bus/reader.hpp"
#include "store/sqlite_journal.hpp"
#include "support/shared_data.hpp"

#ifdef EPHOR_BENCH_MOODYCAMEL
#include <blockingconcurrentqueue.h>
#include <concurrentqueue.h>
#endif
#ifdef EPHOR_BENCH_ZMQ
#include <zmq.h>
#endif

namespace {
using namespace ephor::host;

constexpr std::size_t kPayloadBytes = 128;
constexpr std::uint64_t kCapacityEvents = 16'384;
constexpr std::size_t kReadBatch = 256;  // what a queue's consumer takes at once
constexpr std::uint64_t kBurstEvents = 10;
constexpr std::int64_t kBurstPeriodNs = 200'000;  // 50,000 events/s
constexpr std::uint64_t kLatencyDiscarded = 1000;

std::int64_t now_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

double cpu_seconds() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Payload: number, stamp, filling; the last byte repeats the number's lowest.
void fill_payload(char* payload, std::uint64_t number, std::int64_t stamp_ns) {
  std::memset(payload, static_cast<int>(number & 0xff), kPayloadBytes);
  std::memcpy(payload + 8, &number, sizeof(number));
  std::memcpy(payload + 16, &stamp_ns, sizeof(stamp_ns));
}

// What every reader of every variant does with an event.
struct Check {
  std::uint64_t next = 0;
  std::uint64_t wrong = 0;
  std::vector<std::int64_t>* latencies_ns = nullptr;

  void take(const char* payload) {
    const auto low = static_cast<char>(next & 0xff);
    if (payload[0] != low || payload[kPayloadBytes - 1] != low) ++wrong;
    if (latencies_ns != nullptr) {
      std::uint64_t number;
      std::int64_t stamp_ns;
      std::memcpy(&number, payload + 8, sizeof(number));
      std::memcpy(&stamp_ns, payload + 16, sizeof(stamp_ns));
      if (number != next) ++wrong;
      if (number >= kLatencyDiscarded) latencies_ns->push_back(now_ns() - stamp_ns);
    }
    ++next;
  }
};

// Keeps each reader's state off the others' cache lines.
struct alignas(128) Consumer {
  Check check;
  std::atomic<std::uint64_t> consumed{0};
  std::vector<std::int64_t> latencies_ns;
};

struct Run {
  std::size_t readers;
  std::uint64_t events;
  bool is_paced;  // bursts of kBurstEvents every kBurstPeriodNs, else as fast as it goes
};

// One way to bring events to readers. `publish` may hold events back until `flush`.
class Variant {
 public:
  virtual ~Variant() = default;
  virtual void start(const Run& run, std::vector<Consumer>& consumers) = 0;
  virtual void publish(std::uint64_t number, std::int64_t stamp_ns) = 0;
  virtual void flush() = 0;
  virtual void join() = 0;  // returns when every reader has every event
};

// ---- Ephor ------------------------------------------------------------------------------------

extern "C" ephor_status bench_on_events(void* self, const ephor_event* events, uint32_t count,
                                        ephor_error*) {
  auto* consumer = static_cast<Consumer*>(self);
  Check& check = consumer->check;
  for (uint32_t i = 0; i < count; ++i) {
    if (events[i].time_ns != static_cast<std::int64_t>(check.next)) ++check.wrong;
    check.take(events[i].record);
  }
  return EPHOR_OK;
}

enum class Journaling { off, normal };

class BusVariant final : public Variant {
 public:
  BusVariant(std::size_t batch_events, std::size_t dispatchers, Journaling journaling)
      : batch_events_(batch_events), dispatcher_count_(dispatchers) {
    if (journaling == Journaling::off) return;
    directory_ = std::make_unique<ephor::testing::TemporaryDirectory>();
    SqliteJournalOptions options;
    options.durability = Durability::normal;
    journal_ = std::make_unique<SqliteJournal>(directory_->path(), options);
  }

  void start(const Run& run, std::vector<Consumer>& consumers) override {
    events_ = run.events;
    BusOptions options;
    options.slots = 32'768;
    options.recycle = [this](BatchPointer batch) { pool_.push_back(std::move(batch)); };
    bus_ = std::make_unique<Bus>(std::move(options));
    for (Consumer& consumer : consumers) {
      ephor_plugin plugin{};
      plugin.struct_size = sizeof(plugin);
      plugin.self = &consumer;
      plugin.on_events = bench_on_events;
      plugins_.push_back(plugin);
      readers_.push_back(std::make_unique<Reader>(*bus_, ReaderOptions{}));
    }
    for (std::size_t i = 0; i < dispatcher_count_; ++i) {
      threads_.emplace_back([this, i] { dispatch(i); });
    }
  }

  void publish(std::uint64_t number, std::int64_t stamp_ns) override {
    if (batch_ == nullptr) batch_ = take_batch();
    ephor_event& event = batch_->events[filled_];
    event.sequence = sequence_of(position_ + 1, static_cast<std::uint32_t>(filled_));
    event.time_ns = static_cast<std::int64_t>(number);
    fill_payload(batch_->buffers[0].data() + filled_ * kPayloadBytes, number, stamp_ns);
    if (++filled_ == batch_events_) flush();
  }

  void flush() override {
    if (filled_ == 0) return;
    published_ += filled_;
    if (filled_ < batch_events_) batch_->events.resize(filled_);
    ++position_;
    if (journal_ != nullptr)
      store(*batch_);
    else
      batch_->position = position_;
    bus_->publish(std::move(batch_));
    filled_ = 0;
    // The journal's gate: at the capacity, wait until half of it is free.
    if (published_ - gate_events_ >= kCapacityEvents / 2) {
      if (gate_position_ != 0) bus_->wait_until_read(gate_position_);
      gate_position_ = position_;
      gate_events_ = published_;
    }
  }

  void join() override {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  // As the log does it, on one thread: ids, compression, a transaction.
  void store(Batch& batch) {
    batch.ids.resize(batch.events.size());
    for (std::size_t i = 0; i < batch.ids.size(); ++i) {
      batch.ids[i] = hash128({batch.events[i].record + 8, sizeof(std::uint64_t)});
    }
    Pending pending{&batch, journal_->encode(batch)};
    journal_->append({&pending, 1});
    if (batch.position != position_) throw std::logic_error("the journal counts otherwise");
  }

  BatchPointer take_batch() {
    BatchPointer batch;
    if (pool_.empty()) {
      batch = std::make_unique<Batch>();
      batch->buffers.emplace_back(batch_events_ * kPayloadBytes);
    } else {
      batch = std::move(pool_.back());
      pool_.pop_back();
    }
    if (batch->events.size() != batch_events_) describe(*batch);
    return batch;
  }

  // What stays the same however often the batch is used.
  void describe(Batch& batch) const {
    batch.events.assign(batch_events_, ephor_event{});
    for (std::size_t i = 0; i < batch_events_; ++i) {
      batch.events[i].record = batch.buffers[0].data() + i * kPayloadBytes;
      batch.events[i].record_length = kPayloadBytes;
      batch.events[i].topic = 1;
    }
  }

  void dispatch(std::size_t dispatcher) {
    Waker waker(bus_->wakers());
    const auto mine = [&](auto&& visit) {
      for (std::size_t i = dispatcher; i < readers_.size(); i += dispatcher_count_) visit(i);
    };
    const std::uint64_t last_position = (events_ + batch_events_ - 1) / batch_events_;
    bool is_done = false;
    while (!is_done) {
      bool has_delivered = false;
      is_done = true;
      mine([&](std::size_t i) {
        ephor_plugin& plugin = plugins_[i];
        const auto sink = [&plugin](const ephor_event* events, std::uint32_t count) {
          ephor_error error;
          plugin.on_events(plugin.self, events, count, &error);
        };
        const Reader::State state = readers_[i]->poll(sink, Reader::kSliceEvents).state;
        if (state == Reader::State::fell_behind) throw std::logic_error("the gate did not hold");
        has_delivered |= state == Reader::State::delivered;
        is_done &= readers_[i]->next_position() > last_position;
      });
      if (has_delivered || is_done) continue;
      waker.wait([&] {
        bool has_work = false;
        mine([&](std::size_t i) { has_work |= readers_[i]->has_more(); });
        return has_work;
      });
    }
  }

  const std::size_t batch_events_;
  const std::size_t dispatcher_count_;
  std::unique_ptr<ephor::testing::TemporaryDirectory> directory_;
  std::unique_ptr<SqliteJournal> journal_;
  std::uint64_t events_ = 0;
  std::vector<BatchPointer> pool_;
  std::unique_ptr<Bus> bus_;
  std::vector<ephor_plugin> plugins_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::vector<std::thread> threads_;
  BatchPointer batch_;
  std::size_t filled_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t gate_position_ = 0;
  std::uint64_t gate_events_ = 0;
};

// ---- the others -------------------------------------------------------------------------------

struct Event {
  char payload[kPayloadBytes];
};
using EventPointer = std::shared_ptr<const Event>;

EventPointer make_event(std::uint64_t number, std::int64_t stamp_ns) {
  auto event = std::make_shared<Event>();
  fill_payload(event->payload, number, stamp_ns);
  return event;
}

// One queue per reader; the producer holds back `batch_events` of them and pushes them to each.
class QueueVariant : public Variant {
 public:
  explicit QueueVariant(std::size_t batch_events) : batch_events_(batch_events) {}

  void start(const Run& run, std::vector<Consumer>& consumers) override {
    consumers_ = &consumers;
    open(consumers.size());
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      threads_.emplace_back([this, i, events = run.events] {
        Consumer& consumer = (*consumers_)[i];
        consume(i, events, consumer);
      });
    }
  }
  void publish(std::uint64_t number, std::int64_t stamp_ns) override {
    held_.push_back(make_event(number, stamp_ns));
    if (held_.size() == batch_events_) flush();
  }
  void flush() override {
    if (held_.empty()) return;
    for (const Consumer& consumer : *consumers_) {
      while (published_ - consumer.consumed.load(std::memory_order_acquire) >= kCapacityEvents) {
        std::this_thread::yield();
      }
    }
    push(held_);
    published_ += held_.size();
    held_.clear();
  }
  void join() override {
    for (std::thread& thread : threads_) thread.join();
  }

 protected:
  virtual void open(std::size_t readers) = 0;
  virtual void push(const std::vector<EventPointer>& events) = 0;
  virtual void consume(std::size_t reader, std::uint64_t events, Consumer& consumer) = 0;

  static void take(Consumer& consumer, EventPointer& event) {
    consumer.check.take(event->payload);
    event.reset();
  }
  static void count(Consumer& consumer) {
    consumer.consumed.store(consumer.check.next, std::memory_order_release);
  }

 private:
  const std::size_t batch_events_;
  std::vector<Consumer>* consumers_ = nullptr;
  std::vector<EventPointer> held_;
  std::vector<std::thread> threads_;
  std::uint64_t published_ = 0;
};

enum class Taking { one, all };

class MutexVariant final : public QueueVariant {
 public:
  MutexVariant(std::size_t batch_events, Taking taking)
      : QueueVariant(batch_events), taking_(taking) {}

 private:
  struct alignas(128) Queue {
    std::mutex mutex;
    std::condition_variable has_events;
    std::deque<EventPointer> events;  // guarded by mutex
  };
  void open(std::size_t readers) override { queues_ = std::vector<Queue>(readers); }
  void push(const std::vector<EventPointer>& events) override {
    for (Queue& queue : queues_) {
      {
        const std::lock_guard lock(queue.mutex);
        queue.events.insert(queue.events.end(), events.begin(), events.end());
      }
      queue.has_events.notify_one();
    }
  }
  void consume(std::size_t reader, std::uint64_t events, Consumer& consumer) override {
    Queue& queue = queues_[reader];
    std::deque<EventPointer> taken;
    while (consumer.check.next < events) {
      {
        std::unique_lock lock(queue.mutex);
        queue.has_events.wait(lock, [&] { return !queue.events.empty(); });
        if (taking_ == Taking::all) {
          taken.swap(queue.events);
        } else {
          taken.push_back(std::move(queue.events.front()));
          queue.events.pop_front();
        }
      }
      for (EventPointer& event : taken) take(consumer, event);
      taken.clear();
      count(consumer);
    }
  }

  const Taking taking_;
  std::vector<Queue> queues_;
};

#ifdef EPHOR_BENCH_MOODYCAMEL
template <typename Queue>
class MoodyVariant final : public QueueVariant {
 public:
  explicit MoodyVariant(std::size_t batch_events) : QueueVariant(batch_events) {}

 private:
  void open(std::size_t readers) override {
    for (std::size_t i = 0; i < readers; ++i) {
      queues_.push_back(std::make_unique<Queue>(2 * kCapacityEvents));
      tokens_.push_back(std::make_unique<moodycamel::ProducerToken>(*queues_.back()));
    }
  }
  void push(const std::vector<EventPointer>& events) override {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      queues_[i]->enqueue_bulk(*tokens_[i], events.begin(), events.size());
    }
  }
  void consume(std::size_t reader, std::uint64_t events, Consumer& consumer) override {
    Queue& queue = *queues_[reader];
    moodycamel::ConsumerToken token(queue);
    std::vector<EventPointer> taken(kReadBatch);
    while (consumer.check.next < events) {
      std::size_t taken_count;
      if constexpr (requires { queue.wait_dequeue_bulk(token, taken.begin(), kReadBatch); }) {
        taken_count = queue.wait_dequeue_bulk(token, taken.begin(), kReadBatch);
      } else {
        taken_count = queue.try_dequeue_bulk(token, taken.begin(), kReadBatch);
        if (taken_count == 0) std::this_thread::yield();
      }
      for (std::size_t i = 0; i < taken_count; ++i) take(consumer, taken[i]);
      count(consumer);
    }
  }

  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::unique_ptr<moodycamel::ProducerToken>> tokens_;
};
using MoodyBlocking = MoodyVariant<moodycamel::BlockingConcurrentQueue<EventPointer>>;
using MoodyYielding = MoodyVariant<moodycamel::ConcurrentQueue<EventPointer>>;
#endif

#ifdef EPHOR_BENCH_ZMQ
class ZmqVariant final : public Variant {
 public:
  ~ZmqVariant() override {
    ::zmq_close(publisher_);
    ::zmq_ctx_term(context_);
  }
  void start(const Run& run, std::vector<Consumer>& consumers) override {
    context_ = ::zmq_ctx_new();
    publisher_ = ::zmq_socket(context_, ZMQ_XPUB);
    const int capacity = static_cast<int>(kCapacityEvents) / 2;  // a pipe has both sides' marks
    const int yes = 1;
    require(::zmq_setsockopt(publisher_, ZMQ_SNDHWM, &capacity, sizeof(capacity)));
    require(::zmq_setsockopt(publisher_, ZMQ_XPUB_NODROP, &yes, sizeof(yes)));
    require(
        ::zmq_setsockopt(publisher_, ZMQ_XPUB_VERBOSE, &yes, sizeof(yes)));  // every subscriber's
    require(::zmq_bind(publisher_, "inproc://bench"));
    for (Consumer& consumer : consumers) {
      threads_.emplace_back([this, capacity, events = run.events, &consumer] {
        void* socket = ::zmq_socket(context_, ZMQ_SUB);
        require(::zmq_setsockopt(socket, ZMQ_RCVHWM, &capacity, sizeof(capacity)));
        require(::zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0));
        require(::zmq_connect(socket, "inproc://bench"));
        zmq_msg_t message;
        ::zmq_msg_init(&message);
        while (consumer.check.next < events) {
          if (::zmq_msg_recv(&message, socket, 0) < 0) continue;
          consumer.check.take(static_cast<const char*>(::zmq_msg_data(&message)));
        }
        ::zmq_msg_close(&message);
        ::zmq_close(socket);
      });
    }
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      char subscription[8];
      require(::zmq_recv(publisher_, subscription, sizeof(subscription), 0));
    }
  }
  void publish(std::uint64_t number, std::int64_t stamp_ns) override {
    zmq_msg_t message;
    ::zmq_msg_init_size(&message, kPayloadBytes);
    fill_payload(static_cast<char*>(::zmq_msg_data(&message)), number, stamp_ns);
    require(::zmq_msg_send(&message, publisher_, 0));
  }
  void flush() override {}
  void join() override {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  static void require(int result) {
    if (result < 0) throw std::runtime_error(std::string("zmq: ") + ::zmq_strerror(errno));
  }
  void* context_ = nullptr;
  void* publisher_ = nullptr;
  std::vector<std::thread> threads_;
};
#endif

// ---- measuring --------------------------------------------------------------------------------

struct Measured {
  double million_per_second = 0;
  double cpu_ns_per_event = 0;
  double cpu_percent = 0;
  double p50_us = 0;
  double p99_us = 0;
};

double quantile(std::vector<std::int64_t>& values, double q) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return static_cast<double>(values[at]);
}

void sleep_until(std::int64_t time_ns) {
  const timespec until{time_ns / 1'000'000'000, time_ns % 1'000'000'000};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

void produce(Variant& variant, const Run& run) {
  if (!run.is_paced) {
    for (std::uint64_t number = 0; number < run.events; ++number) variant.publish(number, 0);
    variant.flush();
    return;
  }
  std::int64_t burst_ns = now_ns() + 1'000'000;
  for (std::uint64_t number = 0; number < run.events;) {
    sleep_until(burst_ns);
    for (std::uint64_t i = 0; i < kBurstEvents && number < run.events; ++i, ++number) {
      variant.publish(number, now_ns());
    }
    variant.flush();
    burst_ns += kBurstPeriodNs;
  }
}

Measured measure(Variant& variant, const std::string& name, const Run& run) {
  std::vector<Consumer> consumers(run.readers);
  for (Consumer& consumer : consumers) {
    if (!run.is_paced) continue;
    consumer.latencies_ns.reserve(run.events);
    consumer.check.latencies_ns = &consumer.latencies_ns;
  }
  variant.start(run, consumers);
  sleep_until(now_ns() + 2'000'000);  // thread start-up is not what is measured
  const double cpu_begin = cpu_seconds();
  const std::int64_t begin_ns = now_ns();
  produce(variant, run);
  variant.join();
  const auto wall_ns = static_cast<double>(now_ns() - begin_ns);
  const double cpu_ns = (cpu_seconds() - cpu_begin) * 1e9;

  std::vector<std::int64_t> latencies_ns;
  for (const Consumer& consumer : consumers) {
    if (consumer.check.next != run.events || consumer.check.wrong != 0) {
      throw std::runtime_error(name + ": a reader saw " + std::to_string(consumer.check.next) +
                               " events, " + std::to_string(consumer.check.wrong) +
                               " wrong, expected " + std::to_string(run.events) + " and 0");
    }
    latencies_ns.insert(latencies_ns.end(), consumer.latencies_ns.begin(),
                        consumer.latencies_ns.end());
  }
  Measured measured;
  measured.million_per_second = static_cast<double>(run.events) * 1e3 / wall_ns;
  measured.cpu_ns_per_event = cpu_ns / static_cast<double>(run.events);
  measured.cpu_percent = 100 * cpu_ns / wall_ns;
  measured.p50_us = quantile(latencies_ns, 0.5) * 1e-3;
  measured.p99_us = quantile(latencies_ns, 0.99) * 1e-3;
  return measured;
}

double median_of(const std::vector<Measured>& runs, double Measured::*field) {
  std::vector<double> values;
  for (const Measured& run : runs) values.push_back(run.*field);
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

struct Row {
  std::string name;
  std::uint64_t events;  // of a throughput run, about 0.1 to 0.3 s
  std::function<std::unique_ptr<Variant>()> make;
};

std::vector<Row> bus_rows(std::size_t readers, const std::vector<std::size_t>& batch_sizes) {
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  std::vector<Row> rows;
  for (const std::size_t batch : batch_sizes) {
    const std::uint64_t events = batch == 1 ? 500'000 : 3'000'000;
    const std::string name = "ephor_b" + std::to_string(batch);
    const auto with = [batch](std::size_t dispatchers) {
      return [=] { return std::make_unique<BusVariant>(batch, dispatchers, Journaling::off); };
    };
    rows.push_back({name, events, with(std::min(readers, cores))});
    if (readers > cores) rows.push_back({name + "_thread_each", events, with(readers)});
  }
  return rows;
}

std::vector<Row> rows_of(std::size_t readers, bool is_paced) {
  std::vector<Row> rows = bus_rows(readers, is_paced ? std::vector<std::size_t>{kBurstEvents, 1}
                                                     : std::vector<std::size_t>{256, 32, 1});
  if (!is_paced) {
    const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
    rows.push_back({"ephor_b1000_journal_normal", 1'000'000, [=] {
                      return std::make_unique<BusVariant>(1000, std::min(readers, cores),
                                                          Journaling::normal);
                    }});
  }
  const std::uint64_t events = 1'000'000 / (readers + 1);
  [[maybe_unused]] const std::size_t bulk = is_paced ? kBurstEvents : 32;
#ifdef EPHOR_BENCH_MOODYCAMEL
  const std::string suffix = "_b" + std::to_string(bulk);
  rows.push_back({"moodycamel_blocking" + suffix, events,
                  [=] { return std::make_unique<MoodyBlocking>(bulk); }});
  if (!is_paced) {
    rows.push_back({"moodycamel_yielding" + suffix, events,
                    [=] { return std::make_unique<MoodyYielding>(bulk); }});
  }
#endif
#ifdef EPHOR_BENCH_ZMQ
  rows.push_back({"zeromq", events, [] { return std::make_unique<ZmqVariant>(); }});
#endif
  rows.push_back(
      {"mutex_swap", events / 2, [] { return std::make_unique<MutexVariant>(1, Taking::all); }});
  rows.push_back(
      {"mutex_pop", events / 2, [] { return std::make_unique<MutexVariant>(1, Taking::one); }});
  rows.push_back({"mutex_swap_b" + std::to_string(bulk), events,
                  [=] { return std::make_unique<MutexVariant>(bulk, Taking::all); }});
  return rows;
}

// Best of the rows whose name begins with `prefix`; 0 if there are none.
double best_of(const std::map<std::string, std::vector<Measured>>& results,
               const std::string& prefix, double Measured::*field, bool is_more_better,
               const std::string& but_not = "\n") {
  double best = 0;
  for (const auto& [name, runs] : results) {
    if (name.rfind(prefix, 0) != 0 || name.rfind(but_not, 0) == 0) continue;
    const double value = median_of(runs, field);
    if (best == 0 || (is_more_better ? value > best : value < best)) best = value;
  }
  return best;
}

using Results = std::map<std::string, std::vector<Measured>>;

Results run_all(std::size_t readers, bool is_paced, int repetitions) {
  Results results;
  const std::vector<Row> rows = rows_of(readers, is_paced);
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (const Row& row : rows) {
      const std::uint64_t events = is_paced ? 20'000 : row.events;
      const std::unique_ptr<Variant> variant = row.make();
      results[row.name].push_back(measure(*variant, row.name, {readers, events, is_paced}));
    }
  }
  std::printf("\n%s, %zu reader%s, median of %d\n",
              is_paced ? "50,000 events/s in bursts of 10" : "Throughput", readers,
              readers == 1 ? "" : "s", repetitions);
  std::printf(is_paced ? "%-30s %10s %10s %8s\n" : "%-30s %10s %14s\n", "variant",
              is_paced ? "p50 us" : "M ev/s", is_paced ? "p99 us" : "CPU ns/event", "CPU %");
  for (const Row& row : rows) {
    const std::vector<Measured>& runs = results[row.name];
    if (is_paced) {
      std::printf("%-30s %10.2f %10.1f %8.1f\n", row.name.c_str(),
                  median_of(runs, &Measured::p50_us), median_of(runs, &Measured::p99_us),
                  median_of(runs, &Measured::cpu_percent));
    } else {
      std::printf("%-30s %10.2f %14.1f\n", row.name.c_str(),
                  median_of(runs, &Measured::million_per_second),
                  median_of(runs, &Measured::cpu_ns_per_event));
    }
  }
  std::fflush(stdout);
  return results;
}

void add_figures(nlohmann::json& figures, const Results& results, const std::string& suffix,
                 bool is_paced) {
  for (const auto& [name, runs] : results) {
    const auto add = [&](const char* what, double Measured::*field) {
      figures[name + "_" + what + suffix] = median_of(runs, field);
    };
    if (is_paced) {
      add("p50_us", &Measured::p50_us);
      add("p99_us", &Measured::p99_us);
      add("latency_cpu_percent", &Measured::cpu_percent);
    } else {
      add("m_events_per_s", &Measured::million_per_second);
      add("cpu_ns_per_event", &Measured::cpu_ns_per_event);
    }
  }
}

// The product's default, batches of 256, against the best of each competitor's rows that publish as
// that competitor is used.
void compare_throughput(nlohmann::json& figures, const Results& results,
                        const std::string& suffix) {
  const double own = median_of(results.at("ephor_b256"), &Measured::million_per_second);
  const double own_cpu = median_of(results.at("ephor_b256"), &Measured::cpu_ns_per_event);
  const auto compare = [&](const std::string& prefix, const std::string& but_not) {
    const double other = best_of(results, prefix, &Measured::million_per_second, true, but_not);
    if (other == 0) return;
    const double other_cpu = best_of(results, prefix, &Measured::cpu_ns_per_event, false, but_not);
    figures["ratio_" + prefix + suffix] = own / other;
    figures["ratio_cpu_" + prefix + suffix] = other_cpu / own_cpu;
    std::printf("ephor_b256 / best %s: %.1fx, CPU %.1fx less\n", prefix.c_str(), own / other,
                other_cpu / own_cpu);
  };
  compare("moodycamel", "\n");
  compare("zeromq", "\n");
  compare("mutex", "mutex_swap_b");
  std::printf("ephor_b256 / mutex_swap_b32: %.1fx\n",
              own / best_of(results, "mutex_swap_b", &Measured::million_per_second, true));
}

void compare_latency(nlohmann::json& figures, const Results& results, const std::string& suffix) {
  double best_other = 0;
  for (const char* prefix : {"moodycamel", "zeromq", "mutex"}) {
    const double other = best_of(results, prefix, &Measured::p50_us, false);
    if (other != 0 && (best_other == 0 || other < best_other)) best_other = other;
  }
  const double own = best_of(results, "ephor", &Measured::p50_us, false, "ephor_b10_thread_each");
  figures["best_other_p50_us" + suffix] = best_other;
  figures["ratio_p50" + suffix] = own / best_other;
  std::printf("best ephor p50 / best other p50: %.2f\n", own / best_other);
}

int run(int repetitions, const char* json_file) {
  std::printf("%zu-byte payloads, %llu events between producer and slowest reader, %u cores\n",
              kPayloadBytes, static_cast<unsigned long long>(kCapacityEvents),
              std::thread::hardware_concurrency());
#ifndef EPHOR_BENCH_MOODYCAMEL
  std::printf("moodycamel: not installed when this was built, rows are absent\n");
#endif
#ifndef EPHOR_BENCH_ZMQ
  std::printf("ZeroMQ: not installed when this was built, rows are absent\n");
#endif
  nlohmann::json figures = nlohmann::json::object();
  for (const std::size_t readers : {1, 2, 5}) {
    const std::string suffix = "_" + std::to_string(readers) + "_readers";
    const Results throughput = run_all(readers, false, repetitions);
    add_figures(figures, throughput, suffix, false);
    compare_throughput(figures, throughput, suffix);
    const Results latency = run_all(readers, true, repetitions);
    add_figures(figures, latency, suffix, true);
    compare_latency(figures, latency, suffix);
  }
  if (json_file != nullptr) {
    std::ofstream out(json_file);
    out << nlohmann::json{{"name", "bus"}, {"figures", figures}}.dump(2) << '\n';
    if (!out.flush()) throw std::runtime_error(std::string(json_file) + ": cannot be written");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const option options[] = {{"json", required_argument, nullptr, 'j'},
                            {"repetitions", required_argument, nullptr, 'r'},
                            {"data", required_argument, nullptr, 'd'},
                            {}};
  const char* json_file = nullptr;
  int repetitions = 7;
  for (int letter; (letter = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    if (letter == 'j') json_file = optarg;
    if (letter == 'r') repetitions = std::atoi(optarg);
    if (letter == '?') return 2;
  }
  if (repetitions < 1 || optind != argc) {
    std::fprintf(stderr, "usage: bench_bus [--json FILE] [--repetitions N]   (N >= 1)\n");
    return 2;
  }
  try {
    return run(repetitions, json_file);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_bus: %s\n", error.what());
    return 1;
  }
}
