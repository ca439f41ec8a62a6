// SPDX-License-Identifier: Apache-2.0
//
// What Storage promises, written once and run on every database.
#pragma once

#include <functional>
#include <vector>

#include "store/storage.hpp"

namespace ephor::testing {

struct StorageCase {
  const char* name;
  // `options` lead to a database that is empty at first.
  void (*run)(const host::StorageOptions& options);
};

const std::vector<StorageCase>& storage_cases();

}  // namespace ephor::testing
