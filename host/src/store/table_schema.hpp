// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

enum class ColumnType { integer, real, text, json, blob };

std::string_view name_of(ColumnType type);

struct Column {
  std::string name;
  ColumnType type = ColumnType::text;
};

// A table as a plugin declared it.
struct Table {
  std::string name;
  std::vector<Column> columns;
  std::vector<std::size_t> key;                   // indices of columns
  std::vector<std::vector<std::string>> indices;  // column names
  // What tells nothing of the events, but of the run that wrote it: "column", or
  // "column/member/..." into a JSON column. Left out where two stores are compared; the database
  // knows nothing of it.
  std::vector<std::string> run_dependent;

  bool is_key(std::size_t column) const;
};

// The JSON of ephor.storage/1 declare. Names match [a-z_][a-z0-9_]{0,62}, tables do not start with
// "ephor_" (the host's) or "sqlite_" or "pg_" (the databases'). HostError EPHOR_INVALID: the
// pointer, what was found, what was expected.
std::vector<Table> parse_tables(std::string_view tables_json);

}  // namespace ephor::host
