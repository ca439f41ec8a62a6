// SPDX-License-Identifier: Apache-2.0
#include <soci/postgresql/soci-postgresql.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "event/error.hpp"
#include "event/hex.hpp"
#include "store/sql_text.hpp"
#include "store/storage_backend.hpp"

namespace ephor::host {
namespace {

constexpr std::string_view kScheme = "postgresql://";
constexpr std::string_view kShortScheme = "postgres://";

// Numbers of pg_type that never change.
enum Oid : ::Oid {
  kBool = 16,
  kBytea = 17,
  kInt8 = 20,
  kInt2 = 21,
  kInt4 = 23,
  kOid = 26,
  kJson = 114,
  kFloat4 = 700,
  kFloat8 = 701,
  kNumeric = 1700,
  kJsonb = 3802,
};

PGconn* connection(soci::session& session) {
  return static_cast<soci::postgresql_session_backend*>(session.get_backend())->conn_;
}

// 'value' as libpq's connection strings quote it.
std::string quoted_value(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

// libpq's key='value' words for a URL of either form.
std::string conninfo_of(const std::string& url) {
  std::string_view rest = url;
  rest.remove_prefix(rest.starts_with(kScheme) ? kScheme.size() : kShortScheme.size());
  // "dbname=... host=..." has its first '=' before anything that only a URI holds.
  const std::size_t mark = rest.find_first_of("=/?@:");
  const bool is_words = mark != std::string_view::npos && rest[mark] == '=';
  const std::string given = is_words ? std::string(rest) : url;
  char* message = nullptr;
  PQconninfoOption* options = PQconninfoParse(given.c_str(), &message);
  if (options == nullptr) {
    const std::string why = message == nullptr ? "out of memory" : message;
    PQfreemem(message);
    throw HostError(EPHOR_INVALID, "database.url: " + why.substr(0, why.find('\n')) +
                                       ", expected postgresql://user@host/name");
  }
  std::string words;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    if (!words.empty()) words += ' ';
    words += std::string(option->keyword) + "=" + quoted_value(option->val);
  }
  PQconninfoFree(options);
  return words;
}

std::string text_of(const ephor_cell& cell) {
  switch (cell.kind) {
    case EPHOR_CELL_INTEGER:
      return std::to_string(cell.integer);
    case EPHOR_CELL_REAL: {
      char digits[32];
      const auto end = std::to_chars(digits, digits + sizeof(digits), cell.real).ptr;
      return {digits, end};
    }
    case EPHOR_CELL_BLOB:
      return "\\x" + hex_of({cell.bytes.data, cell.bytes.size});
    default: {
      std::string text(cell.bytes.data, cell.bytes.size);
      make_strict_utf8(text);
      return text;
    }
  }
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// `bytes` keeps what has to be decoded.
ephor_cell cell_of(const PGresult* result, int row, int column, std::string& bytes) {
  ephor_cell cell{};
  if (PQgetisnull(result, row, column) != 0) return cell;
  const std::string_view text(PQgetvalue(result, row, column),
                              static_cast<std::size_t>(PQgetlength(result, row, column)));
  cell.kind = EPHOR_CELL_TEXT;
  cell.bytes = {text.data(), text.size()};
  switch (PQftype(result, column)) {
    case kBool:
      cell.kind = EPHOR_CELL_INTEGER;
      cell.integer = text == "t" ? 1 : 0;
      break;
    case kInt8:
    case kInt2:
    case kInt4:
    case kOid:
      if (parse(text, cell.integer)) cell.kind = EPHOR_CELL_INTEGER;
      break;
    case kNumeric:  // what sum() of integers is; with a point it is what avg() is
      if (parse(text, cell.integer)) {
        cell.kind = EPHOR_CELL_INTEGER;
        break;
      }
      [[fallthrough]];
    case kFloat4:
    case kFloat8:
      if (text == "NaN") {
        cell.kind = EPHOR_CELL_NULL;
      } else if (text == "Infinity" || text == "-Infinity") {
        cell.kind = EPHOR_CELL_REAL;
        cell.real = text[0] == '-' ? -HUGE_VAL : HUGE_VAL;
      } else if (parse(text, cell.real)) {
        cell.kind = EPHOR_CELL_REAL;
      }
      break;
    case kJson:
    case kJsonb:
      cell.kind = EPHOR_CELL_JSON;
      break;
    case kBytea:
      cell.kind = EPHOR_CELL_BLOB;
      bytes = bytes_of_hex(text.substr(std::min<std::size_t>(2, text.size())));  // after "\x"
      cell.bytes = {bytes.data(), bytes.size()};
      break;
    default:
      break;
  }
  return cell;
}

// By the class of the SQLSTATE (PostgreSQL documentation, appendix A).
ephor_status status_of(std::string_view state) {
  if (state == "57014" || state == "55P03") return EPHOR_TIMEOUT;
  if (state == "53100") return EPHOR_FULL;
  if (state == "25006" || state == "42501") return EPHOR_DENIED;
  const std::string_view kind = state.substr(0, 2);
  if (kind == "42" || kind == "22" || kind == "23") return EPHOR_INVALID;
  return EPHOR_IO;
}

class PostgresBackend final : public StorageBackend {
 public:
  PostgresBackend(const std::string& url, const BackendOptions& options)
      : conninfo_(conninfo_of(url)), options_(options) {}

  std::unique_ptr<soci::session> open_writer() override {
    if (options_.read_only) return open_reader();
    auto session = open();
    // Asynchronous commits would let the server forget a checkpoint that this process, which lives
    // on, takes for saved; its rows would never be written again.
    if (options_.durability == Durability::off) *session << "SET synchronous_commit = off";
    return session;
  }

  std::unique_ptr<soci::session> open_reader() override {
    auto session = open();
    *session << "SET default_transaction_read_only = on";
    *session << "SET statement_timeout = " + std::to_string(options_.select_timeout.count());
    return session;
  }

  std::string description() const override { return "postgresql"; }

  std::string type_name(ColumnType type) const override {
    switch (type) {
      case ColumnType::integer:
        return "BIGINT";
      case ColumnType::real:
        return "DOUBLE PRECISION";
      case ColumnType::text:
        return "TEXT";
      case ColumnType::json:
        // Not JSONB: it would change the text and refuse \u0000, which a foreign event may hold.
        return "JSON";
      case ColumnType::blob:
        break;
    }
    return "BYTEA";
  }
  std::string shown_as(ColumnType type) const override {
    std::string name = type_name(type);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name;
  }

  std::vector<ExistingColumn> columns_of(soci::session& session,
                                         const std::string& table) override {
    ephor_cell name{};
    name.kind = EPHOR_CELL_TEXT;
    name.bytes = {table.data(), table.size()};
    std::vector<ExistingColumn> columns;
    select(
        session,
        "SELECT a.attname, format_type(a.atttypid, NULL),"
        " coalesce(array_position(i.indkey, a.attnum), -1) FROM pg_attribute a"
        " LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
        " WHERE a.attrelid = to_regclass(quote_ident(:p1)) AND a.attnum > 0"
        " AND NOT a.attisdropped ORDER BY a.attnum",
        std::span(&name, 1),
        [&](std::span<const ephor_cell> cells) {
          // indkey counts from 0.
          columns.push_back({std::string(cells[0].bytes.data, cells[0].bytes.size),
                             std::string(cells[1].bytes.data, cells[1].bytes.size),
                             static_cast<unsigned>(cells[2].integer + 1)});
          return EPHOR_OK;
        },
        false);
    return columns;
  }

  bool has_text_parameters() const override { return true; }

  void select(soci::session& session, const std::string& sql,
              std::span<const ephor_cell> parameters, const RowVisitor& visitor,
              bool is_reader) override {
    try {
      // Explicit: a plain default could be switched off by what is selected.
      if (is_reader) session << "BEGIN TRANSACTION READ ONLY";
      std::vector<std::string> values(parameters.size());
      std::vector<soci::indicator> indicators(parameters.size(), soci::i_null);
      soci::statement statement(session);
      statement.alloc();
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        if (parameters[i].kind != EPHOR_CELL_NULL) {
          values[i] = text_of(parameters[i]);
          indicators[i] = soci::i_ok;
        }
        statement.exchange(soci::use(values[i], indicators[i]));
      }
      statement.prepare(sql, soci::details::st_one_time_query);
      statement.define_and_bind();
      statement.execute(true);
      visit(static_cast<soci::postgresql_statement_backend*>(statement.get_backend())
                ->result_.get_result(),
            visitor);
    } catch (...) {
      if (is_reader) roll_back(session);
      throw;
    }
    if (is_reader) session << "ROLLBACK";
  }

  bool is_in_transaction(soci::session& session) override {
    const PGTransactionStatusType status = PQtransactionStatus(connection(session));
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
  }
  // Of a server that is gone it takes a second call to notice; is_broken is right after this one.
  void roll_back(soci::session& session) noexcept override {
    PQclear(PQexec(connection(session), "ROLLBACK"));
  }
  bool is_broken(soci::session& session) noexcept override {
    return PQstatus(connection(session)) != CONNECTION_OK;
  }

  void rethrow(const std::string& where) override {
    try {
      throw;
    } catch (const HostError&) {
      throw;
    } catch (const soci::postgresql_soci_error& error) {
      throw HostError(status_of(error.sqlstate()), where + ": " + one_line(error));
    } catch (const soci::soci_error& error) {
      throw HostError(EPHOR_IO, where + ": " + one_line(error));
    } catch (const std::bad_alloc&) {
      throw HostError(EPHOR_FULL, where + ": out of memory");
    } catch (const std::exception& error) {
      throw HostError(EPHOR_IO, where + ": " + error.what());
    }
  }

 private:
  std::unique_ptr<soci::session> open() {
    auto session = std::make_unique<soci::session>(soci::postgresql, conninfo_);
    PQsetNoticeProcessor(
        connection(*session), [](void*, const char*) {}, nullptr);
    *session << "SET client_encoding = 'UTF8'";
    *session << "SET bytea_output = 'hex'";
    return session;
  }

  static void visit(const PGresult* result, const RowVisitor& visitor) {
    const int rows = PQntuples(result);
    std::vector<ephor_cell> cells(static_cast<std::size_t>(PQnfields(result)));
    std::vector<std::string> decoded(cells.size());
    for (int row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < cells.size(); ++i) {
        cells[i] = cell_of(result, row, static_cast<int>(i), decoded[i]);
      }
      if (visitor(cells) != EPHOR_OK) return;
    }
  }

  static std::string one_line(const soci::soci_error& error) {
    std::string text = error.get_error_message();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    for (char& c : text) {
      if (c == '\n') c = ' ';
    }
    return text;
  }

  const std::string conninfo_;
  const BackendOptions options_;
};

}  // namespace

std::unique_ptr<StorageBackend> make_postgres_backend(const std::string& url,
                                                      const BackendOptions& options) {
  return std::make_unique<PostgresBackend>(url, options);
}

}  // namespace ephor::host
