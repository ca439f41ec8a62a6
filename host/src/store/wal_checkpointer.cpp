// SPDX-License-Identifier: Apache-2.0
#include "store/wal_checkpointer.hpp"

namespace ephor::host::sqlite {

WalCheckpointer::WalCheckpointer(soci::session& writer, std::mutex& write_mutex,
                                 const std::filesystem::path& path, const std::string& synchronous,
                                 int pages)
    : writer_(writer), write_mutex_(write_mutex), pages_(pages) {
  own_ = open(path, OpenMode::existing);
  execute(*own_, "PRAGMA synchronous=" + synchronous);
  thread_ = std::thread([this] { run(); });
  sqlite_api::sqlite3_wal_hook(handle(writer_), &WalCheckpointer::after_commit, this);
}

WalCheckpointer::~WalCheckpointer() {
  {
    const std::lock_guard lock(write_mutex_);
    sqlite_api::sqlite3_wal_hook(handle(writer_), nullptr, nullptr);
  }
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

// On the writer's thread, for each commit.
int WalCheckpointer::after_commit(void* self, sqlite_api::sqlite3*, const char*, int pages) {
  auto& checkpointer = *static_cast<WalCheckpointer*>(self);
  if (pages < checkpointer.pages_) return SQLITE_OK;
  {
    const std::lock_guard lock(checkpointer.mutex_);
    if (checkpointer.is_due_) return SQLITE_OK;
    checkpointer.is_due_ = true;
  }
  checkpointer.wake_.notify_one();
  return SQLITE_OK;
}

void WalCheckpointer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return is_due_ || is_stopping_; });
    if (is_stopping_) return;
    lock.unlock();
    pass();
    {
      const std::lock_guard writer_rests(write_mutex_);
      pass();
    }
    lock.lock();
    is_due_ = false;
  }
}

void WalCheckpointer::pass() noexcept {
  sqlite_api::sqlite3_wal_checkpoint_v2(handle(*own_), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                                        nullptr);
}

}  // namespace ephor::host::sqlite
