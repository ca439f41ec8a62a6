// SPDX-License-Identifier: Apache-2.0
#include "store/table_schema.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "event/error.hpp"

namespace ephor::host {
namespace {

using nlohmann::json;

constexpr std::size_t kNameLengthMax = 63;  // of an identifier in PostgreSQL
constexpr std::size_t kColumnsMax = 500;
constexpr std::array<std::pair<std::string_view, ColumnType>, 5> kTypes = {{
    {"integer", ColumnType::integer},
    {"real", ColumnType::real},
    {"text", ColumnType::text},
    {"json", ColumnType::json},
    {"blob", ColumnType::blob},
}};

[[noreturn]] void fail(const std::string& pointer, const std::string& found,
                       const std::string& expected) {
  throw HostError(EPHOR_INVALID, "storage: declared tables: " + (pointer.empty() ? "/" : pointer) +
                                     ": found " + found + ", expected " + expected);
}

std::string shown(const json& value) {
  constexpr std::size_t kShownMax = 80;
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kShownMax) text = text.substr(0, kShownMax) + "...";
  return text;
}

const json& member(const json& object, const char* name, json::value_t type,
                   std::string_view pointer, const char* expected) {
  const std::string at = std::string(pointer) + "/" + name;
  const auto found = object.find(name);
  if (found == object.end()) fail(at, "nothing", expected);
  if (found->type() != type) fail(at, shown(*found), expected);
  return *found;
}

bool is_name(std::string_view name) {
  if (name.empty() || name.size() > kNameLengthMax) return false;
  if (name[0] >= '0' && name[0] <= '9') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string name_at(const json& value, const std::string& pointer) {
  if (!value.is_string() || !is_name(value.get_ref<const std::string&>())) {
    fail(pointer, shown(value), "a name like [a-z_][a-z0-9_]{0,62}");
  }
  return value.get<std::string>();
}

ColumnType type_at(const json& value, const std::string& pointer) {
  for (const auto& [name, type] : kTypes) {
    if (value == name) return type;
  }
  fail(pointer, shown(value), "integer, real, text, json or blob");
}

std::size_t column_at(const Table& table, const json& value, const std::string& pointer) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (value == table.columns[i].name) return i;
  }
  fail(pointer, shown(value), "the name of a column of " + table.name);
}

void parse_columns(const json& columns, const std::string& pointer, Table& table) {
  if (columns.empty() || columns.size() > kColumnsMax) {
    fail(pointer, std::to_string(columns.size()) + " columns",
         "1 to " + std::to_string(kColumnsMax));
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    if (!columns[i].is_object()) fail(at, shown(columns[i]), "an object {name, type}");
    Column column;
    column.name = name_at(columns[i].value("name", json()), at + "/name");
    column.type = type_at(columns[i].value("type", json()), at + "/type");
    if (!names.insert(column.name).second) {
      fail(at + "/name", column.name + " a second time", "distinct column names");
    }
    table.columns.push_back(std::move(column));
  }
}

void parse_key(const json& key, const std::string& pointer, Table& table) {
  if (key.empty()) fail(pointer, "no columns", "at least one: rows are upserts by key");
  for (std::size_t i = 0; i < key.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    const std::size_t column = column_at(table, key[i], at);
    const ColumnType type = table.columns[column].type;
    if (table.is_key(column)) fail(at, shown(key[i]) + " a second time", "distinct columns");
    if (type == ColumnType::json || type == ColumnType::blob) {
      fail(at, std::string(name_of(type)), "a column of type integer, real or text");
    }
    table.key.push_back(column);
  }
}

void parse_indices(const json& indices, const std::string& pointer, Table& table) {
  if (!indices.is_array()) fail(pointer, shown(indices), "an array of arrays of column names");
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    if (!indices[i].is_array() || indices[i].empty()) {
      fail(at, shown(indices[i]), "an array of column names");
    }
    std::vector<std::string> names;
    for (std::size_t k = 0; k < indices[i].size(); ++k) {
      const std::string name_pointer = at + "/" + std::to_string(k);
      const Column& column = table.columns[column_at(table, indices[i][k], name_pointer)];
      if (column.type == ColumnType::json || column.type == ColumnType::blob) {
        fail(name_pointer, std::string(name_of(column.type)),
             "a column of type integer, real or text");
      }
      names.push_back(column.name);
    }
    table.indices.push_back(std::move(names));
  }
}

void parse_run_dependent(const json& paths, const std::string& pointer, Table& table) {
  if (!paths.is_array()) fail(pointer, shown(paths), "an array of column names");
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    if (!paths[i].is_string()) fail(at, shown(paths[i]), "the name of a column");
    const std::string path = paths[i];
    const std::size_t column = column_at(table, path.substr(0, path.find('/')), at);
    if (table.is_key(column)) fail(at, path, "a column that is not of the key");
    if (path.find('/') != std::string::npos && table.columns[column].type != ColumnType::json) {
      fail(at, path, "a column of type json before the /");
    }
    table.run_dependent.push_back(path);
  }
}

Table parse_table(const json& value, const std::string& pointer) {
  if (!value.is_object()) fail(pointer, shown(value), "an object {name, key, columns}");
  Table table;
  table.name = name_at(value.value("name", json()), pointer + "/name");
  for (const std::string_view reserved : {"ephor_", "sqlite_", "pg_"}) {
    if (table.name.starts_with(reserved)) {
      fail(pointer + "/name", table.name,
           "a name that does not start with " + std::string(reserved));
    }
  }
  using Type = json::value_t;
  parse_columns(member(value, "columns", Type::array, pointer, "an array of {name, type}"),
                pointer + "/columns", table);
  parse_key(member(value, "key", Type::array, pointer, "an array of column names"),
            pointer + "/key", table);
  if (value.contains("indices")) parse_indices(value["indices"], pointer + "/indices", table);
  if (value.contains("run_dependent")) {
    parse_run_dependent(value["run_dependent"], pointer + "/run_dependent", table);
  }
  return table;
}

}  // namespace

std::string_view name_of(ColumnType type) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return name;
  }
  return "unknown";
}

bool Table::is_key(std::size_t column) const {
  return std::find(key.begin(), key.end(), column) != key.end();
}

std::vector<Table> parse_tables(std::string_view tables_json) {
  const json root = json::parse(tables_json, nullptr, false);
  if (!root.is_object()) fail("", root.is_discarded() ? "no JSON" : shown(root), "an object");
  if (root.value("version", json()) != 1) {
    fail("/version", shown(root.value("version", json())), "1");
  }
  const json& list = member(root, "tables", json::value_t::array, "", "an array of tables");
  std::vector<Table> tables;
  std::set<std::string> names;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string pointer = "/tables/" + std::to_string(i);
    tables.push_back(parse_table(list[i], pointer));
    if (!names.insert(tables.back().name).second) {
      fail(pointer + "/name", tables.back().name + " a second time", "distinct table names");
    }
  }
  return tables;
}

}  // namespace ephor::host
