// SPDX-License-Identifier: Apache-2.0
//
// A plugin that counts exactly what it sees and, when told to, misbehaves in one of the ways a
// plugin can: for the tests of whatever has to live with that. What its configuration can say is in
// kConfigSchema; what it counted answers the query faulty.INSTANCE.
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace ephor::faulty {
namespace {

constexpr std::string_view kSchema = R"json({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "mode": {"enum": ["none", "throw", "throw_on", "hang", "spin", "leak", "null_write", "abort",
      "exit", "sleep", "slow"], "default": "none",
      "description": "What it does; throw_on throws at each event whose data has \"poison\": true."},
    "in": {"enum": ["on_events", "query", "start", "create", "save", "load", "stop", "task"],
      "default": "on_events", "description": "In which call; task: in one that start hands over."},
    "at_count": {"type": "integer", "minimum": 1, "default": 1,
      "description": "At the Nth event (or call) it sees; leak and slow from then on."},
    "once_file": {"type": "string", "default": "",
      "description": "A file made just before it acts; while it exists, nothing is done."},
    "topic": {"type": "string", "default": ">", "description": "What it subscribes to."},
    "policy": {"enum": ["replay", "drop_oldest"], "default": "replay"},
    "stateful": {"type": "boolean", "default": true,
      "description": "Saves its counts, and one row per topic."},
    "value": {"default": null, "description": "Told back by the query; exit: the exit status."},
    "per_event_ns": {"type": "integer", "minimum": 0, "default": 0,
      "description": "slow: how long it computes for each event."},
    "seconds": {"type": "number", "minimum": 0, "default": 1, "description": "sleep: how long."},
    "mb_per_event": {"type": "number", "minimum": 0, "default": 1,
      "description": "leak: what each event takes and never gives back."}
  }
})json";

// FNV-1a over the eight bytes: the order of the values matters.
std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  for (int i = 0; i < 8; ++i, value >>= 8) hash = (hash ^ (value & 0xFF)) * 1'099'511'628'211ULL;
  return hash;
}
constexpr std::uint64_t kHashBegin = 14'695'981'039'346'656'037ULL;

std::uint64_t text_mixed(std::uint64_t hash, std::string_view text) {
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211ULL;
  }
  return hash;
}

// What it has seen; all of it follows from the events and their order alone.
struct Counts {
  std::uint64_t seen = 0;
  std::uint64_t hash = kHashBegin;  // of the sequences, in the order they came
  std::uint64_t checksum = 0;       // sum of the hashes of (source, id): whatever the order
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  std::uint64_t disorder = 0;  // sequences not above the one before
  // Of events whose data has a running number "n", by source.
  struct Numbers {
    std::int64_t next = 0;
    std::uint64_t seen = 0;
    std::uint64_t gaps = 0;      // numbers left out
    std::uint64_t repeated = 0;  // numbers at or below one seen before
  };
  std::map<std::string, Numbers> numbers;
  struct Topic {
    std::uint64_t seen = 0;
    std::uint64_t last_sequence = 0;
  };
  std::map<std::string, Topic> topics;
};

[[gnu::noinline]] void write_through_null() {
  volatile int* volatile nowhere = nullptr;
  *nowhere = 1;
}

// Empty if it is none.
std::string_view text_of(simdjson::simdjson_result<simdjson::dom::element> value) {
  std::string_view out;
  return value.get(out) == simdjson::SUCCESS ? out : std::string_view();
}

std::string table_name(std::string_view instance) {
  std::string out = "faulty_";
  for (const char c : instance) {
    out += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  return out;
}

}  // namespace

class Faulty : public Plugin {
 public:
  static constexpr std::string_view kVersion = "1.0.0";
  static constexpr std::string_view kSummary = "counts events and misbehaves as told; for tests";
  static constexpr std::string_view kConfigSchema = kSchema;
  static constexpr std::uint32_t kStateVersion = 1;

  Faulty(Host host, std::string_view config)
      : host_(std::move(host)),
        config_(nlohmann::json::parse(config)),
        mode_(text("mode", "none")),
        place_(text("in", "on_events")),
        at_count_(config_.value("at_count", std::uint64_t{1})),
        table_(table_name(host_.instance())) {
    if (is_stateful()) {
      host_.declare_tables(R"({"version": 1, "tables": [{"name": ")" + table_ +
                           R"(", "key": ["topic"], "columns": [
          {"name": "topic", "type": "text"}, {"name": "seen", "type": "integer"},
          {"name": "last_sequence", "type": "integer"}]}]})");
    }
    const std::string path = "/api/faulty/" + host_.instance();
    const std::string query = "faulty." + host_.instance();
    host_.provide_route(
        {.method = "GET", .path = path, .query = query, .summary = "what it has counted"},
        [this](std::string_view) {
          act_in("query");
          return answer();
        });
    host_.subscribe({text("topic", ">")}, text("policy", "replay") == "drop_oldest"
                                              ? EPHOR_POLICY_DROP_OLDEST
                                              : EPHOR_POLICY_REPLAY);
    act_in("create");
  }

  void start() override {
    act_in("start");
    if (place_ != "task") return;
    const auto& tasks = host_.required<ephor_task>("ephor.task/1");
    check([&](ephor_error* error) {
      return tasks.run(
          tasks.context, [](void* user) { static_cast<Faulty*>(user)->act_in("task"); }, this,
          error);
    });
  }

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) count(event);
  }

  void stop() override { act_in("stop"); }

 protected:
  void save_counts(const Rows& rows, std::string& state) {
    act_in("save");
    const std::scoped_lock lock(mutex_);
    StateWriter out(state);
    out.u64(counts_.seen).u64(counts_.hash).u64(counts_.checksum);
    out.u64(counts_.first_sequence).u64(counts_.last_sequence).u64(counts_.disorder);
    out.varint(counts_.numbers.size());
    for (const auto& [source, one] : counts_.numbers) {
      out.text(source).i64(one.next).u64(one.seen).u64(one.gaps).u64(one.repeated);
    }
    out.varint(counts_.topics.size());
    for (const auto& [topic, one] : counts_.topics) {
      out.text(topic).u64(one.seen).u64(one.last_sequence);
      rows.upsert(table_,
                  {Cell::text(topic), Cell::integer_value(static_cast<std::int64_t>(one.seen)),
                   Cell::integer_value(static_cast<std::int64_t>(one.last_sequence))});
    }
  }

  bool load_counts(std::uint32_t version, std::string_view state) {
    act_in("load");
    const std::scoped_lock lock(mutex_);
    return version == kStateVersion && read_state(state, [&](StateReader& in) {
             counts_.seen = in.u64();
             counts_.hash = in.u64();
             counts_.checksum = in.u64();
             counts_.first_sequence = in.u64();
             counts_.last_sequence = in.u64();
             counts_.disorder = in.u64();
             for (std::size_t left = in.count(33); left > 0; --left) {
               Counts::Numbers& one = counts_.numbers[in.text()];
               one.next = in.i64();
               one.seen = in.u64();
               one.gaps = in.u64();
               one.repeated = in.u64();
             }
             for (std::size_t left = in.count(17); left > 0; --left) {
               Counts::Topic& one = counts_.topics[in.text()];
               one.seen = in.u64();
               one.last_sequence = in.u64();
             }
           });
  }

  bool is_stateful() const { return config_.value("stateful", true); }

 private:
  std::string text(const char* key, const char* otherwise) const {
    return config_.value(key, std::string(otherwise));
  }

  void count(const Event& event) {
    const simdjson::dom::element record = reader_.record(event);
    const auto data = record["data"];
    bool is_poison = false;
    const bool has_poison = data["poison"].get(is_poison) == simdjson::SUCCESS && is_poison;
    if (mode_ == "throw_on" && has_poison) {
      throw std::runtime_error("faulty: event " + std::to_string(event.sequence) + " is poison");
    }
    if (place_ == "on_events" && mode_ != "throw_on") act(counts_.seen + 1);

    const std::scoped_lock lock(mutex_);
    const std::string_view source = text_of(record["source"]);
    const std::string_view id = text_of(record["id"]);
    counts_.checksum += text_mixed(mixed(text_mixed(kHashBegin, source), 0), id);
    counts_.hash = mixed(counts_.hash, event.sequence);
    if (counts_.seen != 0 && event.sequence <= counts_.last_sequence) ++counts_.disorder;
    if (counts_.seen == 0) counts_.first_sequence = event.sequence;
    counts_.last_sequence = event.sequence;
    ++counts_.seen;
    std::int64_t n = 0;
    if (data["n"].get(n) == simdjson::SUCCESS) {
      const auto [at, is_first] = counts_.numbers.try_emplace(std::string(source));
      Counts::Numbers& one = at->second;
      if (is_first) one.next = n;
      if (n < one.next) ++one.repeated;
      if (n > one.next) one.gaps += static_cast<std::uint64_t>(n - one.next);
      one.next = std::max(one.next, n + 1);
      ++one.seen;
    }
    Counts::Topic& topic = counts_.topics[std::string(host_.topic_name(event.topic))];
    ++topic.seen;
    topic.last_sequence = event.sequence;
  }

  void act_in(std::string_view place) {
    if (place_ == place && mode_ != "throw_on") act(++calls_);
  }

  // `count`: the number of this event or call.
  void act(std::uint64_t count) {
    if (mode_ == "none" || count < at_count_) return;
    const bool is_lasting = mode_ == "leak" || mode_ == "slow";
    if ((count != at_count_ && !is_lasting) || !may_act()) return;
    if (mode_ == "throw")
      throw std::runtime_error("faulty: told to throw at " + std::to_string(count));
    if (mode_ == "hang") {
      for (;;) ::pause();
    }
    if (mode_ == "spin") {
      for (std::atomic<bool> forever{true}; forever.load(std::memory_order_relaxed);) {
      }
    }
    if (mode_ == "null_write") write_through_null();
    if (mode_ == "abort") std::abort();
    if (mode_ == "exit")
      std::_Exit(config_["value"].is_number_integer() ? config_["value"].get<int>() : 3);
    if (mode_ == "sleep") {
      std::this_thread::sleep_for(std::chrono::duration<double>(config_.value("seconds", 1.0)));
    }
    if (mode_ == "leak") {
      const auto bytes = static_cast<std::size_t>(config_.value("mb_per_event", 1.0) * 1'048'576.0);
      leaked_.emplace_back(new char[bytes]);
      std::memset(leaked_.back(), 1, bytes);
    }
    if (mode_ == "slow") {
      const auto end = std::chrono::steady_clock::now() +
                       std::chrono::nanoseconds(config_.value("per_event_ns", std::int64_t{0}));
      while (std::chrono::steady_clock::now() < end) {
      }
    }
  }

  bool may_act() {
    const std::string file = text("once_file", "");
    if (file.empty() || is_acting_) return true;
    if (std::filesystem::exists(file)) return false;
    std::ofstream(file) << ::getpid() << "\n";
    is_acting_ = true;
    return true;
  }

  std::string answer() {
    const std::scoped_lock lock(mutex_);
    const auto hex = [](std::uint64_t value) {
      char digits[17];
      std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
      return std::string(digits);
    };
    nlohmann::json out{{"seen", counts_.seen},
                       {"hash", hex(counts_.hash)},
                       {"checksum", hex(counts_.checksum)},
                       {"first_sequence", counts_.first_sequence},
                       {"last_sequence", counts_.last_sequence},
                       {"disorder", counts_.disorder},
                       {"value", config_.value("value", nlohmann::json())},
                       {"process_id", ::getpid()},
                       {"sources", nlohmann::json::object()},
                       {"topics", nlohmann::json::object()}};
    std::uint64_t gaps = 0;
    std::uint64_t repeated = 0;
    for (const auto& [source, one] : counts_.numbers) {
      gaps += one.gaps;
      repeated += one.repeated;
      out["sources"][source] = {
          {"seen", one.seen}, {"next", one.next}, {"gaps", one.gaps}, {"repeated", one.repeated}};
    }
    out["gaps"] = gaps;
    out["repeated"] = repeated;
    for (const auto& [topic, one] : counts_.topics) out["topics"][topic] = one.seen;
    return out.dump();
  }

  const Host host_;
  const nlohmann::json config_;
  const std::string mode_;
  const std::string place_;
  const std::uint64_t at_count_;
  const std::string table_;
  EventReader reader_;
  std::atomic<std::uint64_t> calls_{0};
  bool is_acting_ = false;
  std::vector<char*> leaked_;  // for ever: that is what it is for
  std::mutex mutex_;           // guards counts_ (save may run beside a task)
  Counts counts_;
};

// With "stateful": false there is no state: what save and load would say is not offered.
class FaultyWithState final : public Faulty {
 public:
  using Faulty::Faulty;
  void save(const Rows& rows, std::string& state) override { save_counts(rows, state); }
  bool load(std::uint32_t version, std::string_view state) override {
    return load_counts(version, state);
  }
};

namespace {

ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                    ephor_plugin* out, ephor_error* error) {
  bool is_stateful = true;
  const ephor_status status = guarded(
      error, [&] { is_stateful = nlohmann::json::parse(to_text(config)).value("stateful", true); });
  if (status != EPHOR_OK) return status;
  return is_stateful ? detail::Adapter<FaultyWithState>::create(host, instance, config, out, error)
                     : detail::Adapter<Faulty>::create(host, instance, config, out, error);
}

}  // namespace
}  // namespace ephor::faulty

extern "C" EPHOR_EXPORT const ephor_entry* ephor_plugin_entry_v1(void);
extern "C" EPHOR_EXPORT const ephor_entry* ephor_plugin_entry_v1(void) {
  using ephor::faulty::Faulty;
  static const ephor_plugin_info info{sizeof(ephor_plugin_info),
                                      0,
                                      ephor::to_view("faulty"),
                                      ephor::to_view(Faulty::kVersion),
                                      ephor::to_view(Faulty::kSummary),
                                      ephor::to_view(Faulty::kConfigSchema),
                                      nullptr,
                                      nullptr,
                                      0,
                                      0,
                                      &ephor::faulty::create};
  static const ephor_plugin_info* const infos[] = {&info};
  static const ephor_entry entry{
      EPHOR_ENTRY_MAGIC, sizeof(ephor_entry), EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos};
  return &entry;
}
