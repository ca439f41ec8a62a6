// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <fstream>
#include <functional>

#include "store/table_schema.hpp"
#include "store_storage_cases.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const HostError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

ephor_status status_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const HostError& error) {
    return error.status();
  }
  return EPHOR_OK;
}

}  // namespace

TEST_CASE("storage: on SQLite", "[unit][storage]") {
  for (const StorageCase& one : storage_cases()) {
    DYNAMIC_SECTION(one.name) {
      const TemporaryDirectory directory;
      StorageOptions options;
      options.directory = directory.path();
      one.run(options);
    }
  }
}

TEST_CASE("storage: a select that runs too long is stopped", "[unit][storage]") {
  const TemporaryDirectory directory;
  StorageOptions options;
  options.directory = directory.path();
  options.select_timeout = std::chrono::milliseconds(20);
  Storage storage(options);
  const auto endless = [&] {
    storage.select(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        {}, [](std::span<const ephor_cell>) { return EPHOR_OK; });
  };
  CHECK(status_of(endless) == EPHOR_TIMEOUT);
  // The connection is good again, and all four are still there.
  for (int i = 0; i < 8; ++i) CHECK(status_of(endless) == EPHOR_TIMEOUT);
  CHECK(storage.instances().empty());
}

TEST_CASE("storage: files that are none, and looking without writing", "[unit][storage]") {
  const TemporaryDirectory directory;
  StorageOptions options;
  options.directory = directory.path();
  options.read_only = true;
  CHECK(status_of([&] { Storage storage(options); }) == EPHOR_NOT_FOUND);
  options.read_only = false;
  { Storage storage(options); }
  options.read_only = true;
  {
    Storage storage(options);
    CHECK(storage.instances().empty());
    CHECK(status_of([&] { storage.next_generation("a"); }) != EPHOR_OK);
  }
  std::ofstream(directory.path() / "ephor.db") << std::string(8192, 'x');
  CHECK(status_of([&] {
          Storage storage(options);
          storage.instances();
        }) == EPHOR_IO);
}

TEST_CASE("storage: wrong declarations name the place", "[unit][storage]") {
  struct {
    const char* text;
    const char* expected;
  } const wrong[] = {
      {"{", "/: found no JSON"},
      {"[]", "/: found [], expected an object"},
      {R"({"version":2,"tables":[]})", "/version: found 2, expected 1"},
      {R"({"version":1})", "/tables: found nothing"},
      {R"({"version":1,"tables":[{}]})", "/tables/0/name: found null"},
      {R"({"version":1,"tables":[{"name":"A"}]})", R"(/tables/0/name: found "A")"},
      {R"({"version":1,"tables":[{"name":"1a"}]})", R"(/tables/0/name: found "1a")"},
      {R"({"version":1,"tables":[{"name":"ephor_x"}]})", "/tables/0/name: found ephor_x"},
      {R"({"version":1,"tables":[{"name":"t","columns":[]}]})", "/tables/0/columns: found 0"},
      {R"({"version":1,"tables":[{"name":"t","columns":[{"name":"a;b","type":"text"}]}]})",
       "/tables/0/columns/0/name"},
      {R"({"version":1,"tables":[{"name":"t","columns":[{"name":"a","type":"date"}]}]})",
       R"(/tables/0/columns/0/type: found "date")"},
      {R"({"version":1,"tables":[{"name":"t","columns":[{"name":"a","type":"text"}]}]})",
       "/tables/0/key: found nothing"},
      {R"({"version":1,"tables":[{"name":"t","key":["b"],"columns":[{"name":"a","type":"text"}]}]})",
       R"(/tables/0/key/0: found "b", expected the name of a column of t)"},
      {R"({"version":1,"tables":[{"name":"t","key":["a"],"columns":[{"name":"a","type":"json"}]}]})",
       "/tables/0/key/0: found json"},
      {R"({"version":1,"tables":[{"name":"t","key":["a"],"indices":[["x"]],
           "columns":[{"name":"a","type":"text"}]}]})",
       "/tables/0/indices/0/0"},
  };
  for (const auto& [text, expected] : wrong) {
    const std::string message = message_of([&] { parse_tables(text); });
    INFO(text << "\n" << message);
    CHECK(message.find(expected) != std::string::npos);
  }
}

TEST_CASE("storage: a database that cannot be reached is an error that hides the password",
          "[unit][storage]") {
  StorageOptions options;
  options.url = "postgresql://someone:hunter2@/none?host=/nonexistent-directory";
  CHECK(status_of([&] { Storage storage(options); }) == EPHOR_IO);
  CHECK(message_of([&] { Storage storage(options); }).find("hunter2") == std::string::npos);
  options.url = "postgresql://nonsense_key=1";
  CHECK(status_of([&] { Storage storage(options); }) == EPHOR_INVALID);
}
