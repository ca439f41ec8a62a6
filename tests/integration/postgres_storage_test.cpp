// SPDX-License-Identifier: Apache-2.0
//
// The same storage cases as on SQLite, on a PostgreSQL server of our own: a cluster in a temporary
// directory, reached by a Unix socket only, stopped and removed at the end. Skipped without
// PostgreSQL.
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "store_storage_cases.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;
namespace fs = std::filesystem;

namespace {

// The folder with initdb and pg_ctl: the newest of Debian's.
std::optional<fs::path> postgres_programs() {
  const fs::path root = "/usr/lib/postgresql";
  std::optional<fs::path> newest;
  int newest_version = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    const int version = std::atoi(entry.path().filename().c_str());
    if (version > newest_version && fs::exists(entry.path() / "bin" / "pg_ctl")) {
      newest = entry.path() / "bin";
      newest_version = version;
    }
  }
  return newest;
}

class Server {
 public:
  explicit Server(fs::path programs) : programs_(std::move(programs)) {
    // PostgreSQL refuses to run as root.
    if (::geteuid() == 0) user_ = ::getpwnam("postgres");
    root_ = directory_.path();
    if (user_ != nullptr && ::chown(root_.c_str(), user_->pw_uid, user_->pw_gid) != 0) {
      throw std::runtime_error("chown " + root_.string());
    }
    run({programs_ / "initdb", "-D", root_ / "data", "-A", "trust", "-U", "ephor", "-E", "UTF8",
         "--locale=C", "--no-sync"});
    run({programs_ / "pg_ctl", "-D", root_ / "data", "-l", root_ / "log", "-w", "-o",
         "-c listen_addresses='' -c unix_socket_directories='" + root_.string() + "' -c fsync=off",
         "start"});
    is_running_ = true;
  }
  ~Server() { stop(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void stop() noexcept {
    if (!is_running_) return;
    is_running_ = false;
    try {
      run({programs_ / "pg_ctl", "-D", root_ / "data", "-m", "immediate", "-w", "stop"});
    } catch (const std::exception& error) {
      std::cerr << error.what() << std::endl;
    }
  }
  void restart() {
    run({programs_ / "pg_ctl", "-D", root_ / "data", "-l", root_ / "log", "-m", "immediate", "-w",
         "restart"});
  }

  std::string make_database() {
    const std::string name = "case_" + std::to_string(++databases_);
    run({programs_ / "createdb", "-h", root_, "-U", "ephor", name});
    return name;
  }
  std::string url(const std::string& database) const {
    return "postgresql://ephor@/" + database + "?host=" + root_.string();
  }
  std::string words(const std::string& database) const {
    return "postgresql://dbname=" + database + " user=ephor host='" + root_.string() + "'";
  }

 private:
  void run(const std::vector<std::string>& command) {
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("fork");
    if (child == 0) {
      const int log = ::open((root_ / "commands").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
      ::dup2(log, STDOUT_FILENO);
      ::dup2(log, STDERR_FILENO);
      if (user_ != nullptr && (::initgroups(user_->pw_name, user_->pw_gid) != 0 ||
                               ::setgid(user_->pw_gid) != 0 || ::setuid(user_->pw_uid) != 0)) {
        ::_exit(126);
      }
      if (::chdir(root_.c_str()) != 0) ::_exit(126);
      std::vector<char*> words;
      for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
      words.push_back(nullptr);
      ::execv(words[0], words.data());
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) throw std::runtime_error(command[0] + " failed");
  }

  const fs::path programs_;
  const TemporaryDirectory directory_;
  fs::path root_;
  const passwd* user_ = nullptr;
  bool is_running_ = false;
  int databases_ = 0;
};

// Started by the first test that asks; ends with the program. Null without PostgreSQL.
Server* server() {
  static std::unique_ptr<Server> started = []() -> std::unique_ptr<Server> {
    const auto programs = postgres_programs();
    if (!programs) {
      std::cout << "SKIPPED: no PostgreSQL server below /usr/lib/postgresql" << std::endl;
      return nullptr;
    }
    if (::geteuid() == 0 && ::getpwnam("postgres") == nullptr) {
      std::cout << "SKIPPED: root without a postgres user" << std::endl;
      return nullptr;
    }
    return std::make_unique<Server>(*programs);
  }();
  return started.get();
}

}  // namespace

TEST_CASE("storage: on PostgreSQL", "[integration][storage]") {
  Server* const postgres = server();
  if (postgres == nullptr) return;
  for (const StorageCase& one : storage_cases()) {
    DYNAMIC_SECTION(one.name) {
      StorageOptions options;
      options.url = postgres->url(postgres->make_database());
      one.run(options);
    }
  }
}

TEST_CASE("storage: PostgreSQL by key=value words, and after its restart",
          "[integration][storage]") {
  Server* const postgres = server();
  if (postgres == nullptr) return;
  StorageOptions options;
  options.url = postgres->words(postgres->make_database());
  Storage storage(options);
  CHECK(storage.next_generation("a") == 1);
  CHECK(storage.instances().empty());
  postgres->restart();
  // What was in flight may fail; the call after it works on a new connection.
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      storage.next_generation("a");
      storage.instances();
    } catch (const HostError& error) {
      CHECK(error.status() == EPHOR_IO);
    }
  }
  CHECK(storage.next_generation("a") >= 2);
  CHECK(storage.instances().empty());
}

TEST_CASE("storage: a select on PostgreSQL that runs too long is stopped",
          "[integration][storage]") {
  Server* const postgres = server();
  if (postgres == nullptr) return;
  StorageOptions options;
  options.url = postgres->url(postgres->make_database());
  options.select_timeout = std::chrono::milliseconds(50);
  Storage storage(options);
  const auto status = [&](const char* sql) {
    try {
      storage.select(sql, {}, [](std::span<const ephor_cell>) { return EPHOR_OK; });
    } catch (const HostError& error) {
      return error.status();
    }
    return EPHOR_OK;
  };
  CHECK(status("SELECT count(*) FROM generate_series(1, 1000000000)") == EPHOR_TIMEOUT);
  // Switching the read-only default off does not let the next one write.
  CHECK(status("SELECT set_config('default_transaction_read_only', 'off', false)") == EPHOR_OK);
  CHECK(status("WITH x AS (DELETE FROM ephor_tables RETURNING 1) SELECT * FROM x") == EPHOR_DENIED);
}
