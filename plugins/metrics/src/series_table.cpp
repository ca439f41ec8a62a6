// SPDX-License-Identifier: Apache-2.0
#include "series_table.hpp"

#include <algorithm>
#include <ephor/times.hpp>
#include <map>
#include <span>
#include <utility>

#include "spans.hpp"

namespace ephor::metrics {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::string key_of(const MetricSeries& series) {
  return series.name() + '\n' + series.labels_json();
}

double number_of(const ephor_cell& cell) {
  return cell.kind == EPHOR_CELL_INTEGER ? static_cast<double>(cell.integer) : cell.real;
}

}  // namespace

MetricSeries* SeriesTable::find_or_make(std::string_view key) {
  if (const auto found = index_.find(key); found != index_.end()) return found->second;
  if (series_.size() >= max_series_ && !make_room()) return nullptr;
  return &make(key);
}

MetricSeries& SeriesTable::make(std::string_view key) {
  const std::size_t end_of_name = key.find('\n');
  series_.push_back(std::make_unique<MetricSeries>(
      std::string(key.substr(0, end_of_name)), std::string(key.substr(end_of_name + 1)), limits_));
  index_.emplace(key, series_.back().get());
  return *series_.back();
}

bool SeriesTable::make_room() {
  const auto idlest = std::min_element(
      series_.begin(), series_.end(),
      [](const auto& a, const auto& b) { return a->latest().time_ns < b->latest().time_ns; });
  if (idlest == series_.end() || (*idlest)->latest().time_ns >= earlier(newest_ns_, idle_ns_))
    return false;
  MetricSeries& leaving = **idlest;
  for (RollupRing& ring : leaving.rings()) {
    for (const Bucket& bucket : ring.buckets()) {
      if (bucket.is_saved) ring.dropped_starts().push_back(bucket.start_ns);
    }
    for (const std::int64_t start_ns : ring.dropped_starts()) {
      dropped_rows_.push_back(
          {leaving.name(), leaving.labels_hash(), ring.width_ns() / kSecondNs, start_ns});
    }
  }
  index_.erase(key_of(leaving));
  series_.erase(idlest);
  ++evicted_;
  return true;
}

void SeriesTable::save(const Rows& rows, StateWriter& state) {
  std::string plain;
  StateWriter out(plain);
  const auto erase = [&](const std::string& name, const std::string& labels_hash,
                         std::int64_t resolution_s, std::int64_t start_ns) {
    rows.erase(kRollupTable,
               {Cell::text(name), Cell::text(labels_hash), Cell::integer_value(resolution_s),
                Cell::text(format_time(start_ns))});
  };
  for (const DroppedRow& row : dropped_rows_) {
    erase(row.name, row.labels_hash, row.resolution_s, row.start_ns);
  }
  dropped_rows_.clear();
  out.varint(refused_points_).varint(evicted_).i64(newest_ns_).varint(series_.size());
  for (const auto& series : series_) {
    if (series->is_changed) {
      for (RollupRing& ring : series->rings()) {
        const std::int64_t resolution_s = ring.width_ns() / kSecondNs;
        for (const std::int64_t start_ns : ring.dropped_starts()) {
          erase(series->name(), series->labels_hash(), resolution_s, start_ns);
        }
        ring.dropped_starts().clear();
        const auto needs_row = [&](const Bucket& bucket) { return !series->is_derivable(bucket); };
        ring.save_changed(needs_row, [&](const Bucket& bucket) {
          rows.upsert(kRollupTable,
                      {Cell::text(series->name()), Cell::json(series->labels_json()),
                       Cell::text(series->labels_hash()), Cell::integer_value(resolution_s),
                       Cell::text(format_time(bucket.start_ns)),
                       Cell::integer_value(static_cast<std::int64_t>(bucket.count)),
                       Cell::real_value(bucket.sum()), Cell::real_value(bucket.min),
                       Cell::real_value(bucket.max), Cell::real_value(bucket.first),
                       Cell::real_value(bucket.last),
                       series->unit().empty() ? Cell::null() : Cell::text(series->unit()),
                       Cell::integer_value(bucket.first_ns), Cell::integer_value(bucket.last_ns),
                       Cell::real_value(bucket.sum_rest())});
        });
      }
      series->is_changed = false;
    }
    series->write(out);
  }
  state.bytes(pack(plain));
}

void SeriesTable::read(StateReader& state) {
  const std::string plain = unpack(state.bytes());
  StateReader in(plain);
  refused_points_ = in.varint();
  evicted_ = in.varint();
  newest_ns_ = in.i64();
  for (std::size_t left = in.count(64); left > 0; --left) {
    std::string key = in.text();
    key += '\n';
    key += in.view();
    make(key).read(in);
  }
  if (!in.at_end()) throw Error(EPHOR_INVALID, "state: found bytes behind the last series");
}

bool SeriesTable::load_rows(const Host& host) {
  if (series_.empty()) return true;
  std::map<std::pair<std::string_view, std::string_view>, MetricSeries*> by_hash;
  for (const auto& series : series_)
    by_hash[{series->name(), series->labels_hash()}] = series.get();
  bool is_good = true;
  host.select(
      "SELECT name, labels_hash, resolution_s, bucket_start, count, sum, min, max, first, last, "
      "first_ns, last_ns, sum_rest FROM metric_rollup ORDER BY name, labels_hash, resolution_s, "
      "bucket_start",
      {}, [&](std::span<const ephor_cell> cells) {
        if (cells.size() < 13) return;
        const auto series = by_hash.find({to_text(cells[0].bytes), to_text(cells[1].bytes)});
        const auto start_ns = parse_time(to_text(cells[3].bytes));
        if (series == by_hash.end() || !start_ns) return;
        Bucket bucket;
        bucket.start_ns = *start_ns;
        bucket.count = static_cast<std::uint64_t>(cells[4].integer);
        bucket.sum_high = number_of(cells[5]);
        bucket.sum_low = number_of(cells[12]);
        bucket.min = number_of(cells[6]);
        bucket.max = number_of(cells[7]);
        bucket.first = number_of(cells[8]);
        bucket.last = number_of(cells[9]);
        bucket.first_ns = cells[10].integer;
        bucket.last_ns = cells[11].integer;
        bucket.is_saved = true;
        for (RollupRing& ring : series->second->rings()) {
          if (ring.width_ns() / kSecondNs == cells[2].integer) ring.restore(bucket);
        }
      });
  for (const auto& series : series_) is_good = series->finish_reading() && is_good;
  return is_good;
}

}  // namespace ephor::metrics
