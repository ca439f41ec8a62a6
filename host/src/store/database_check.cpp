// SPDX-License-Identifier: Apache-2.0
#include "store/database_check.hpp"

#include "event/error.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::host {

std::vector<std::string> find_faults(const std::filesystem::path& file, bool is_quick,
                                     int count_max) {
  try {
    const auto session = sqlite::open(file, sqlite::OpenMode::existing);
    return sqlite::integrity_faults(*session, is_quick, count_max);
  } catch (const std::exception& failure) {
    return {failure.what()};
  }
}

void copy_database(const std::filesystem::path& from, const std::filesystem::path& to) {
  using namespace sqlite_api;
  try {
    const auto source = sqlite::open(from, sqlite::OpenMode::existing);
    const auto target = sqlite::open(to, sqlite::OpenMode::create);
    sqlite::execute(*target, "PRAGMA journal_mode=DELETE");  // no log left beside the copy
    sqlite::execute(*target, "PRAGMA synchronous=OFF");      // the archive is synced as a whole
    sqlite3_backup* const copy =
        sqlite3_backup_init(sqlite::handle(*target), "main", sqlite::handle(*source), "main");
    if (copy == nullptr) {
      throw HostError(EPHOR_IO, to.string() + ": " + sqlite3_errmsg(sqlite::handle(*target)));
    }
    // One step is one read transaction: writers go on, and the copy is of one instant.
    const int stepped = sqlite3_backup_step(copy, -1);
    const int finished = sqlite3_backup_finish(copy);
    if (stepped != SQLITE_DONE) {
      throw soci::sqlite3_soci_error(sqlite3_errstr(stepped), stepped);
    }
    if (finished != SQLITE_OK) throw soci::sqlite3_soci_error(sqlite3_errstr(finished), finished);
  } catch (...) {
    sqlite::rethrow("copy of " + from.string() + " to " + to.string());
  }
}

std::int64_t ask_database(const std::filesystem::path& file, const std::string& sql,
                          std::int64_t otherwise) {
  try {
    const auto session = sqlite::open(file, sqlite::OpenMode::existing);
    sqlite::execute(*session, "PRAGMA query_only=ON");
    sqlite::Cursor row(*session, sql);
    return row.step() && !row.is_null(0) ? row.integer(0) : otherwise;
  } catch (...) {
    sqlite::rethrow(file.string());
  }
}

}  // namespace ephor::host
