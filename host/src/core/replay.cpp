// SPDX-License-Identifier: Apache-2.0
#include "core/replay.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <iterator>
#include <mutex>
#include <span>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/logger.hpp"
#include "core/process_usage.hpp"
#include "event/error.hpp"
#include "ingest/gunzip.hpp"
#include "ingest/line_chunker.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kRejectionsKept = 100;
constexpr std::uint32_t kChunkLines = 1000;
constexpr std::uint32_t kPacedChunkLines = 20;  // with a speed, so that time flows evenly
constexpr std::size_t kChunksAhead = 4;
constexpr std::size_t kDerivedBatchMax = 16'384;

// Bodies of whole records, one after another, and when each arrived.
class Source {
 public:
  virtual ~Source() = default;
  // Empty at the end.
  virtual std::optional<LineChunk> next() = 0;
  virtual std::int64_t arrived_ns() const = 0;     // of the chunk given last
  virtual bool is_flush() const { return false; }  // the chunk given last holds no records but one
  virtual std::uint32_t format() const { return EPHOR_FORMAT_LINES; }  // of the chunk given last
  // See Admission: which of the host's own sources may be in it.
  virtual std::string_view own_source() const { return {}; }
};

class FileSource final : public Source {
 public:
  FileSource(const std::filesystem::path& file, std::uint32_t lines, std::size_t record_bytes_max)
      : reader_(file), chunker_(reader_, {lines, 4U << 20, record_bytes_max}) {}
  std::optional<LineChunk> next() override { return chunker_.next(); }
  std::int64_t arrived_ns() const override { return wall_clock_ns(); }

 private:
  GzipReader reader_;
  LineChunker chunker_;
};

// What came from outside into another host; what it derived and made itself is made anew. Only a
// flush is taken over: the clock made it, and what follows it may be late because of it.
class JournalSource final : public Source {
 public:
  explicit JournalSource(const std::filesystem::path& data_dir)
      : journal_(data_dir, {.read_only = true}) {}

  std::optional<LineChunk> next() override {
    if (!waiting_.empty()) return take_waiting();
    StoredBatch stored;
    const auto leave_out = [](const DamageError& damage) {
      log(EPHOR_LOG_ERROR, kHostName, std::string("left out: ") + damage.what());
    };
    while (next_readable(journal_, position_, stored, leave_out)) {
      position_ = stored.position + 1;
      is_flush_ = is_flush_batch(stored);
      format_ = EPHOR_FORMAT_LINES;
      if (is_flush_) return LineChunk();
      arrived_ns_ = stored.arrived_ns;
      collect(stored);
      if (!waiting_.empty()) return take_waiting();
    }
    return std::nullopt;
  }
  std::uint32_t format() const override { return format_; }
  // As it was: events that carry no time have that of their arrival.
  std::int64_t arrived_ns() const override { return arrived_ns_; }
  bool is_flush() const override { return is_flush_; }
  // Commands and outcomes of effects that plugins brought into that log.
  std::string_view own_source() const override { return kAnyOwnSource; }

 private:
  struct Run {  // records of one encoding that follow each other
    std::uint32_t format = EPHOR_FORMAT_LINES;
    std::uint32_t count = 0;
    std::string body;
  };

  void collect(const StoredBatch& stored) {
    for (std::size_t i = 0; i < stored.records.size(); ++i) {
      if ((stored.records[i].flags & (EPHOR_EVENT_DERIVED | EPHOR_EVENT_HOST)) != 0) continue;
      const bool is_span = stored.records[i].encoding == EPHOR_ENCODING_OTLP;
      const std::uint32_t format = is_span ? kFormatStoredSpans : EPHOR_FORMAT_LINES;
      if (waiting_.empty() || waiting_.back().format != format) waiting_.push_back({format, 0, {}});
      std::string& body = waiting_.back().body;
      ++waiting_.back().count;
      if (is_span) {
        append_stored_span(body, stored.source(i), stored.record(i));
        continue;
      }
      const std::size_t begin = body.size();
      body += stored.record(i);
      // A record that came as a single object may hold line breaks between its tokens.
      std::replace(body.begin() + static_cast<std::ptrdiff_t>(begin), body.end(), '\n', ' ');
      body += '\n';
    }
  }

  LineChunk take_waiting() {
    const Run run = std::move(waiting_.front());
    waiting_.pop_front();
    format_ = run.format;
    LineChunk chunk;
    chunk.line_count = run.count;
    chunk.body = Buffer(run.body.size());
    std::copy(run.body.begin(), run.body.end(), chunk.body.data());
    chunk.body.set_size(run.body.size());
    return chunk;
  }

  // The log gives it a batch of its own.
  static bool is_flush_batch(const StoredBatch& stored) {
    return stored.records.size() == 1 && (stored.records[0].flags & EPHOR_EVENT_HOST) != 0 &&
           stored.record(0).find(R"("type":"ephor.flush")") != std::string_view::npos;
  }

  SqliteJournal journal_;
  std::deque<Run> waiting_;  // of the batch read last
  std::uint32_t format_ = EPHOR_FORMAT_LINES;
  std::int64_t arrived_ns_ = 0;
  bool is_flush_ = false;
  std::uint64_t position_ = 1;
};

// A chunk on its way from the thread that prepares to the one that commits.
struct Prepared {
  std::vector<EventLog::Submission> submissions;
  IngestCounts counts;
  std::uint64_t rejected = 0;
  std::uint64_t left_out = 0;
  std::int64_t first_time_ns = INT64_MIN;
  std::vector<Rejection> rejections;
};

class Pipeline {
 public:
  Pipeline(Host& host, Source& source, const ReplayOptions& options)
      : host_(host), source_(source), options_(options), thread_([this] { produce(); }) {}

  ~Pipeline() {
    {
      const std::scoped_lock lock(mutex_);
      is_cancelled_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  // Empty at the end. Throws what reading threw, after all that was read before.
  std::optional<Prepared> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !queue_.empty() || is_at_end_; });
    if (queue_.empty()) {
      if (failure_) std::rethrow_exception(failure_);
      return std::nullopt;
    }
    Prepared prepared = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return prepared;
  }

 private:
  void produce() {
    std::exception_ptr failure;
    try {
      while (auto chunk = source_.next()) {
        if (!push(source_.is_flush() ? prepare_flush() : prepare(std::move(*chunk)))) return;
      }
    } catch (...) {
      failure = std::current_exception();
    }
    const std::scoped_lock lock(mutex_);
    failure_ = failure;
    is_at_end_ = true;
    changed_.notify_all();
  }

  bool push(Prepared prepared) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return queue_.size() < kChunksAhead || is_cancelled_; });
    if (is_cancelled_) return false;
    queue_.push_back(std::move(prepared));
    changed_.notify_all();
    return true;
  }

  Prepared prepare_flush() {
    Prepared out;
    if (auto submission = host_.log().prepare_flush()) {
      out.submissions.push_back(std::move(*submission));
    }
    return out;
  }

  Prepared prepare(LineChunk chunk) {
    Prepared out;
    out.rejected = chunk.rejections.size();
    out.rejections = std::move(chunk.rejections);
    Arrival arrival =
        host_.door().admit(std::move(chunk.body), {.format = source_.format(),
                                                   .arrived_ns = source_.arrived_ns(),
                                                   .first_line = chunk.first_line,
                                                   .own_source = source_.own_source()});
    out.rejected += arrival.rejected_count;
    std::move(arrival.rejections.begin(), arrival.rejections.end(),
              std::back_inserter(out.rejections));
    for (ArrivedBatch& arrived : arrival.batches) {
      if (options_.until_ns) out.left_out += leave_out_later(arrived);
      if (arrived.records.empty()) continue;
      if (out.first_time_ns == INT64_MIN) {
        out.first_time_ns = arrived.batch->events[arrived.records[0].first_event].time_ns;
      }
      out.submissions.push_back(host_.log().prepare(std::move(arrived), out.counts));
    }
    return out;
  }

  std::uint64_t leave_out_later(ArrivedBatch& arrived) const {
    return std::erase_if(arrived.records, [&](const RecordGroup& record) {
      return arrived.batch->events[record.first_event].time_ns > *options_.until_ns;
    });
  }

  Host& host_;
  Source& source_;
  const ReplayOptions& options_;
  std::mutex mutex_;  // guards down to is_at_end_
  std::condition_variable changed_;
  std::deque<Prepared> queue_;
  std::exception_ptr failure_;
  bool is_cancelled_ = false;
  bool is_at_end_ = false;
  std::thread thread_;
};

// Sleeps so that log time runs `speed` times as fast as the clock.
class Pace {
 public:
  Pace(double speed, const std::function<bool()>& should_stop)
      : speed_(speed), should_stop_(should_stop) {}

  void wait_for(std::int64_t time_ns) {
    if (speed_ <= 0.0 || time_ns == INT64_MIN) return;
    if (first_ns_ == INT64_MIN) {
      first_ns_ = time_ns;
      began_ns_ = monotonic_ns();
    }
    const auto due_ns =
        began_ns_ + static_cast<std::int64_t>(static_cast<double>(time_ns - first_ns_) / speed_);
    constexpr std::int64_t kLookUpNs = 50'000'000;
    while (monotonic_ns() < due_ns && !(should_stop_ && should_stop_())) {
      std::this_thread::sleep_for(
          std::chrono::nanoseconds(std::min(kLookUpNs, due_ns - monotonic_ns())));
    }
  }

 private:
  const double speed_;
  const std::function<bool()>& should_stop_;
  std::int64_t first_ns_ = INT64_MIN;
  std::int64_t began_ns_ = 0;
};

void finish_round(Host& host) {
  for (;;) {
    constexpr std::int64_t kRoundNs = 600'000'000'000;
    if (!host.wait_until_read(kRoundNs)) {
      throw HostError(EPHOR_TIMEOUT, "a plugin did not read its events within 600 s");
    }
    std::vector<DerivedDraft> drafts;
    for (const auto& instance : host.instances()) {
      auto taken = instance->take_derived();
      std::move(taken.begin(), taken.end(), std::back_inserter(drafts));
    }
    if (drafts.empty()) return;
    std::sort(drafts.begin(), drafts.end(), comes_before);
    bool has_come_more = false;
    for (std::size_t at = 0; at < drafts.size(); at += kDerivedBatchMax) {
      const std::size_t count = std::min(kDerivedBatchMax, drafts.size() - at);
      auto submission = host.log().prepare_derived(std::span(drafts).subspan(at, count));
      if (!submission) continue;
      has_come_more = true;
      host.log().commit_now(std::move(*submission));
    }
    if (!has_come_more) return;
  }
}

// Between two rounds all that was derived is in the journal: the time to save. Sooner when a plugin
// fails now and then, so that it has not far to go back.
class Checkpoints {
 public:
  explicit Checkpoints(Host& host) : host_(host), last_ns_(monotonic_ns()) {}

  void take_if_due() {
    const std::int64_t every_ns = host_.settings().checkpoint_every_ns;
    const auto all = host_.instances();
    const bool has_failed = std::any_of(all.begin(), all.end(),
                                        [](const auto& one) { return one->restart_count() != 0; });
    const bool is_due = every_ns > 0 && monotonic_ns() - last_ns_ >= every_ns;
    if (!is_due && !has_failed) return;
    host_.checkpoint();
    last_ns_ = monotonic_ns();
  }

 private:
  Host& host_;
  std::int64_t last_ns_;
};

}  // namespace

ReplayResult replay(Host& host, const ReplayOptions& options) {
  const std::uint32_t lines = options.speed > 0.0 ? kPacedChunkLines : kChunkLines;
  std::unique_ptr<Source> source;
  if (!options.journal.empty()) {
    source = std::make_unique<JournalSource>(options.journal);
  } else {
    source =
        std::make_unique<FileSource>(options.file, lines, host.settings().ingest.record_bytes_max);
  }
  ReplayResult result;
  const std::int64_t began_ns = monotonic_ns();
  const double cpu_began = process_cpu_seconds();
  finish_round(host);  // what an earlier run left unread
  Pace pace(options.speed, options.should_stop);
  Checkpoints checkpoints(host);
  std::exception_ptr failure;
  try {
    Pipeline pipeline(host, *source, options);
    while (auto prepared = pipeline.next()) {
      if (options.should_stop && options.should_stop()) {
        result.was_stopped = true;
        break;
      }
      pace.wait_for(prepared->first_time_ns);
      for (EventLog::Submission& submission : prepared->submissions) {
        host.log().commit_now(std::move(submission));
      }
      finish_round(host);
      checkpoints.take_if_due();
      result.applied += prepared->counts.accepted;
      result.duplicates += prepared->counts.duplicate;
      result.events += prepared->counts.events;
      result.rejected += prepared->rejected;
      result.left_out += prepared->left_out;
      for (Rejection& rejection : prepared->rejections) {
        if (result.rejections.size() < kRejectionsKept)
          result.rejections.push_back(std::move(rejection));
      }
    }
  } catch (...) {
    failure = std::current_exception();
  }
  // A journal says itself whether what waited at its end was released.
  const bool has_end = options.journal.empty() || options.until_ns.has_value();
  if (!result.was_stopped && failure == nullptr && has_end) {
    if (auto submission = host.log().prepare_flush()) {
      host.log().commit_now(std::move(*submission));
      finish_round(host);
    }
  }
  constexpr std::int64_t kSaveNs = 600'000'000'000;
  if (!host.save(kSaveNs)) throw HostError(EPHOR_IO, "the replay's results could not be saved");
  if (failure != nullptr) std::rethrow_exception(failure);
  result.seconds = static_cast<double>(monotonic_ns() - began_ns) * 1e-9;
  result.cpu_seconds = process_cpu_seconds() - cpu_began;
  return result;
}

Json replay_summary(Host& host, const ReplayResult& result) {
  Json out = Json::object();
  // A figure whose plugin is not there has no data.
  for (const char* key : {"spans", "error_spans", "traces", "predictions", "outcomes_joined",
                          "decisions", "trades", "trades_closed", "trades_won", "pnl"}) {
    out[key] = nullptr;
  }
  out["findings"] = Json::array();
  for (const QueryEntry& query : host.registry().queries()) {
    if (!query.name.ends_with(".summary")) continue;
    try {
      const Json part = Json::parse(host.query(query.name));
      for (const auto& [key, value] : part.items()) {
        if (key == "findings") {
          for (const Json& finding : value) out["findings"].push_back(finding);
        } else {
          out[key] = value;
        }
      }
    } catch (const std::exception& failure) {
      log(EPHOR_LOG_WARNING, kHostName, "summary: " + query.name + ": " + failure.what());
    }
  }
  out["applied"] = result.applied;
  out["duplicates"] = result.duplicates;
  out["rejected"] = result.rejected;
  out["events"] = result.events;
  out["left_out"] = result.left_out;
  out["seconds"] = result.seconds;
  out["cpu_seconds"] = result.cpu_seconds;
  out["peak_rss_mb"] = static_cast<double>(peak_resident_bytes()) / (1024.0 * 1024.0);
  out["rejections"] = Json::array();
  for (const Rejection& rejection : result.rejections) {
    out["rejections"].push_back({{"line", rejection.line},
                                 {"pointer", rejection.json_pointer},
                                 {"reason", rejection.reason}});
  }
  return out;
}

}  // namespace ephor::host
