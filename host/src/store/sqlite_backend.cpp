// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "event/error.hpp"
#include "store/damage_mark.hpp"
#include "store/sql_text.hpp"
#include "store/sqlite_cursor.hpp"
#include "store/storage_backend.hpp"

namespace ephor::host {
namespace {

using Clock = std::chrono::steady_clock;

// The affinity of "JSON TEXT" is TEXT, and the name says what is in it.
constexpr std::string_view kJsonType = "JSON TEXT";

ephor_cell cell_of(const sqlite::Cursor& row, int column) {
  ephor_cell cell{};
  switch (row.type(column)) {
    case SQLITE_INTEGER:
      cell.kind = EPHOR_CELL_INTEGER;
      cell.integer = row.integer(column);
      break;
    case SQLITE_FLOAT:
      cell.kind = EPHOR_CELL_REAL;
      cell.real = row.real(column);
      break;
    case SQLITE_TEXT: {
      cell.kind = row.declared_type(column) == kJsonType ? EPHOR_CELL_JSON : EPHOR_CELL_TEXT;
      const std::string_view text = row.text(column);
      cell.bytes = {text.data(), text.size()};
      break;
    }
    case SQLITE_BLOB: {
      cell.kind = EPHOR_CELL_BLOB;
      const std::string_view bytes = row.blob(column);
      cell.bytes = {bytes.data(), bytes.size()};
      break;
    }
    default:
      break;
  }
  return cell;
}

void bind(sqlite::Cursor& cursor, int parameter, const ephor_cell& cell) {
  switch (cell.kind) {
    case EPHOR_CELL_INTEGER:
      return cursor.bind(parameter, cell.integer);
    case EPHOR_CELL_REAL:
      return cursor.bind(parameter, cell.real);
    case EPHOR_CELL_TEXT:
    case EPHOR_CELL_JSON:
      return cursor.bind_text(parameter, {cell.bytes.data, cell.bytes.size});
    case EPHOR_CELL_BLOB:
      return cursor.bind_blob(parameter, {cell.bytes.data, cell.bytes.size});
    default:
      return cursor.bind_null(parameter);
  }
}

// Interrupts what runs on the connection after the deadline.
class Deadline {
 public:
  Deadline(soci::session& session, std::chrono::milliseconds timeout)
      : connection_(sqlite::handle(session)), end_(Clock::now() + timeout) {
    constexpr int kStepsBetweenLooks = 10'000;
    sqlite_api::sqlite3_progress_handler(connection_, kStepsBetweenLooks, &Deadline::passed, this);
  }
  ~Deadline() { sqlite_api::sqlite3_progress_handler(connection_, 0, nullptr, nullptr); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  static int passed(void* self) {
    return Clock::now() > static_cast<const Deadline*>(self)->end_ ? 1 : 0;
  }

  sqlite_api::sqlite3* connection_;
  Clock::time_point end_;
};

class SqliteBackend final : public StorageBackend {
 public:
  SqliteBackend(const std::filesystem::path& file, const BackendOptions& options)
      : file_(file), options_(options) {}

  std::unique_ptr<soci::session> open_writer() override {
    if (options_.read_only) return open_reader();
    auto session = sqlite::open(file_, sqlite::OpenMode::create);
    const char* synchronous = options_.durability == Durability::full     ? "FULL"
                              : options_.durability == Durability::normal ? "NORMAL"
                                                                          : "OFF";
    sqlite::execute(*session, std::string("PRAGMA synchronous=") + synchronous);
    sqlite::execute(*session, "PRAGMA wal_autocheckpoint=4000");
    sqlite::execute(*session, "PRAGMA journal_size_limit=67108864");
    sqlite::execute(*session, "PRAGMA cache_size=-4096");  // KiB, taken as used
    return session;
  }

  std::unique_ptr<soci::session> open_reader() override {
    auto session = sqlite::open(file_, sqlite::OpenMode::existing);
    sqlite::execute(*session, "PRAGMA query_only=ON");
    return session;
  }

  std::string description() const override { return file_.string(); }

  std::string type_name(ColumnType type) const override {
    switch (type) {
      case ColumnType::integer:
        return "INTEGER";
      case ColumnType::real:
        return "DOUBLE PRECISION";
      case ColumnType::text:
        return "TEXT";
      case ColumnType::json:
        return std::string(kJsonType);
      case ColumnType::blob:
        break;
    }
    return "BLOB";
  }
  std::string shown_as(ColumnType type) const override { return type_name(type); }

  std::vector<ExistingColumn> columns_of(soci::session& session,
                                         const std::string& table) override {
    sqlite::Cursor row(session, "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid");
    row.bind_text(1, table);
    std::vector<ExistingColumn> columns;
    while (row.step()) {
      columns.push_back({std::string(row.text(0)), std::string(row.text(1)),
                         static_cast<unsigned>(row.integer(2))});
    }
    return columns;
  }

  bool has_text_parameters() const override { return false; }

  void select(soci::session& session, const std::string& sql,
              std::span<const ephor_cell> parameters, const RowVisitor& visitor,
              bool is_reader) override {
    sqlite::Cursor row(session, sql);
    if (!row.is_read_only()) throw HostError(EPHOR_DENIED, "the statement writes");
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      bind(row, static_cast<int>(i + 1), parameters[i]);
    }
    std::optional<Deadline> deadline;
    if (is_reader) deadline.emplace(session, options_.select_timeout);
    std::vector<ephor_cell> cells(static_cast<std::size_t>(row.column_count()));
    while (row.step()) {
      for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = cell_of(row, static_cast<int>(i));
      if (visitor(cells) != EPHOR_OK) return;
    }
  }

  bool is_in_transaction(soci::session& session) override {
    return sqlite_api::sqlite3_get_autocommit(sqlite::handle(session)) == 0;
  }
  void roll_back(soci::session& session) noexcept override { sqlite::roll_back(session); }
  bool is_broken(soci::session&) noexcept override { return false; }
  // Damage is noted for the next start, which looks at the whole file.
  void rethrow(const std::string& where) override {
    try {
      sqlite::rethrow(where);
    } catch (const DamageError& damage) {
      if (!options_.read_only) mark_as_damaged(file_, damage.what());
      throw;
    }
  }

 private:
  const std::filesystem::path file_;
  const BackendOptions options_;
};

}  // namespace

std::unique_ptr<StorageBackend> make_sqlite_backend(const std::filesystem::path& file,
                                                    const BackendOptions& options) {
  return std::make_unique<SqliteBackend>(file, options);
}

}  // namespace ephor::host
