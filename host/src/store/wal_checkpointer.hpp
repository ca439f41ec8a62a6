// SPDX-License-Identifier: Apache-2.0
//
// Copies a database's log of writes into the database file beside its writer. SQLite's own
// automatic checkpoint does so inside the commit that fills the log, and whoever commits waits for
// it (4 MiB took 10 to 40 ms, 16 MiB 40 to 90 ms).
#pragma once

#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "store/sqlite_cursor.hpp"

namespace ephor::host::sqlite {

// Two passes on a thread and a connection of its own: one beside the writer, which copies nearly
// all, and a short one while nobody writes, so that the log begins anew with the next commit. What
// fails is tried again at a later commit, as SQLite's own would be: the log stays valid meanwhile.
// https://www.sqlite.org/wal.html#ckpt
class WalCheckpointer {
 public:
  // From `pages` of log on. Takes the place of the automatic checkpoint of `writer`, which
  // `write_mutex` guards; both outlive this. `synchronous`: FULL, NORMAL or OFF. Throws HostError
  // EPHOR_IO if the file cannot be opened once more.
  WalCheckpointer(soci::session& writer, std::mutex& write_mutex, const std::filesystem::path& path,
                  const std::string& synchronous, int pages);
  // Ends the thread; waits for a pass under way.
  ~WalCheckpointer();
  WalCheckpointer(const WalCheckpointer&) = delete;
  WalCheckpointer& operator=(const WalCheckpointer&) = delete;

 private:
  static int after_commit(void* self, sqlite_api::sqlite3* writer, const char* database, int pages);
  void run();
  void pass() noexcept;

  soci::session& writer_;
  std::mutex& write_mutex_;
  const int pages_;
  std::unique_ptr<soci::session> own_;

  std::mutex mutex_;  // guards the two below
  bool is_due_ = false;
  bool is_stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace ephor::host::sqlite
