// SPDX-License-Identifier: Apache-2.0
#include "trace_archive.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "packing.hpp"

namespace ephor::tracer {
namespace {

constexpr int kLevel = 3;
constexpr std::size_t kPlainBytesMax = 256U << 20;

}  // namespace

void TraceArchive::hold(std::uint64_t trace, const Event& event) {
  Held& held = held_[trace].emplace_back();
  held.event = event;
  held.record.assign(event.record, event.record_length);
}

void TraceArchive::keep(std::uint64_t trace, std::size_t span_count) {
  const auto found = held_.find(trace);
  if (found == held_.end() || found->second.size() != span_count) {
    changed_.insert(trace);
  } else {
    std::vector<Line> lines;
    for (Held& held : found->second) {
      held.event.record = held.record.data();
      lines.push_back(line_of(held.event));
    }
    fresh_[trace] = packed(lines);
  }
  if (found != held_.end()) held_.erase(found);
}

TraceArchive::Line TraceArchive::line_of(const Event& event) const {
  if (event.encoding == EPHOR_ENCODING_JSON) {
    return {false, event.time_ns, std::string(event.record, event.record_length)};
  }
  return {true, event.time_ns, host_.render_json(event)};
}

std::string TraceArchive::packed(const std::vector<Line>& lines) {
  std::string plain;
  StateWriter out(plain);
  out.varint(lines.size());
  for (const Line& line : lines) out.boolean(line.is_otlp).i64(line.time_ns).text(line.json);
  return pack(plain, kLevel);
}

std::vector<TraceArchive::Line> TraceArchive::stored(std::uint64_t trace) const {
  std::vector<Line> lines;
  host_.select("SELECT body FROM trace_archive WHERE trace = ?",
               {Cell::integer_value(static_cast<std::int64_t>(trace))},
               [&](std::span<const ephor_cell> cells) {
                 if (cells.empty()) return;
                 const std::string plain = unpack(to_text(cells[0].bytes), kPlainBytesMax);
                 StateReader in(plain);
                 for (std::size_t left = in.count(10); left > 0; --left) {
                   Line& line = lines.emplace_back();
                   line.is_otlp = in.boolean();
                   line.time_ns = in.i64();
                   line.json = in.text();
                 }
               });
  return lines;
}

std::string TraceArchive::read_journal(std::uint64_t trace, const TraceSummary& summary,
                                       std::uint64_t last_sequence,
                                       std::uint16_t span_topic) const {
  std::vector<Line> lines;
  host_.find_events(hex_of(summary.id), [&](const Event& event) {
    if (event.topic != span_topic || event.sequence > last_sequence) return;
    if (!std::equal(summary.id.begin(), summary.id.end(), event.trace_id)) return;
    lines.push_back(line_of(event));
  });
  // What the journal has let go of may still be in the row.
  if (lines.size() < summary.span_count && kept_.contains(trace)) {
    std::unordered_set<std::string> known;
    std::vector<Line> all = stored(trace);
    for (const Line& line : all) known.insert(line.json);
    for (Line& line : lines) {
      if (!known.contains(line.json)) all.push_back(std::move(line));
    }
    lines = std::move(all);
  }
  return packed(lines);
}

void TraceArchive::save(const Rows& rows, TraceStore& traces, std::uint64_t last_sequence,
                        std::uint16_t span_topic) {
  for (const std::uint64_t trace : changed_) {
    const TraceStore::Found found = traces.find_number(trace);
    if (found) fresh_[trace] = read_journal(trace, *found.summary, last_sequence, span_topic);
  }
  changed_.clear();
  for (const auto& [trace, body] : fresh_) {
    const TraceStore::Found found = traces.find_number(trace);
    if (!found) continue;
    rows.upsert(kTable,
                {Cell::integer_value(static_cast<std::int64_t>(trace)),
                 Cell::blob({reinterpret_cast<const char*>(found->id.data()), found->id.size()}),
                 Cell::integer_value(found->start_ns), Cell::integer_value(found->span_count),
                 Cell::blob(body)});
    kept_.insert(trace);
  }
  fresh_.clear();
  while (!kept_.empty() && (kept_.size() > max_ || *kept_.begin() < traces.oldest_number())) {
    evicted_ += *kept_.begin() < traces.oldest_number() ? 0 : 1;
    rows.erase(kTable, {Cell::integer_value(static_cast<std::int64_t>(*kept_.begin()))});
    kept_.erase(kept_.begin());
  }
}

std::vector<StoryEvent> TraceArchive::read(std::uint64_t trace) const {
  std::vector<StoryEvent> events;
  if (!kept_.contains(trace)) return events;
  for (Line& line : stored(trace)) {
    StoryEvent& event = events.emplace_back();
    event.time_ns = line.time_ns;
    event.topic = "ephor.span";
    event.via = "archive";
    event.is_otlp = line.is_otlp;
    event.event = Json::parse(line.json, nullptr, false);
  }
  return events;
}

void TraceArchive::write(StateWriter& out) const {
  out.varint(evicted_).varint(kept_.size());
  std::uint64_t last = 0;
  for (const std::uint64_t trace : kept_) {
    out.varint(trace - last);
    last = trace;
  }
}

void TraceArchive::read(StateReader& in) {
  evicted_ = in.varint();
  std::uint64_t last = 0;
  for (std::size_t left = in.count(); left > 0; --left) {
    last += in.varint();
    kept_.insert(kept_.end(), last);
  }
}

}  // namespace ephor::tracer
