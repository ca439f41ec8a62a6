// SPDX-License-Identifier: Apache-2.0
#include "store/row_statement.hpp"

#include "event/hex.hpp"
#include "store/sql_text.hpp"

namespace ephor::host {

RowStatement::RowStatement(soci::session& session, const std::string& sql,
                           const std::vector<ColumnType>& types, bool has_text_parameters)
    : has_text_parameters_(has_text_parameters), statement_(session) {
  statement_.alloc();
  for (const ColumnType type : types) {
    Slot& slot = slots_.emplace_back();
    slot.type = type;
    switch (type) {
      case ColumnType::integer:
        statement_.exchange(soci::use(slot.integer, slot.indicator));
        break;
      case ColumnType::real:
        statement_.exchange(soci::use(slot.real, slot.indicator));
        break;
      case ColumnType::blob:
        if (!has_text_parameters_) {
          slot.blob = std::make_unique<soci::blob>(session);
          statement_.exchange(soci::use(*slot.blob, slot.indicator));
          break;
        }
        [[fallthrough]];
      case ColumnType::text:
      case ColumnType::json:
        statement_.exchange(soci::use(slot.text, slot.indicator));
        break;
    }
  }
  statement_.prepare(sql);
  statement_.define_and_bind();
}

void RowStatement::set(std::size_t parameter, const ephor_cell& cell) {
  Slot& slot = slots_[parameter];
  slot.indicator = cell.kind == EPHOR_CELL_NULL ? soci::i_null : soci::i_ok;
  if (slot.indicator == soci::i_null) {
    if (slot.type == ColumnType::blob) release(slot);
    return;
  }
  const std::string_view bytes(cell.bytes.data, cell.bytes.size);
  switch (slot.type) {
    case ColumnType::integer:
      slot.integer = cell.integer;
      break;
    case ColumnType::real:
      slot.real = cell.kind == EPHOR_CELL_INTEGER ? static_cast<double>(cell.integer) : cell.real;
      break;
    case ColumnType::text:
    case ColumnType::json:
      slot.text.assign(bytes);
      if (has_text_parameters_) make_strict_utf8(slot.text);
      break;
    case ColumnType::blob:
      if (has_text_parameters_) {
        slot.text = "\\x" + hex_of(bytes);
      } else {
        slot.blob->trim(0);
        slot.blob->write(0, bytes.data(), bytes.size());
      }
      break;
  }
}

// Blobs may be large, and a null stays for long.
void RowStatement::release(Slot& slot) {
  slot.text = std::string();
  if (slot.blob != nullptr) slot.blob->trim(0);
}

long long RowStatement::execute() {
  statement_.execute(true);
  return statement_.get_affected_rows();
}

}  // namespace ephor::host
