// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_copies.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/plugin_note.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "plugins-";

[[noreturn]] void fail(const fs::path& path) {
  throw HostError(EPHOR_IO, path.string() + ": " + std::strerror(errno) +
                                ", expected room for a private copy of a plugin");
}

// A directory is in use as long as its process holds the lock on it.
class Directory {
 public:
  explicit Directory(const fs::path& parent) {
    std::error_code ignored;
    fs::create_directories(parent, ignored);
    remove_left_behind(parent);
    // Between the two steps another process may take it for one that was left behind.
    for (int attempt = 0; !make(parent); ++attempt) {
      if (attempt == 100) fail(parent);
    }
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    if (lock_ >= 0) ::close(lock_);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  bool make(const fs::path& parent) {
    std::string pattern = (parent / (std::string(kPrefix) + "XXXXXX")).string();
    if (::mkdtemp(pattern.data()) == nullptr) fail(parent);
    path_ = fs::absolute(pattern);
    lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status {};
    if (lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) == 0 &&
        ::stat(path_.c_str(), &status) == 0) {
      return true;
    }
    if (lock_ >= 0) ::close(lock_);
    lock_ = -1;
    return false;
  }
  static void remove_left_behind(const fs::path& parent) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(parent, ignored)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(kPrefix) || name.size() != std::strlen(kPrefix) + 6) continue;
      const int other =
          ::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
      if (other < 0) continue;
      struct stat status {};
      const bool is_ours = ::fstat(other, &status) == 0 && status.st_uid == ::geteuid();
      if (is_ours && ::flock(other, LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), ignored);
      ::close(other);
    }
  }

  fs::path path_;
  int lock_ = -1;
};

struct Copies {
  std::mutex mutex;
  std::map<fs::path, Directory> directories;  // by parent; guarded
};
Copies& copies() {
  static Copies all;
  return all;
}

void copy_bytes(int from, int to, const fs::path& target) {
  off_t offset = 0;
  for (;;) {
    const ssize_t put = ::sendfile(to, from, &offset, 1U << 30);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(target);
    if (put == 0) return;
  }
}

}  // namespace

PluginCopy copy_plugin(int descriptor, const fs::path& file, const fs::path& parent) {
  const std::scoped_lock lock(copies().mutex);
  const fs::path& directory =
      copies().directories.try_emplace(fs::absolute(parent), parent).first->second.path();
  const fs::path fresh = directory / "fresh.so";
  ::unlink(fresh.c_str());
  const int to = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
  if (to < 0) fail(fresh);
  PluginCopy out;
  try {
    copy_bytes(descriptor, to, fresh);
    out.hash = sha256_of(to, fresh);
  } catch (...) {
    ::close(to);
    throw;
  }
  ::close(to);
  out.file = directory / out.hash / file.filename();
  std::error_code problem;
  fs::create_directories(out.file.parent_path(), problem);
  if (::rename(fresh.c_str(), out.file.c_str()) != 0) fail(out.file);
  return out;
}

void remove_copies() {
  const std::scoped_lock lock(copies().mutex);
  copies().directories.clear();
}

}  // namespace ephor::host
