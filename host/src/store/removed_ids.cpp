// SPDX-License-Identifier: Apache-2.0
#include "store/removed_ids.hpp"

#include <vector>

namespace ephor::host {
namespace {
constexpr int kPruneRowsMax = 512;  // in one transaction
}

RemovedIds::RemovedIds(soci::session& writer) : writer_(writer) {
  sqlite::Cursor sum(writer_, "SELECT coalesce(sum(count), 0) FROM removed_ids");
  if (sum.step()) events_ = static_cast<std::uint64_t>(sum.integer(0));
  staged_events_ = events_;
}

void RemovedIds::add(std::int64_t position, std::int64_t count, std::string_view ids) {
  sqlite::Cursor insert(writer_, "INSERT OR REPLACE INTO removed_ids VALUES(?, ?, ?)");
  insert.bind(1, position);
  insert.bind(2, count);
  insert.bind_blob(3, ids);
  insert.step();
  staged_events_ += static_cast<std::uint64_t>(count);
}

void RemovedIds::prune(std::uint64_t window, std::uint64_t newer) {
  if (staged_events_ == 0 || newer + staged_events_ <= window) return;
  std::vector<std::int64_t> gone;
  {
    sqlite::Cursor oldest(writer_,
                          "SELECT position, count FROM removed_ids ORDER BY position"
                          " LIMIT " +
                              std::to_string(kPruneRowsMax));
    while (oldest.step()) {
      const auto count = static_cast<std::uint64_t>(oldest.integer(1));
      // The batch whose first events only are behind the window stays whole.
      if (count > staged_events_ || newer + staged_events_ - count < window) break;
      staged_events_ -= count;
      gone.push_back(oldest.integer(0));
    }
  }
  if (gone.empty()) return;
  sqlite::Cursor erase(writer_, "DELETE FROM removed_ids WHERE position <= ?");
  erase.bind(1, gone.back());
  erase.step();
}

}  // namespace ephor::host
