// SPDX-License-Identifier: Apache-2.0
#include "core/journal_export.hpp"

#include <algorithm>
#include <map>

#include "bus/topic_filter.hpp"
#include "core/gap_ledger.hpp"
#include "core/log_reader.hpp"
#include "event/error.hpp"
#include "event/event_json.hpp"
#include "event/times.hpp"
#include "store/journal_check.hpp"
#include "store/sqlite_journal.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// A journal to look at, and what describes its records.
struct Opened {
  explicit Opened(const fs::path& data_dir)
      : journal(data_dir, {.read_only = true}), door({}, names), describer(door.make_describer()) {}

  // False if the record is no event.
  bool describe(const StoredBatch& batch, std::size_t index, ephor_event& event) {
    const StoredRecord& record = batch.records[index];
    return describer->redescribe(
        batch.record(index), {record.time_ns, record.encoding, record.flags, batch.source(index)},
        event);
  }

  SqliteJournal journal;
  Names names;
  Door door;
  std::unique_ptr<Describer> describer;
};

bool is_own_source(std::string_view source) {
  return source == "ephor" || source.starts_with("ephor/");
}

// The record with the log's time in its envelope.
std::string with_time(std::string_view record, std::int64_t time_ns, bool has_time) {
  const std::string time = format_time(time_ns);
  const std::size_t brace = record.find('{');
  if (has_time) {
    auto parsed = nlohmann::ordered_json::parse(record);
    parsed["time"] = time;
    return parsed.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }
  std::string out("{\"time\":\"");
  out += time;
  out += "\",";
  out += record.substr(brace + 1);
  return out;
}

std::string line_of(std::string_view record, const StoredRecord& stored, bool raw) {
  constexpr unsigned kJudged = EPHOR_EVENT_TIME_CLAMPED | EPHOR_EVENT_TIME_NAIVE;
  std::string line(record);
  if (!raw && (stored.flags & EPHOR_EVENT_TIME_ARRIVAL) != 0) {
    line = with_time(record, stored.time_ns, false);
  } else if (!raw && (stored.flags & kJudged) != 0) {
    line = with_time(record, stored.time_ns, true);
  }
  // A record that came as a single object may hold line breaks between its tokens.
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

struct Tally {
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
};

Json shares(const std::map<std::string, Tally, std::less<>>& tallies, std::uint64_t all_bytes) {
  Json out = Json::array();
  for (const auto& [name, tally] : tallies) {
    out.push_back({{"name", name},
                   {"events", tally.events},
                   {"bytes", tally.bytes},
                   {"share", all_bytes == 0 ? 0.0
                                            : static_cast<double>(tally.bytes) /
                                                  static_cast<double>(all_bytes)}});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Json& a, const Json& b) { return a["bytes"] > b["bytes"]; });
  return out;
}

Json facts_of(const std::vector<JournalGap>& gaps) {
  Json out = Json::array();
  for (const JournalGap& gap : gaps) {
    out.push_back({{"first_sequence", gap.first_sequence},
                   {"last_sequence", gap.last_sequence},
                   {"batches", gap.batches},
                   {"events", gap.events ? Json(*gap.events) : Json()},
                   {"bytes", gap.bytes},
                   {"why", gap.why},
                   {"at", format_time(gap.at_ns)}});
  }
  return out;
}

}  // namespace

ExportCounts export_journal(const fs::path& data_dir, const ExportOptions& options,
                            const std::function<void(std::string_view line)>& write) {
  check_topic_pattern(options.topic);
  Opened opened(data_dir);
  TopicFilter filter(opened.names.topics, {options.topic});
  ExportCounts counts;
  StoredBatch batch;
  std::uint64_t from = std::max<std::uint64_t>(1, position_of(options.from_sequence));
  const auto on_damage = [&](const DamageError& damage) {
    counts.damaged += damage.last_position - damage.first_position + 1;
  };
  for (; next_readable(opened.journal, from, batch, on_damage); from = batch.position + 1) {
    if (sequence_of(batch.position, 0) > options.to_sequence) break;
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
      const StoredRecord& record = batch.records[i];
      const std::uint64_t sequence = sequence_of(batch.position, static_cast<std::uint32_t>(i));
      if (sequence < options.from_sequence || sequence > options.to_sequence) continue;
      if (record.time_ns < options.from_ns || record.time_ns >= options.to_ns) continue;
      ephor_event event{};
      if (!opened.describe(batch, i, event) || !filter.matches(event.topic)) continue;
      constexpr unsigned kMade = EPHOR_EVENT_DERIVED | EPHOR_EVENT_HOST;
      const bool is_own =
          (record.flags & kMade) != 0 || is_own_source(opened.names.sources.name(event.source));
      if (is_own && !options.raw) {
        ++counts.own;
        continue;
      }
      ++counts.exported;
      // Of a span, whose record is no JSON, the rendered object; its time is the log's.
      if (record.encoding == EPHOR_ENCODING_OTLP) {
        write(event_json(event, batch.source(i)));
      } else {
        write(line_of(batch.record(i), record, options.raw));
      }
    }
  }
  return counts;
}

Json journal_figures(const fs::path& data_dir) {
  Opened opened(data_dir);
  std::map<std::string, Tally, std::less<>> topics;
  std::map<std::string, Tally, std::less<>> sources;
  std::map<std::string, std::uint64_t> days;
  std::int64_t first_ns = INT64_MAX;
  std::int64_t last_ns = INT64_MIN;
  std::uint64_t damaged = 0;
  StoredBatch batch;
  std::uint64_t from = 1;
  const auto on_damage = [&](const DamageError& damage) {
    damaged += damage.last_position - damage.first_position + 1;
  };
  for (; next_readable(opened.journal, from, batch, on_damage); from = batch.position + 1) {
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
      const StoredRecord& record = batch.records[i];
      first_ns = std::min(first_ns, record.time_ns);
      last_ns = std::max(last_ns, record.time_ns);
      ++days[format_time(record.time_ns).substr(0, 10)];
      ephor_event event{};
      if (!opened.describe(batch, i, event)) continue;
      for (Tally* tally : {&topics[std::string(opened.names.topics.name(event.topic))],
                           &sources[std::string(opened.names.sources.name(event.source))]}) {
        ++tally->events;
        tally->bytes += record.length;
      }
    }
  }
  const JournalStats stats = opened.journal.stats();
  const SqliteJournal::Size size = opened.journal.size();
  const auto time_or_null = [&](std::int64_t time_ns) {
    return first_ns > last_ns ? Json() : Json(format_time(time_ns));
  };
  Json out{{"id", opened.journal.id()},
           {"batches", stats.batches},
           {"events", stats.events},
           {"bytes", stats.record_bytes},
           {"stored_bytes", stats.stored_bytes},
           {"ratio", stats.stored_bytes == 0 ? Json()
                                             : Json(static_cast<double>(stats.record_bytes) /
                                                    static_cast<double>(stats.stored_bytes))},
           {"file_bytes", size.file_bytes},
           {"free_bytes", size.free_bytes},
           {"index_runs", size.index_runs},
           {"oldest_sequence", sequence_of(stats.oldest_position, 0)},
           {"last_position", stats.last_position},
           {"first_time", time_or_null(first_ns)},
           {"last_time", time_or_null(last_ns)},
           {"damaged_batches", damaged},
           {"topics", shares(topics, stats.record_bytes)},
           {"sources", shares(sources, stats.record_bytes)},
           {"days", days},
           {"gaps", facts_of(opened.journal.gaps())}};
  return out;
}

Json journal_faults(const fs::path& data_dir) {
  Names names;
  Door door({}, names);
  const auto describer = door.make_describer();
  const JournalCheck check = check_journal(
      data_dir, [&](const StoredBatch& batch) { return join_keys_of(batch, *describer); });
  Json faults = Json::array();
  for (const JournalFault& fault : check.faults) {
    faults.push_back({{"position", fault.position == 0 ? Json() : Json(fault.position)},
                      {"place", fault.place.empty() ? Json() : Json(fault.place)},
                      {"what", fault.what}});
  }
  return {{"batches", check.batches},
          {"events", check.events},
          {"gaps", facts_of(check.gaps)},
          {"faults", faults}};
}

}  // namespace ephor::host
