// SPDX-License-Identifier: Apache-2.0
//
// ephor-checker: one check of one plugin, for `ephor plugin check`. It has a malloc that counts and
// can be made to fail, and nothing of the host that a plugin could lean on by mistake.
#include <cstdio>

#include "check/child.hpp"

int main(int argument_count, char** arguments) {
  if (argument_count != 3) {
    std::fputs("ephor-checker is started by `ephor plugin check`\n", stderr);
    return 2;
  }
  ephor::host::check::run_child(arguments[1], arguments[2]);
}
