// SPDX-License-Identifier: Apache-2.0
#include "core/retention.hpp"

#include <algorithm>

namespace ephor::host {

bool Retention::step(std::int64_t now_ns, const Need& need) {
  if (!is_on()) return false;
  constexpr double kDayNs = 86'400e9;
  const JournalStats stats = journal_.stats();
  RemovalLimits limits;  // of one transaction, which an append may have to wait for
  limits.batches_max = 64;
  limits.bytes_max = 1U << 20;
  limits.ids_window = ids_window_;
  limits.before_position = stats.last_position;  // the newest batch always stays
  if (settings_.keep_unread) limits.before_position = std::min(need.position, stats.last_position);

  const bool is_too_large = settings_.max_bytes > 0 && stats.stored_bytes > settings_.max_bytes;
  if (is_too_large) {
    limits.bytes_max = std::min(limits.bytes_max, stats.stored_bytes - settings_.max_bytes);
  } else if (settings_.max_age_days > 0.0) {
    limits.arrived_before_ns =
        now_ns - static_cast<std::int64_t>(std::min(settings_.max_age_days, 100'000.0) * kDayNs);
  } else {
    held_by_.clear();
    return false;
  }
  const Removal removed = journal_.remove_oldest(limits, now_ns);
  const bool is_due = is_too_large || (stats.batches > 0 && journal_.oldest_arrival_ns() != 0 &&
                                       journal_.oldest_arrival_ns() < limits.arrived_before_ns);
  const bool is_held =
      removed.batches == 0 && is_due && limits.before_position < stats.last_position;
  held_by_ = is_held ? need.who : std::string();
  return removed.batches != 0;
}

}  // namespace ephor::host
