// SPDX-License-Identifier: Apache-2.0
//
// Checks for the tests of a plugin where no test framework is at hand. A failed one is printed with
// its place and counted; the test goes on.
//
//   expect_equal(host.request("GET", "/api/counter"), R"({"events":3})");
//   return ephor::testing::test_result();
#pragma once

#include <cstdio>
#include <ephor/plugin.hpp>
#include <sstream>
#include <string>

namespace ephor::testing {

// Where a check stands. std::source_location is not in every C++20 compiler's library.
struct Place {
  const char* file;
  int line;
  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

inline int& failed_checks() {
  static int count = 0;
  return count;
}

// Both are compared with == and printed with <<.
template <typename Found, typename Expected>
void expect_equal(const Found& found, const Expected& expected, Place place = Place::here()) {
  if (found == expected) return;
  ++failed_checks();
  std::ostringstream text;
  text << place.file << ':' << place.line << ": found\n  " << found << "\nexpected\n  " << expected
       << '\n';
  std::fputs(text.str().c_str(), stderr);
}

// `body` has to throw ephor::Error of this status. Returns its message, empty if it did not.
template <typename Body>
std::string expect_error(ephor_status status, Body&& body, Place place = Place::here()) {
  try {
    body();
  } catch (const Error& error) {
    expect_equal(error.code(), status, place);
    return error.what();
  }
  expect_equal("no error", "an error of status " + std::to_string(status), place);
  return {};
}

// What main returns: 0 if every check held, else 1.
inline int test_result() {
  if (failed_checks() == 0) {
    std::puts("ok");
    return 0;
  }
  std::printf("%d checks failed\n", failed_checks());
  return 1;
}

}  // namespace ephor::testing
