// SPDX-License-Identifier: Apache-2.0
#include "store_storage_cases.hpp"

#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include "support/catch.hpp"

using namespace ephor::host;

namespace ephor::testing {
namespace {

constexpr const char* kTrades = R"({"version": 1, "tables": [
  {"name": "trades", "key": ["trade_id"], "indices": [["symbol", "price"]], "columns": [
    {"name": "trade_id", "type": "text"}, {"name": "symbol", "type": "text"},
    {"name": "quantity", "type": "integer"}, {"name": "price", "type": "real"},
    {"name": "details", "type": "json"}, {"name": "raw", "type": "blob"}]},
  {"name": "marks", "key": ["symbol", "minute"], "columns": [
    {"name": "minute", "type": "integer"}, {"name": "symbol", "type": "text"}]}]})";

ephor_cell null() { return {}; }
ephor_cell integer(std::int64_t value) {
  ephor_cell cell{};
  cell.kind = EPHOR_CELL_INTEGER;
  cell.integer = value;
  return cell;
}
ephor_cell real(double value) {
  ephor_cell cell{};
  cell.kind = EPHOR_CELL_REAL;
  cell.real = value;
  return cell;
}
ephor_cell bytes(std::uint32_t kind, std::string_view value) {
  ephor_cell cell{};
  cell.kind = kind;
  cell.bytes = {value.data(), value.size()};
  return cell;
}
ephor_cell text(std::string_view value) { return bytes(EPHOR_CELL_TEXT, value); }
ephor_cell json(std::string_view value) { return bytes(EPHOR_CELL_JSON, value); }
ephor_cell blob(std::string_view value) { return bytes(EPHOR_CELL_BLOB, value); }

using Cells = std::vector<ephor_cell>;

Cells trade(std::string_view id, std::int64_t quantity, double price = 1.5) {
  return {text(id), text("BTC"), integer(quantity), real(price), json("{}"), null()};
}

// Rows as text: kind letter and value, cells joined by '|'.
std::vector<std::string> rows(Storage& storage, std::string_view sql,
                              const Cells& parameters = {}) {
  std::vector<std::string> found;
  storage.select(sql, parameters, [&](std::span<const ephor_cell> cells) {
    std::string row;
    for (const ephor_cell& cell : cells) {
      if (!row.empty()) row += '|';
      switch (cell.kind) {
        case EPHOR_CELL_NULL:
          row += "null";
          break;
        case EPHOR_CELL_INTEGER:
          row += "i" + std::to_string(cell.integer);
          break;
        case EPHOR_CELL_REAL:
          row += "r" + std::to_string(cell.real);
          break;
        default:
          row += cell.kind == EPHOR_CELL_TEXT ? 't' : cell.kind == EPHOR_CELL_JSON ? 'j' : 'b';
          row.append(cell.bytes.data, cell.bytes.size);
      }
    }
    found.push_back(row);
    return EPHOR_OK;
  });
  return found;
}

using Rows = std::vector<std::string>;

// Status and message of what `body` throws.
std::pair<ephor_status, std::string> failure(const std::function<void()>& body) {
  try {
    body();
  } catch (const HostError& error) {
    return {error.status(), error.what()};
  }
  return {EPHOR_OK, ""};
}

bool holds(const std::string& message, std::string_view part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
  return message.find(part) != std::string::npos;
}

Checkpoint started(Storage& storage, const std::string& instance) {
  Checkpoint checkpoint = storage.checkpoint(instance);
  checkpoint.plugin_version = "1.2.3";
  checkpoint.state_version = 7;
  checkpoint.generation = storage.next_generation(instance);
  checkpoint.epoch = "e1";
  return checkpoint;
}

void keeps_rows_state_and_position(const StorageOptions& options) {
  const std::string raw("\0\xFF'\\x", 5);
  {
    Storage storage(options);
    storage.declare("trade_tracker", kTrades);
    CHECK_FALSE(storage.load("trade_tracker").has_value());
    Checkpoint checkpoint = started(storage, "trade_tracker");
    CHECK_FALSE(storage.load("trade_tracker").has_value());
    CHECK(storage.instances().empty());
    checkpoint.upsert("trades", Cells{text("t1"), text("B'T\"C\xC3\xA9"), integer(INT64_MIN),
                                      real(0.1), json("{\"a\": [1, 2.50]}"), blob(raw)});
    checkpoint.upsert("trades", Cells{text("t2"), null(), null(), null(), null(), blob("")});
    checkpoint.upsert("trades", Cells{text("t3"), text(""), integer(INT64_MAX), integer(3),
                                      json("null"), null()});
    checkpoint.append_state("first ");
    checkpoint.append_state(raw);
    checkpoint.sequence = (12ULL << 16U) | 5U;
    checkpoint.saved_at_ns = 1'700'000'000'123'456'789;
    storage.commit(checkpoint);
  }
  Storage storage(options);
  const Rows all = rows(storage, "SELECT * FROM trades ORDER BY trade_id");
  REQUIRE(all.size() == 3);
  CHECK(all[0] ==
        "tt1|tB'T\"C\xC3\xA9|i-9223372036854775808|r0.100000|j{\"a\": [1, 2.50]}|b" + raw);
  CHECK(all[1] == "tt2|null|null|null|null|b");
  CHECK(all[2] == "tt3|t|i9223372036854775807|r3.000000|jnull|null");
  const auto saved = storage.load("trade_tracker");
  REQUIRE(saved.has_value());
  CHECK(saved->plugin_version == "1.2.3");
  CHECK(saved->state_version == 7);
  CHECK(saved->state == "first " + raw);
  CHECK(saved->sequence == ((12ULL << 16U) | 5U));
  CHECK(saved->generation == 1);
  CHECK(saved->epoch == "e1");
  CHECK(saved->saved_at_ns == 1'700'000'000'123'456'789);
  REQUIRE(storage.instances().size() == 1);
  CHECK(storage.instances()[0].instance == "trade_tracker");
  CHECK(storage.instances()[0].sequence == saved->sequence);
}

void doubles_come_back_bit_for_bit(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  const std::vector<double> values = {0.1,
                                      -1.0 / 3,
                                      std::numeric_limits<double>::max(),
                                      std::numeric_limits<double>::min(),
                                      std::numeric_limits<double>::denorm_min(),
                                      HUGE_VAL,
                                      -HUGE_VAL,
                                      1e23};
  for (std::size_t i = 0; i < values.size(); ++i) {
    checkpoint.upsert("trades", trade(std::to_string(i), 0, values[i]));
  }
  checkpoint.upsert("trades", trade("nan", 0, std::nan("")));
  storage.commit(checkpoint);
  std::size_t i = 0;
  storage.select("SELECT price FROM trades WHERE trade_id <> 'nan' ORDER BY trade_id", {},
                 [&](std::span<const ephor_cell> cells) {
                   CHECK(cells[0].kind == EPHOR_CELL_REAL);
                   CHECK(cells[0].real == values[i++]);
                   return EPHOR_OK;
                 });
  CHECK(i == values.size());
  CHECK(rows(storage, "SELECT price FROM trades WHERE trade_id = 'nan'") == Rows{"null"});
}

void upserts_and_erases_in_order(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  checkpoint.upsert("trades", trade("t1", 1));
  checkpoint.upsert("trades", trade("t2", 2));
  checkpoint.upsert("trades", trade("t1", 10));
  checkpoint.upsert("marks", Cells{integer(5), text("BTC")});
  checkpoint.upsert("marks", Cells{integer(5), text("BTC")});
  checkpoint.upsert("marks", Cells{integer(6), text("BTC")});
  checkpoint.erase("marks", Cells{text("BTC"), integer(6)});
  storage.commit(checkpoint);
  CHECK(rows(storage, "SELECT trade_id, quantity FROM trades ORDER BY 1") ==
        Rows{"tt1|i10", "tt2|i2"});
  CHECK(rows(storage, "SELECT minute FROM marks") == Rows{"i5"});
  checkpoint.clear();
  CHECK(checkpoint.row_count() == 0);
  checkpoint.erase("trades", Cells{text("t1")});
  checkpoint.erase("trades", Cells{text("never there")});
  checkpoint.upsert("trades", trade("t2", 3));
  storage.commit(checkpoint);
  CHECK(rows(storage, "SELECT trade_id, quantity FROM trades") == Rows{"tt2|i3"});
}

void wrong_cells_are_refused(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  storage.declare("b", R"({"version":1,"tables":[]})");
  Checkpoint checkpoint = started(storage, "a");
  const auto upsert = [&](const char* table, const Cells& cells) {
    return failure([&] { checkpoint.upsert(table, cells); });
  };
  CHECK(upsert("nowhere", {}).first == EPHOR_NOT_FOUND);
  CHECK(failure([&] { storage.checkpoint("b").upsert("trades", trade("t", 1)); }).first ==
        EPHOR_NOT_FOUND);
  holds(upsert("trades", {text("t1")}).second, "trades: 1 cells, expected one per column, 6");
  Cells cells = trade("t1", 1);
  cells[2] = real(1);
  holds(upsert("trades", cells).second, "trades.quantity: found real, expected integer");
  cells = trade("t1", 1);
  cells[0] = null();
  holds(upsert("trades", cells).second, "trades.trade_id: found null");
  cells[0].kind = 99;
  CHECK(upsert("trades", cells).first == EPHOR_INVALID);
  CHECK(failure([&] { checkpoint.erase("marks", Cells{text("BTC")}); }).first == EPHOR_INVALID);
  CHECK(checkpoint.row_count() == 0);
}

void a_leftover_generation_cannot_save(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint old = started(storage, "a");
  old.upsert("trades", trade("t1", 1));
  storage.commit(old);
  CHECK(old.generation == 1);

  Checkpoint fresh = started(storage, "a");
  CHECK(fresh.generation == 2);
  CHECK(storage.load("a").has_value());  // a new generation starts from what the old one saved
  old.upsert("trades", trade("t2", 2));
  const auto [status, message] = failure([&] { storage.commit(old); });
  CHECK(status == EPHOR_STATE);
  holds(message, "generation 1");
  CHECK(rows(storage, "SELECT count(*) FROM trades") == Rows{"i1"});
  fresh.sequence = 9;
  storage.commit(fresh);
  CHECK(storage.load("a")->sequence == 9);
  CHECK(storage.load("a")->generation == 2);
}

void a_failing_checkpoint_leaves_the_others(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  storage.declare("b", R"({"version":1,"tables":[{"name":"notes","key":["id"],
                          "columns":[{"name":"id","type":"text"}]}]})");
  Checkpoint left_over = started(storage, "a");
  Checkpoint a = started(storage, "a");
  Checkpoint b = started(storage, "b");
  left_over.upsert("trades", trade("lost", 1));
  a.upsert("trades", trade("kept", 2));
  b.upsert("notes", Cells{text("kept")});
  const Checkpoint* const all[] = {&b, &left_over, &a};
  const auto results = storage.commit(all);
  REQUIRE(results.size() == 3);
  CHECK_FALSE(results[0].has_value());
  REQUIRE(results[1].has_value());
  CHECK(results[1]->status() == EPHOR_STATE);
  CHECK_FALSE(results[2].has_value());
  CHECK(rows(storage, "SELECT trade_id FROM trades") == Rows{"tkept"});
  CHECK(rows(storage, "SELECT id FROM notes") == Rows{"tkept"});
  CHECK(storage.instances().size() == 2);
}

void a_state_of_tens_of_megabytes(const StorageOptions& options) {
  std::string state(40'000'000, '\0');
  std::uint32_t seed = 1;
  for (char& byte : state) {
    seed = seed * 1'664'525 + 1'013'904'223;  // Numerical Recipes' generator
    byte = static_cast<char>(seed >> 24U);
  }
  Storage storage(options);
  Checkpoint checkpoint = started(storage, "a");
  checkpoint.append_state(state);
  storage.commit(checkpoint);
  storage.commit(checkpoint);
  CHECK(storage.load("a")->state == state);
}

void reset_forgets_rows_and_state(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  checkpoint.upsert("trades", trade("t1", 1));
  checkpoint.append_state("unreadable");
  storage.commit(checkpoint);
  storage.reset("a");
  CHECK_FALSE(storage.load("a").has_value());
  CHECK(storage.instances().empty());
  CHECK(rows(storage, "SELECT * FROM trades").empty());
  CHECK(storage.next_generation("a") == 2);
}

void declaring_grows_tables(const StorageOptions& options) {
  constexpr const char* kFirst = R"({"version":1,"tables":[{"name":"t","key":["id"],
    "columns":[{"name":"id","type":"integer"},{"name":"gone","type":"text"}]}]})";
  constexpr const char* kSecond = R"({"version":1,"tables":[{"name":"t","key":["id"],
    "indices":[["order","id"],["order"]],
    "columns":[{"name":"order","type":"real"},{"name":"id","type":"integer"},
               {"name":"more","type":"json"}]}]})";
  Storage storage(options);
  storage.declare("a", kFirst);
  storage.declare("a", kFirst);
  Checkpoint checkpoint = started(storage, "a");
  checkpoint.upsert("t", Cells{integer(1), text("stays")});
  storage.commit(checkpoint);
  storage.declare("a", kSecond);
  storage.declare("a", kSecond);
  checkpoint = started(storage, "a");
  checkpoint.upsert("t", Cells{real(2.5), integer(1), json("[]")});
  checkpoint.upsert("t", Cells{real(3.5), integer(2), null()});
  storage.commit(checkpoint);
  CHECK(rows(storage, "SELECT id, gone, \"order\", more FROM t ORDER BY id") ==
        Rows{"i1|tstays|r2.500000|j[]", "i2|null|r3.500000|null"});
}

void conflicting_declarations_are_refused(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  const auto declare = [&](const std::string& instance, const std::string& table) {
    return failure([&] {
      storage.declare(instance,
                      R"({"version":1,"tables":[{"name":"new_one","key":["id"],"columns":[
                          {"name":"id","type":"text"}]},)" +
                          table + "]}");
    });
  };
  const std::string marks = R"({"name":"marks","key":["symbol","minute"],"columns":[
      {"name":"symbol","type":"text"},{"name":"minute","type":"integer"}]})";
  auto [status, message] = declare("b", marks);
  CHECK(status == EPHOR_CONFLICT);
  holds(message, "marks");
  holds(message, "belongs to a");
  std::tie(status, message) = declare("a", R"({"name":"marks","key":["symbol"],"columns":[
      {"name":"symbol","type":"text"}]})");
  CHECK(status == EPHOR_CONFLICT);
  holds(message, "found the key (symbol, minute), expected (symbol)");
  std::tie(status, message) = declare("a", R"({"name":"trades","key":["trade_id"],"columns":[
      {"name":"trade_id","type":"text"},{"name":"quantity","type":"text"}]})");
  CHECK(status == EPHOR_CONFLICT);
  holds(message, "trades.quantity: found a column of type");
  // Nothing of the three was made, not even the table before the wrong one.
  CHECK(failure([&] { rows(storage, "SELECT * FROM new_one"); }).first == EPHOR_INVALID);
  CHECK(
      declare("b", R"({"name":"x","key":["id"],"columns":[{"name":"id","type":"text"}]})").first ==
      EPHOR_OK);
}

void selects_with_parameters(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  for (int i = 0; i < 10; ++i) {
    checkpoint.upsert("trades", trade("t" + std::to_string(i), i, i / 2.0));
  }
  storage.commit(checkpoint);
  CHECK(rows(storage,
             "SELECT trade_id, '?' FROM trades -- a comment?\n"
             "WHERE quantity >= ? AND price < ? AND symbol = ? ORDER BY quantity LIMIT ?;",
             {integer(3), real(3.0), text("BTC"), integer(2)}) == Rows{"tt3|t?", "tt4|t?"});
  CHECK(rows(storage, "SELECT count(*), sum(quantity), avg(price), min(trade_id) FROM trades") ==
        Rows{"i10|i45|r2.250000|tt0"});
  CHECK(rows(storage, "WITH x AS (SELECT quantity AS q FROM trades) SELECT max(q) FROM x") ==
        Rows{"i9"});
  CHECK(rows(storage, "SELECT coalesce(raw, ?) FROM trades WHERE trade_id = ?",
             {blob("ab"), text("t1")}) == Rows{"bab"});
  CHECK(rows(storage, "SELECT trade_id FROM trades WHERE trade_id = ?", {text("' OR 1=1 --")})
            .empty());
  int visits = 0;
  storage.select("SELECT trade_id FROM trades", {}, [&](std::span<const ephor_cell>) {
    return ++visits == 3 ? EPHOR_FULL : EPHOR_OK;
  });
  CHECK(visits == 3);
}

void selects_cannot_write(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  checkpoint.upsert("trades", trade("t1", 1));
  storage.commit(checkpoint);
  const auto status = [&](const char* sql) { return failure([&] { rows(storage, sql); }).first; };
  CHECK(status("DELETE FROM trades") == EPHOR_INVALID);
  CHECK(status("SELECT 1; DELETE FROM trades") == EPHOR_INVALID);
  CHECK(status("PRAGMA query_only = OFF") == EPHOR_INVALID);
  CHECK(status("SET default_transaction_read_only = off") == EPHOR_INVALID);
  CHECK(status("WITH x AS (SELECT 1) DELETE FROM trades") == EPHOR_DENIED);
  CHECK(status("SELECT nonsense FROM trades") == EPHOR_INVALID);
  CHECK(status("SELECT trade_id FROM trades WHERE trade_id = ?") == EPHOR_INVALID);
  CHECK(status("") == EPHOR_INVALID);
  CHECK(rows(storage, "SELECT trade_id FROM trades") == Rows{"tt1"});
}

void selects_run_beside_commits(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  std::atomic<bool> done{false};
  std::atomic<int> failures{0};
  const auto look = [&] {
    while (!done) {
      // Both rows are always written together.
      const Rows found = rows(storage, "SELECT count(DISTINCT quantity) FROM trades");
      if (found != Rows{"i1"} && found != Rows{"i0"}) ++failures;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) threads.emplace_back(look);
  for (int i = 0; i < 50; ++i) {
    checkpoint.clear();
    checkpoint.upsert("trades", trade("t1", i));
    checkpoint.upsert("trades", trade("t2", i));
    storage.commit(checkpoint);
    if (rows(storage, "SELECT quantity FROM trades WHERE trade_id = 't1'") !=
        Rows{"i" + std::to_string(i)}) {
      ++failures;  // a reader sees the last commit
    }
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
}

void text_that_is_no_text_does_not_stop_a_plugin(const StorageOptions& options) {
  Storage storage(options);
  storage.declare("a", kTrades);
  Checkpoint checkpoint = started(storage, "a");
  Cells cells = trade("t1", 1);
  cells[1] = text(std::string_view("a\0b\xFF\xC3", 5));
  cells[4] = json("{\"a\": \"\\u0000\"}");
  checkpoint.upsert("trades", cells);
  storage.commit(checkpoint);
  CHECK(rows(storage, "SELECT details FROM trades") == Rows{"j{\"a\": \"\\u0000\"}"});
  const Rows symbol = rows(storage, "SELECT symbol FROM trades");
  // SQLite keeps any bytes; PostgreSQL gets replacement characters.
  const std::string kept("ta\0b\xFF\xC3", 6);
  const std::string replaced =
      "ta\xEF\xBF\xBD"
      "b\xEF\xBF\xBD\xEF\xBF\xBD";
  CHECK((symbol == Rows{kept} || symbol == Rows{replaced}));
}

}  // namespace

const std::vector<StorageCase>& storage_cases() {
  static const std::vector<StorageCase> cases = {
      {"keeps rows, state and position", keeps_rows_state_and_position},
      {"doubles come back bit for bit", doubles_come_back_bit_for_bit},
      {"upserts and erases in order", upserts_and_erases_in_order},
      {"wrong cells are refused", wrong_cells_are_refused},
      {"a leftover generation cannot save", a_leftover_generation_cannot_save},
      {"a failing checkpoint leaves the others", a_failing_checkpoint_leaves_the_others},
      {"a state of tens of megabytes", a_state_of_tens_of_megabytes},
      {"reset forgets rows and state", reset_forgets_rows_and_state},
      {"declaring grows tables", declaring_grows_tables},
      {"conflicting declarations are refused", conflicting_declarations_are_refused},
      {"selects with parameters", selects_with_parameters},
      {"selects cannot write", selects_cannot_write},
      {"selects run beside commits", selects_run_beside_commits},
      {"text that is no text does not stop a plugin", text_that_is_no_text_does_not_stop_a_plugin},
  };
  return cases;
}

}  // namespace ephor::testing
