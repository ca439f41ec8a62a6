// SPDX-License-Identifier: Apache-2.0
#include "store/storage.hpp"

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "event/hash.hpp"
#include "event/hex.hpp"
#include "store/row_statement.hpp"
#include "store/sql_text.hpp"
#include "store/storage_backend.hpp"

namespace ephor::host {
namespace {

ephor_cell null_cell() { return {}; }
ephor_cell integer_cell(std::int64_t value) {
  ephor_cell cell{};
  cell.kind = EPHOR_CELL_INTEGER;
  cell.integer = value;
  return cell;
}
ephor_cell bytes_cell(std::uint32_t kind, std::string_view bytes) {
  ephor_cell cell{};
  cell.kind = kind;
  cell.bytes = {bytes.data(), bytes.size()};
  return cell;
}
ephor_cell text_cell(std::string_view text) { return bytes_cell(EPHOR_CELL_TEXT, text); }

std::string text_of(const ephor_cell& cell) {
  return cell.kind == EPHOR_CELL_NULL ? std::string()
                                      : std::string(cell.bytes.data, cell.bytes.size);
}
std::uint64_t number_of(const ephor_cell& cell) { return static_cast<std::uint64_t>(cell.integer); }

// The host's own tables, declared like a plugin's.
Table tables_table() {
  return {"ephor_tables", {{"name", ColumnType::text}, {"owner", ColumnType::text}}, {0}, {}, {}};
}
Table instances_table() {
  return {"ephor_instances",
          {{"instance", ColumnType::text},
           {"plugin_version", ColumnType::text},
           {"state_version", ColumnType::integer},
           {"state", ColumnType::blob},
           {"sequence", ColumnType::integer},
           {"generation", ColumnType::integer},
           {"epoch", ColumnType::text},
           {"saved_at_ns", ColumnType::integer}},
          {0},
          {},
          // The state holds what the rows and answers show, and sequences; the rest is of the run.
          {"state", "sequence", "generation", "epoch", "saved_at_ns"}};
}

std::vector<ColumnType> types_of(const Table& table) {
  std::vector<ColumnType> types;
  for (const Column& column : table.columns) types.push_back(column.type);
  return types;
}

std::vector<ColumnType> key_types_of(const Table& table) {
  std::vector<ColumnType> types;
  for (const std::size_t column : table.key) types.push_back(table.columns[column].type);
  return types;
}

template <typename Names>
std::string joined(const Names& names, const char* between = ", ") {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : between) + name;
  return text;
}

std::vector<std::string> quoted_key(const Table& table) {
  std::vector<std::string> names;
  for (const std::size_t column : table.key)
    names.push_back(quoted_name(table.columns[column].name));
  return names;
}

std::string upsert_sql(const Table& table) {
  std::vector<std::string> names;
  std::vector<std::string> marks;
  std::vector<std::string> updates;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string name = quoted_name(table.columns[i].name);
    names.push_back(name);
    marks.push_back(":p" + std::to_string(i + 1));
    if (!table.is_key(i)) updates.push_back(name + " = excluded." + name);
  }
  return "INSERT INTO " + quoted_name(table.name) + "(" + joined(names) + ") VALUES(" +
         joined(marks) + ") ON CONFLICT(" + joined(quoted_key(table)) + ") DO " +
         (updates.empty() ? "NOTHING" : "UPDATE SET " + joined(updates));
}

std::string erase_sql(const Table& table) {
  std::vector<std::string> conditions;
  for (const std::string& name : quoted_key(table)) {
    conditions.push_back(name + " = :p" + std::to_string(conditions.size() + 1));
  }
  return "DELETE FROM " + quoted_name(table.name) + " WHERE " + joined(conditions, " AND ");
}

// Readable as far as the 63 bytes of an identifier go, then told apart by the hash.
std::string index_name(const Table& table, const std::vector<std::string>& columns) {
  constexpr std::size_t kReadableMax = 40;
  const std::string readable = table.name + "_" + joined(columns, "_");
  const std::uint64_t hash = hash64(table.name + "(" + joined(columns) + ")");
  return "ix_" + readable.substr(0, kReadableMax) + "_" +
         hex_of({reinterpret_cast<const char*>(&hash), sizeof(hash)});
}

// A table's statements on the writer's connection.
struct TableStatements {
  TableStatements(soci::session& session, const Table& table, bool has_text_parameters)
      : upsert(session, upsert_sql(table), types_of(table), has_text_parameters),
        erase(session, erase_sql(table), key_types_of(table), has_text_parameters) {}

  RowStatement upsert;
  RowStatement erase;
};

}  // namespace

struct Storage::Impl {
  explicit Impl(const StorageOptions& given) : options(given) {
    BackendOptions backend_options;
    backend_options.durability = options.durability;
    backend_options.select_timeout = options.select_timeout;
    backend_options.read_only = options.read_only;
    backend = options.url.empty()
                  ? make_sqlite_backend(options.directory / "ephor.db", backend_options)
                  : make_postgres_backend(options.url, backend_options);
    const std::lock_guard lock(write_mutex);
    guarded("open", [&] {
      soci::session& session = open_writer();
      if (options.read_only) return;
      in_transaction([&] {
        make_table(session, tables_table());
        make_table(session, instances_table());
      });
    });
  }

  // ---- the writer ----

  soci::session& open_writer() {
    if (writer != nullptr && backend->is_broken(*writer)) drop_writer();
    if (writer == nullptr) writer = backend->open_writer();
    return *writer;
  }

  void drop_writer() {
    save_instance.reset();
    statements.clear();
    writer.reset();
  }

  template <typename Body>
  auto guarded(const std::string& what, Body&& body) -> decltype(body()) {
    try {
      return body();
    } catch (...) {
      backend->rethrow("storage: " + what + " (" + backend->description() + ")");
    }
  }

  template <typename Body>
  void in_transaction(Body&& body) {
    soci::session& session = open_writer();
    try {
      session.begin();
      body();
      session.commit();
    } catch (...) {
      backend->roll_back(session);
      throw;
    }
  }

  // One row of the writer's own questions.
  std::vector<std::string> select_texts(const std::string& sql, const std::string& parameter) {
    std::vector<std::string> rows;
    const ephor_cell cell = text_cell(parameter);
    backend->select(
        open_writer(), check_select(sql, backend->has_text_parameters()).sql, std::span(&cell, 1),
        [&](std::span<const ephor_cell> cells) {
          rows.push_back(text_of(cells[0]));
          return EPHOR_OK;
        },
        false);
    return rows;
  }

  // ---- declaring ----

  void declare(const std::string& instance, std::string_view tables_json) {
    std::vector<Table> declared = parse_tables(tables_json);
    const std::lock_guard lock(write_mutex);
    guarded("declare tables of " + instance, [&] {
      if (options.read_only) return;
      in_transaction([&] {
        for (const Table& table : declared) declare_table(*writer, instance, table);
      });
    });
    const std::unique_lock tables_lock(tables_mutex);
    Checkpoint::Tables& known = tables[instance];
    for (Table& table : declared) {
      std::erase_if(known, [&](const auto& other) { return other->name == table.name; });
      known.push_back(std::make_shared<const Table>(std::move(table)));
    }
  }

  void declare_table(soci::session& session, const std::string& instance, const Table& table) {
    const std::vector<std::string> owners =
        select_texts("SELECT owner FROM ephor_tables WHERE name = ?", table.name);
    if (!owners.empty() && owners[0] != instance) {
      throw HostError(EPHOR_CONFLICT, "storage: table " + table.name + " of " + instance +
                                          ": it belongs to " + owners[0]);
    }
    if (owners.empty()) {
      if (!backend->columns_of(session, table.name).empty()) {
        throw HostError(EPHOR_CONFLICT, "storage: table " + table.name + " of " + instance +
                                            ": the database has a table of that name that is not "
                                            "Ephor's");
      }
      session << "INSERT INTO ephor_tables(name, owner) VALUES(:a, :b)", soci::use(table.name),
          soci::use(instance);
    }
    make_table(session, table);
  }

  void make_table(soci::session& session, const Table& table) {
    const std::vector<ExistingColumn> existing = backend->columns_of(session, table.name);
    if (existing.empty()) {
      std::vector<std::string> lines;
      for (std::size_t i = 0; i < table.columns.size(); ++i) {
        lines.push_back(quoted_name(table.columns[i].name) + " " +
                        backend->type_name(table.columns[i].type) +
                        (table.is_key(i) ? " NOT NULL" : ""));
      }
      session << "CREATE TABLE " + quoted_name(table.name) + "(" + joined(lines) +
                     ", PRIMARY KEY(" + joined(quoted_key(table)) + "))";
    } else {
      match_key(table, existing);
      for (std::size_t i = 0; i < table.columns.size(); ++i) {
        match_column(session, table, table.columns[i], existing);
      }
    }
    for (const std::vector<std::string>& columns : table.indices) {
      std::vector<std::string> names;
      for (const std::string& column : columns) names.push_back(quoted_name(column));
      session << "CREATE INDEX IF NOT EXISTS " + quoted_name(index_name(table, columns)) + " ON " +
                     quoted_name(table.name) + "(" + joined(names) + ")";
    }
  }

  void match_key(const Table& table, const std::vector<ExistingColumn>& existing) {
    std::vector<std::string> found(existing.size() + 1);
    for (const ExistingColumn& column : existing) found[column.key_number] = column.name;
    found.erase(found.begin());
    std::erase(found, std::string());
    std::vector<std::string> expected;
    for (const std::size_t column : table.key) expected.push_back(table.columns[column].name);
    if (found != expected) {
      throw HostError(EPHOR_CONFLICT, "storage: table " + table.name + ": found the key (" +
                                          joined(found) + "), expected (" + joined(expected) + ")");
    }
  }

  void match_column(soci::session& session, const Table& table, const Column& column,
                    const std::vector<ExistingColumn>& existing) {
    for (const ExistingColumn& found : existing) {
      if (found.name != column.name) continue;
      if (found.type == backend->shown_as(column.type)) return;
      throw HostError(EPHOR_CONFLICT, "storage: " + table.name + "." + column.name +
                                          ": found a column of type " + found.type + ", expected " +
                                          backend->shown_as(column.type));
    }
    session << "ALTER TABLE " + quoted_name(table.name) + " ADD COLUMN " +
                   quoted_name(column.name) + " " + backend->type_name(column.type);
  }

  // ---- saving ----

  std::vector<std::optional<HostError>> commit(std::span<const Checkpoint* const> checkpoints) {
    std::vector<std::optional<HostError>> results(checkpoints.size());
    if (checkpoints.empty()) return results;
    const std::lock_guard lock(write_mutex);
    try {
      guarded("save", [&] {
        in_transaction([&] {
          for (std::size_t i = 0; i < checkpoints.size(); ++i) {
            results[i] = save_apart(*checkpoints[i]);
          }
        });
      });
    } catch (const HostError& error) {
      for (auto& result : results) {
        if (!result) result = error;
      }
    }
    return results;
  }

  // A failing checkpoint is undone alone. Throws when the whole transaction is lost.
  std::optional<HostError> save_apart(const Checkpoint& checkpoint) {
    soci::session& session = *writer;
    session << "SAVEPOINT checkpoint";
    try {
      guarded("save " + checkpoint.instance(), [&] { save(session, checkpoint); });
    } catch (const HostError& error) {
      if (backend->is_broken(session) || !backend->is_in_transaction(session)) throw;
      session << "ROLLBACK TO SAVEPOINT checkpoint";
      session << "RELEASE SAVEPOINT checkpoint";
      return error;
    }
    session << "RELEASE SAVEPOINT checkpoint";
    return std::nullopt;
  }

  void save(soci::session& session, const Checkpoint& checkpoint) {
    // First, because on PostgreSQL it locks the instance's row against a second host.
    save_state(session, checkpoint);
    for (const Checkpoint::Row& row : checkpoint.rows()) {
      const std::shared_ptr<const Table>& table = checkpoint.table(row);
      TableStatements& prepared = statements_of(session, table);
      RowStatement& statement = row.is_erase ? prepared.erase : prepared.upsert;
      const std::size_t count = row.is_erase ? table->key.size() : table->columns.size();
      for (std::size_t i = 0; i < count; ++i) statement.set(i, checkpoint.cell(row, i));
      try {
        statement.execute();
      } catch (...) {
        backend->rethrow("table " + table->name);
      }
    }
  }

  void save_state(soci::session& session, const Checkpoint& checkpoint) {
    const Table table = instances_table();
    if (save_instance == nullptr) {
      save_instance = std::make_unique<RowStatement>(
          session, upsert_sql(table) + " WHERE ephor_instances.generation <= excluded.generation",
          types_of(table), backend->has_text_parameters());
    }
    const ephor_cell cells[] = {text_cell(checkpoint.instance()),
                                text_cell(checkpoint.plugin_version),
                                integer_cell(checkpoint.state_version),
                                bytes_cell(EPHOR_CELL_BLOB, checkpoint.state()),
                                integer_cell(static_cast<std::int64_t>(checkpoint.sequence)),
                                integer_cell(static_cast<std::int64_t>(checkpoint.generation)),
                                text_cell(checkpoint.epoch),
                                integer_cell(checkpoint.saved_at_ns)};
    for (std::size_t i = 0; i < std::size(cells); ++i) save_instance->set(i, cells[i]);
    const long long saved = save_instance->execute();
    save_instance->set(3, null_cell());
    if (saved == 0) {
      throw HostError(EPHOR_STATE, "storage: save " + checkpoint.instance() + ": generation " +
                                       std::to_string(checkpoint.generation) +
                                       " is over, a newer one has the instance");
    }
  }

  TableStatements& statements_of(soci::session& session,
                                 const std::shared_ptr<const Table>& table) {
    std::unique_ptr<TableStatements>& prepared = statements[table];
    if (prepared == nullptr) {
      prepared = std::make_unique<TableStatements>(session, *table, backend->has_text_parameters());
    }
    return *prepared;
  }

  // ---- reading ----

  struct Lease {
    explicit Lease(Impl& given_pool) : pool(given_pool), session(pool.take_reader()) {}
    ~Lease() { pool.give_back(std::move(session)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Impl& pool;
    std::unique_ptr<soci::session> session;
  };

  std::unique_ptr<soci::session> take_reader() {
    {
      std::unique_lock lock(readers_mutex);
      const bool free = readers_free.wait_for(lock, options.select_timeout, [&] {
        return !idle_readers.empty() || lent_readers < options.readers_max;
      });
      if (!free) {
        throw HostError(EPHOR_TIMEOUT, "storage: select: all " +
                                           std::to_string(options.readers_max) +
                                           " connections are busy");
      }
      ++lent_readers;
      if (!idle_readers.empty()) {
        auto session = std::move(idle_readers.back());
        idle_readers.pop_back();
        return session;
      }
    }
    try {
      return backend->open_reader();
    } catch (...) {
      give_back(nullptr);
      throw;
    }
  }

  void give_back(std::unique_ptr<soci::session> session) {
    const bool is_broken = session != nullptr && backend->is_broken(*session);
    if (is_broken) session.reset();
    {
      const std::lock_guard lock(readers_mutex);
      if (is_broken) idle_readers.clear();  // a server that went took all of them
      --lent_readers;
      if (session != nullptr) idle_readers.push_back(std::move(session));
    }
    readers_free.notify_one();
  }

  void select(std::string_view sql, std::span<const ephor_cell> parameters,
              const RowVisitor& visitor) {
    const SelectText text = check_select(sql, backend->has_text_parameters());
    if (text.parameter_count != parameters.size()) {
      throw HostError(EPHOR_INVALID, "storage: select: found " + std::to_string(parameters.size()) +
                                         " parameters, expected " +
                                         std::to_string(text.parameter_count));
    }
    for (const ephor_cell& cell : parameters) {
      if (cell.kind <= EPHOR_CELL_BLOB) continue;
      throw HostError(EPHOR_INVALID, "storage: select: found a parameter of kind " +
                                         std::to_string(cell.kind) + ", expected 0 to 5");
    }
    guarded("select", [&] {
      const Lease lease(*this);
      backend->select(*lease.session, text.sql, parameters, visitor, true);
    });
  }

  const StorageOptions options;
  std::unique_ptr<StorageBackend> backend;

  std::mutex write_mutex;  // guards the writer's connection and its statements
  std::unique_ptr<soci::session> writer;
  std::map<std::shared_ptr<const Table>, std::unique_ptr<TableStatements>> statements;
  std::unique_ptr<RowStatement> save_instance;

  mutable std::shared_mutex tables_mutex;  // guards tables
  std::map<std::string, Checkpoint::Tables> tables;

  std::mutex readers_mutex;  // guards idle_readers and lent_readers
  std::condition_variable readers_free;
  std::vector<std::unique_ptr<soci::session>> idle_readers;
  unsigned lent_readers = 0;
};

Storage::Storage(const StorageOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Storage::~Storage() = default;

void Storage::declare(const std::string& instance, std::string_view tables_json) {
  impl_->declare(instance, tables_json);
}

std::vector<std::shared_ptr<const Table>> Storage::tables() const {
  std::vector<std::shared_ptr<const Table>> all{std::make_shared<const Table>(tables_table()),
                                                std::make_shared<const Table>(instances_table())};
  {
    const std::shared_lock lock(impl_->tables_mutex);
    for (const auto& [instance, tables] : impl_->tables) {
      all.insert(all.end(), tables.begin(), tables.end());
    }
  }
  std::sort(all.begin(), all.end(),
            [](const auto& left, const auto& right) { return left->name < right->name; });
  return all;
}

Checkpoint Storage::checkpoint(const std::string& instance) const {
  const std::shared_lock lock(impl_->tables_mutex);
  const auto found = impl_->tables.find(instance);
  return {instance, found == impl_->tables.end() ? Checkpoint::Tables() : found->second};
}

void Storage::commit(const Checkpoint& checkpoint) {
  const Checkpoint* const one = &checkpoint;
  if (const auto result = impl_->commit(std::span(&one, 1))[0]) throw HostError(*result);
}

std::vector<std::optional<HostError>> Storage::commit(
    std::span<const Checkpoint* const> checkpoints) {
  return impl_->commit(checkpoints);
}

std::optional<SavedState> Storage::load(const std::string& instance) {
  std::optional<SavedState> saved;
  const ephor_cell name = text_cell(instance);
  select(
      "SELECT plugin_version, state_version, state, sequence, generation, epoch, saved_at_ns"
      " FROM ephor_instances WHERE instance = ? AND state_version IS NOT NULL",
      std::span(&name, 1), [&](std::span<const ephor_cell> cells) {
        saved.emplace();
        saved->plugin_version = text_of(cells[0]);
        saved->state_version = static_cast<std::uint32_t>(cells[1].integer);
        saved->state = text_of(cells[2]);
        saved->sequence = number_of(cells[3]);
        saved->generation = number_of(cells[4]);
        saved->epoch = text_of(cells[5]);
        saved->saved_at_ns = cells[6].integer;
        return EPHOR_OK;
      });
  return saved;
}

std::uint64_t Storage::next_generation(const std::string& instance) {
  const std::lock_guard lock(impl_->write_mutex);
  long long generation = 0;
  impl_->guarded("new generation of " + instance, [&] {
    impl_->in_transaction([&] {
      soci::session& session = *impl_->writer;
      session << "INSERT INTO ephor_instances(instance, generation) VALUES(:i, 1)"
                 " ON CONFLICT(instance) DO UPDATE"
                 " SET generation = ephor_instances.generation + 1",
          soci::use(instance);
      session << "SELECT generation FROM ephor_instances WHERE instance = :i", soci::use(instance),
          soci::into(generation);
    });
  });
  return static_cast<std::uint64_t>(generation);
}

void Storage::reset(const std::string& instance) {
  const Checkpoint::Tables tables = [&] {
    const std::shared_lock lock(impl_->tables_mutex);
    const auto found = impl_->tables.find(instance);
    return found == impl_->tables.end() ? Checkpoint::Tables() : found->second;
  }();
  const std::lock_guard lock(impl_->write_mutex);
  impl_->guarded("reset " + instance, [&] {
    impl_->in_transaction([&] {
      soci::session& session = *impl_->writer;
      for (const auto& table : tables) session << "DELETE FROM " + quoted_name(table->name);
      session << "UPDATE ephor_instances SET plugin_version = NULL, state_version = NULL,"
                 " state = NULL, sequence = NULL, epoch = NULL, saved_at_ns = NULL"
                 " WHERE instance = :i",
          soci::use(instance);
    });
  });
}

std::vector<InstancePosition> Storage::instances() {
  std::vector<InstancePosition> positions;
  select(
      "SELECT instance, sequence, generation, saved_at_ns FROM ephor_instances"
      " WHERE state_version IS NOT NULL ORDER BY instance",
      {}, [&](std::span<const ephor_cell> cells) {
        positions.push_back(
            {text_of(cells[0]), number_of(cells[1]), number_of(cells[2]), cells[3].integer});
        return EPHOR_OK;
      });
  return positions;
}

void Storage::select(std::string_view sql, std::span<const ephor_cell> parameters,
                     const RowVisitor& visitor) {
  impl_->select(sql, parameters, visitor);
}

}  // namespace ephor::host
