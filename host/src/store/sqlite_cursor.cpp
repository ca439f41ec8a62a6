// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_cursor.hpp"

#include <ephor/abi.h>

#include <new>

#include "event/error.hpp"

namespace ephor::host::sqlite {
namespace {

using namespace sqlite_api;

constexpr int kBusyTimeoutMs = 10'000;

ephor_status status_of(int result) {
  switch (result & 0xFF) {  // the low byte of an extended result code is the primary one
    case SQLITE_FULL:
      return EPHOR_FULL;
    case SQLITE_INTERRUPT:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return EPHOR_TIMEOUT;
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
      return EPHOR_INVALID;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return EPHOR_DENIED;
    default:
      return EPHOR_IO;
  }
}

std::string quoted(const std::filesystem::path& path) {
  // A connect string has no escape inside quotes.
  const std::string text = path.string();
  if (text.find('"') != std::string::npos) {
    throw HostError(EPHOR_INVALID, text + ": a data directory's name cannot hold '\"'");
  }
  return "\"" + text + "\"";
}

}  // namespace

bool is_damage(int result) {
  switch (result & 0xFF) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return true;
    case SQLITE_IOERR:
      return result == SQLITE_IOERR_READ || result == SQLITE_IOERR_SHORT_READ ||
             result == SQLITE_IOERR_CORRUPTFS;
    default:
      return false;
  }
}

std::vector<std::string> integrity_faults(soci::session& session, bool is_quick, int count_max) {
  std::vector<std::string> faults;
  try {
    Cursor check(session,
                 std::string(is_quick ? "PRAGMA quick_check(" : "PRAGMA integrity_check(") +
                     std::to_string(count_max) + ")");
    while (check.step()) {
      if (check.text(0) != "ok") faults.emplace_back(check.text(0));
    }
  } catch (const std::exception& error) {
    faults.emplace_back(error.what());
  }
  return faults;
}

void rethrow(const std::string& where) {
  try {
    throw;
  } catch (const HostError&) {
    throw;
  } catch (const soci::sqlite3_soci_error& error) {
    if (is_damage(error.result())) {
      throw DamageError(where + ": damaged: " + error.get_error_message());
    }
    throw HostError(status_of(error.result()), where + ": " + error.get_error_message());
  } catch (const soci::soci_error& error) {
    throw HostError(EPHOR_IO, where + ": " + error.get_error_message());
  } catch (const std::bad_alloc&) {
    throw HostError(EPHOR_FULL, where + ": out of memory");
  } catch (const std::exception& error) {
    throw HostError(EPHOR_IO, where + ": " + error.what());
  }
}

sqlite3* handle(soci::session& session) {
  return static_cast<soci::sqlite3_session_backend*>(session.get_backend())->conn_;
}

void execute(soci::session& session, const std::string& sql) { session << sql; }

void roll_back(soci::session& session) noexcept {
  // Some failures (disk full among them) have ended the transaction already.
  if (sqlite3_get_autocommit(handle(session)) != 0) return;
  sqlite3_exec(handle(session), "ROLLBACK", nullptr, nullptr, nullptr);
}

std::unique_ptr<soci::session> open(const std::filesystem::path& path, OpenMode mode,
                                    int page_size_bytes) {
  try {
    if (mode == OpenMode::existing && !std::filesystem::exists(path)) {
      throw HostError(EPHOR_NOT_FOUND, path.string() + ": no such file");
    }
    auto session = std::make_unique<soci::session>(soci::sqlite3, "db=" + quoted(path));
    sqlite3_busy_timeout(handle(*session), kBusyTimeoutMs);
    if (mode == OpenMode::create) {
      execute(*session, "PRAGMA page_size=" + std::to_string(page_size_bytes));
      execute(*session, "PRAGMA journal_mode=WAL");
    }
    return session;
  } catch (...) {
    rethrow(path.string());
  }
}

Cursor::Cursor(soci::session& session, const std::string& sql)
    : session_(session), statement_(session) {
  statement_.alloc();
  statement_.prepare(sql);
  stmt_ = static_cast<soci::sqlite3_statement_backend*>(statement_.get_backend())->stmt_;
  if (stmt_ == nullptr) throw HostError(EPHOR_INVALID, "an empty statement");
}

void Cursor::check(int result) const {
  if (result != SQLITE_OK) throw soci::sqlite3_soci_error(sqlite3_errmsg(handle(session_)), result);
}

void Cursor::bind(int parameter, std::int64_t value) {
  check(sqlite3_bind_int64(stmt_, parameter, value));
}
void Cursor::bind(int parameter, double value) {
  check(sqlite3_bind_double(stmt_, parameter, value));
}
// Static binding: the caller's bytes outlive the stepping. An empty view may be null.
void Cursor::bind_text(int parameter, std::string_view text) {
  check(sqlite3_bind_text(stmt_, parameter, text.empty() ? "" : text.data(),
                          static_cast<int>(text.size()), nullptr));
}
void Cursor::bind_blob(int parameter, std::string_view bytes) {
  check(sqlite3_bind_blob(stmt_, parameter, bytes.empty() ? "" : bytes.data(),
                          static_cast<int>(bytes.size()), nullptr));
}
void Cursor::bind_null(int parameter) { check(sqlite3_bind_null(stmt_, parameter)); }
int Cursor::parameter_count() const { return sqlite3_bind_parameter_count(stmt_); }

bool Cursor::step() {
  const int result = sqlite3_step(stmt_);
  if (result == SQLITE_ROW) return true;
  if (result != SQLITE_DONE) {
    const soci::sqlite3_soci_error error(sqlite3_errmsg(handle(session_)),
                                         sqlite3_extended_errcode(handle(session_)));
    reset();
    throw error;
  }
  reset();
  return false;
}

void Cursor::reset() noexcept { sqlite3_reset(stmt_); }

int Cursor::column_count() const { return sqlite3_column_count(stmt_); }
int Cursor::type(int column) const { return sqlite3_column_type(stmt_, column); }
std::string_view Cursor::declared_type(int column) const {
  const char* type = sqlite3_column_decltype(stmt_, column);
  return type == nullptr ? std::string_view() : std::string_view(type);
}
bool Cursor::is_null(int column) const { return type(column) == SQLITE_NULL; }
std::int64_t Cursor::integer(int column) const { return sqlite3_column_int64(stmt_, column); }
double Cursor::real(int column) const { return sqlite3_column_double(stmt_, column); }
std::string_view Cursor::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}
std::string_view Cursor::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}
bool Cursor::is_read_only() const { return sqlite3_stmt_readonly(stmt_) != 0; }

}  // namespace ephor::host::sqlite
