// SPDX-License-Identifier: Apache-2.0
//
// A host in this process: plugins from memory, bodies for the door, the journal as a list.
#pragma once

#include <algorithm>
#include <cstring>
#include <ephor/plugin.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/host.hpp"
#include "event/times.hpp"
#include "store/sqlite_journal.hpp"
#include "support/catch.hpp"
#include "support/patience.hpp"
#include "support/shared_data.hpp"

namespace ephor::testing {

using Json = nlohmann::json;
using host::Buffer;

inline constexpr std::int64_t kSecond = 1'000'000'000;
inline constexpr std::int64_t kBegin = 1'600'000'000 * kSecond;
// For whatever a test waits for.
inline const std::int64_t kLongEnough = ephor::testing::patience(std::chrono::seconds(60)).count();

// The plugin table of a class, as EPHOR_PLUGIN would export it.
template <typename Class>
host::LoadedPlugin plugin_of() {
  static const ephor_plugin_info info{sizeof(ephor_plugin_info),
                                      ::ephor::detail::capabilities_of<Class>(),
                                      to_view(Class::kId),
                                      to_view(::ephor::detail::version_of<Class>()),
                                      {},
                                      to_view(::ephor::detail::schema_of<Class>()),
                                      nullptr,
                                      nullptr,
                                      0,
                                      0,
                                      &::ephor::detail::Adapter<Class>::create};
  static const ephor_plugin_info* const infos[] = {&info};
  static const ephor_entry entry{
      EPHOR_ENTRY_MAGIC, sizeof(ephor_entry), EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos};
  return {"", &entry, &info};
}

template <typename Class>
host::InstanceSettings instance_of(std::string name, std::string config = "{}") {
  host::InstanceSettings settings;
  settings.name = std::move(name);
  settings.plugin = plugin_of<Class>();
  settings.config_json = std::move(config);
  return settings;
}

inline host::Settings settings_for(const std::filesystem::path& data_dir,
                                   std::vector<host::InstanceSettings> instances) {
  host::Settings settings;
  settings.data_dir = data_dir;
  settings.log_level = EPHOR_LOG_ERROR + 1;  // failures are wanted here
  settings.storage_durability = host::Durability::off;
  settings.journal_durability = host::Durability::off;  // still survives a killed process
  settings.bus_bytes = 64U << 20;
  settings.dispatch_threads = 2;
  settings.checkpoint_every_ns = 0;
  settings.idle_flush_ns = 3'600 * kSecond;
  settings.drain_timeout_ns = kLongEnough;
  settings.instances = std::move(instances);
  return settings;
}

inline Buffer body_of(std::string_view text) {
  Buffer body(text.size());
  if (!text.empty()) std::memcpy(body.data(), text.data(), text.size());
  std::memset(body.data() + text.size(), 0, host::kRecordSlackBytes);
  body.set_size(text.size());
  return body;
}

// Event number `n`, one second after the one before; its value is known from its number.
inline std::int64_t value_of(int n) { return (static_cast<std::int64_t>(n) * 7'919) % 1'000; }
inline std::string key_of(int n) { return "key " + std::to_string(n % 17); }
inline std::string point(int n, const std::string& source = "s",
                         const std::string& type = "test.point") {
  return R"({"specversion":"1.0","id":"e)" + std::to_string(n) + R"(","source":")" + source +
         R"(","type":")" + type + R"(","time":")" + host::format_time(kBegin + n * kSecond) +
         R"(","data":{"n":)" + std::to_string(n) + R"(,"key":")" + key_of(n) + R"(","value":)" +
         std::to_string(value_of(n)) + "}}";
}
// Numbers [first, last) as NDJSON.
inline std::string points(int first, int last) {
  std::string lines;
  for (int n = first; n < last; ++n) lines += point(n) + "\n";
  return lines;
}

inline std::string_view record_of(const ephor_event& event) {
  return {event.record, event.record_length};
}
inline Json data_of(const ephor_event& event) { return Json::parse(record_of(event)).at("data"); }

// Past the door and into the log of a running host.
inline host::IngestCounts ingest(host::Host& host, std::string_view lines) {
  host::Arrival arrival =
      host.door().admit(body_of(lines), {EPHOR_FORMAT_LINES, "", host::wall_clock_ns()});
  return host.log().ingest(std::move(arrival.batches));
}

struct Kept {
  std::uint64_t sequence = 0;
  std::string record;
  std::uint8_t flags = 0;
  std::int64_t time_ns = 0;
  friend bool operator==(const Kept&, const Kept&) = default;
};

// Everything in the journal of a stopped host.
inline std::vector<Kept> journal_of(const std::filesystem::path& data_dir) {
  const host::SqliteJournal journal(data_dir, {.read_only = true});
  std::vector<Kept> out;
  host::StoredBatch batch;
  for (std::uint64_t position = 1; journal.next(position, batch); position = batch.position + 1) {
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
      out.push_back({host::sequence_of(batch.position, static_cast<std::uint32_t>(i)),
                     std::string(batch.record(i)), batch.records[i].flags,
                     batch.records[i].time_ns});
    }
  }
  return out;
}

// How often each value of `member` (of the envelope, "id", or the data) occurs among the events of
// one type.
inline std::map<std::string, int> count_by(const std::vector<Kept>& journal,
                                           const std::string& type, const std::string& member) {
  std::map<std::string, int> counts;
  for (const Kept& kept : journal) {
    const Json event = Json::parse(kept.record);
    if (event.at("type") != type) continue;
    const Json& at = member == "id" ? event.at("id") : event.at("data").at(member);
    ++counts[at.is_string() ? at.get<std::string>() : at.dump()];
  }
  return counts;
}

inline bool all_once(const std::map<std::string, int>& counts) {
  return std::all_of(counts.begin(), counts.end(), [](const auto& one) { return one.second == 1; });
}

}  // namespace ephor::testing
