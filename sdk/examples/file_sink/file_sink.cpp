// SPDX-License-Identifier: Apache-2.0
//
// Writes events to files, one JSON object a line: each once, whatever is killed or full meanwhile.
//
// on_events only says how far the log goes. A thread of the plugin's own reads the journal from its
// own place on, writes, waits for the disk and only then moves the place, which is the state. So a
// slow disk holds up nobody, a full one loses nothing, and after a crash the files are cut back to
// the place of the last checkpoint and the lines behind it are written again.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <ephor/json_value.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <mutex>
#include <thread>

#include "numbered_file.hpp"

namespace {

class FileSink final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "Writes events to files, one a line, each once";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = R"({
    "type": "object", "additionalProperties": false, "properties": {
      "path": {"type": "string", "default": "",
        "description": "The files are PATH.000001 and so on, relative to the data directory; empty: INSTANCE.ndjson"},
      "topics": {"type": "string", "default": ">",
        "pattern": "^([A-Za-z0-9_-]+|[*])([.]([A-Za-z0-9_-]+|[*]))*([.]>)?$|^>$",
        "description": "Pattern of the topics that are written"},
      "rotate_bytes": {"type": "integer", "minimum": 1, "default": 67108864,
        "description": "Where a file would grow beyond it, the next one begins"},
      "retry_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 3600, "default": 1,
        "description": "Seconds between two attempts where writing fails"}}})";

  FileSink(ephor::Host host, std::string_view config_text)
      : host_(std::move(host)), journal_(host_.required<ephor_journal>("ephor.journal/1")) {
    const ephor::JsonValue config = ephor::parse_json_value(config_text);
    path_ = config.text_of("path", "");
    if (path_.empty()) path_ = host_.instance() + ".ndjson";
    topics_ = config.text_of("topics", ">");
    rotate_bytes_ = static_cast<std::uint64_t>(config.integer_of("rotate_bytes", 67108864));
    retry_ = std::chrono::duration<double>(config.number_of("retry_s", 1.0));
    host_.subscribe({topics_});
  }
  ~FileSink() override { stop(); }

  // Effects on the world belong to the live run. A replay only moves the place.
  void start() override {
    const std::string snapshot = host_.health_snapshot();
    const ephor::JsonValue health = ephor::parse_json_value(snapshot);
    if (health.text_of("mode") != "live") return;
    const std::filesystem::path folder = health.text_of("data_dir", "");
    seen_ = journal_.last_sequence(journal_.context);  // what was not written before the last stop
    writer_ = std::thread([this, path = (folder / path_).string()] { write(path); });
  }
  void on_events(std::span<const ephor::Event> events) override {
    const std::lock_guard lock(mutex_);
    seen_ = events.back().sequence;
    if (!writer_.joinable()) next_ = seen_ + 1;
    news_.notify_all();
  }
  void drain(std::int64_t deadline_ns) override {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point deadline{std::chrono::nanoseconds(deadline_ns)};
    std::unique_lock lock(mutex_);
    news_.wait_until(lock, deadline, [this] { return next_ > seen_ || !writer_.joinable(); });
  }
  void stop() override {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      news_.notify_all();
    }
    if (writer_.joinable()) writer_.join();
  }

  void save(const ephor::Rows&, std::string& state) override {
    const std::lock_guard lock(mutex_);
    ephor::StateWriter(state).u64(next_).u32(place_.number).u64(place_.size_bytes);
  }
  bool load(std::uint32_t version, std::string_view state) override {
    is_known_ = version == kStateVersion && ephor::read_state(state, [&](ephor::StateReader& in) {
                  next_ = in.u64();
                  place_.number = in.u32();
                  place_.size_bytes = in.u64();
                });
    return is_known_;
  }

 private:
  // The writer's thread.
  void write(const std::string& path) {
    sink::NumberedFile file(path);
    bool is_open = false;
    while (wait_for_news()) {
      try {
        if (!is_known_) file.set_aside();
        is_known_ = true;
        if (!is_open) file.rewind(place_);
        is_open = true;
        write_batch(file);
        report(EPHOR_HEALTH_OK, "");
      } catch (const std::exception& failure) {  // the disk, or the journal for a moment
        is_open = false;
        report(EPHOR_HEALTH_DEGRADED, failure.what());
        std::unique_lock lock(mutex_);
        news_.wait_for(lock, retry_, [this] { return is_stopping_; });
      }
    }
  }
  bool wait_for_news() {
    std::unique_lock lock(mutex_);
    news_.wait(lock, [this] { return is_stopping_ || next_ <= seen_; });
    return !is_stopping_;
  }

  void write_batch(sink::NumberedFile& file) {
    struct Batch {
      const FileSink& sink;
      std::string lines;
      std::uint64_t next;
      bool is_whole;
    } batch{*this, "", next_, true};
    const std::uint64_t seen = [this] {
      const std::lock_guard lock(mutex_);
      return seen_;  // before reading: all up to here is in the journal
    }();
    std::uint64_t unread = 0;
    ephor::check([&](ephor_error* error) {
      return journal_.read(
          journal_.context, next_, ephor::to_view(topics_), 256,
          [](void* user, const ephor_event* event) {
            auto& to = *static_cast<Batch*>(user);
            const auto status = ephor::guarded(nullptr, [&] { append(to, *event); });
            to.is_whole = to.is_whole && status == EPHOR_OK;
          },
          &batch, &unread, error);
    });
    if (!batch.is_whole) throw ephor::Error(EPHOR_FULL, "a line could not be made");
    if (!batch.lines.empty()) file.append(batch.lines, rotate_bytes_);
    const std::lock_guard lock(mutex_);
    next_ = unread != 0 ? batch.next : std::max(batch.next, seen + 1);
    place_ = file.place();
    news_.notify_all();
  }
  template <typename Batch>
  static void append(Batch& batch, const ephor::Event& event) {
    const std::size_t begin = batch.lines.size();
    batch.lines += batch.sink.host_.render_json(event);
    // JSON text holds a line break only between values, where a blank means the same.
    std::replace(batch.lines.begin() + static_cast<std::ptrdiff_t>(begin), batch.lines.end(), '\n',
                 ' ');
    batch.lines += '\n';
    batch.next = event.sequence + 1;
  }

  // Only when it changes: the reason stands in the health, not in a stream of log lines.
  void report(std::int32_t state, const std::string& reason) {
    if (state == health_ && reason == reason_) return;
    health_ = state;
    reason_ = reason;
    host_.report_health(state, reason);
  }

  ephor::Host host_;
  const ephor_journal& journal_;
  std::string path_;
  std::string topics_;
  std::uint64_t rotate_bytes_ = 0;
  std::chrono::duration<double> retry_{};
  std::int32_t health_ = EPHOR_HEALTH_OK;  // of the writer's thread, as the four below it
  std::string reason_;
  bool is_known_ = false;  // the files are those of the state

  std::mutex mutex_;  // guards all below
  std::condition_variable news_;
  std::uint64_t seen_ = 0;  // the last event that came
  std::uint64_t next_ = 0;  // the first that is not written
  sink::Place place_;       // where it will stand
  bool is_stopping_ = false;
  std::thread writer_;
};

}  // namespace

EPHOR_PLUGIN(FileSink, "file_sink")
