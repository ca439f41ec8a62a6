// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>
#include <soci/soci.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "store/table_schema.hpp"

namespace ephor::host {

// A prepared statement whose parameters are cells of known types: SOCI binds the slots once, each
// execution fills them.
class RowStatement {
 public:
  // `has_text_parameters`: see StorageBackend.
  RowStatement(soci::session& session, const std::string& sql, const std::vector<ColumnType>& types,
               bool has_text_parameters);

  void set(std::size_t parameter, const ephor_cell& cell);
  // Rows changed.
  long long execute();

 private:
  struct Slot {
    ColumnType type = ColumnType::text;
    soci::indicator indicator = soci::i_null;
    long long integer = 0;
    double real = 0;
    std::string text;
    std::unique_ptr<soci::blob> blob;
  };

  static void release(Slot& slot);

  bool has_text_parameters_;
  std::deque<Slot> slots_;  // stable addresses
  soci::statement statement_;
};

}  // namespace ephor::host
